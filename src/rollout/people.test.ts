import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readOwners } from './owners.ts';
import { personsOf } from './people.ts';
import { approvalState, approvedBy, isApproved } from './review-approval.ts';
import { parseSpiffeId } from '../access/index.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const ANN = 'user:https://id.example#4f2c';
const BEN = 'user:https://id.example#77aa';
const CAT = 'user:https://id.example#90d1';
const OTHER = 'user:https://other.example#4f2c';
const { people } = readOwners(
  `ann = ${ANN} local:ann git:ann@acme.example\nnobody = user:https://ci.example#repo:acme/policies user:https://ci.example#repo:acme/other git:bot@acme.example\ndan = local:dan git:dan@acme.example\nwitness = user:https://ci.example#repo:acme/signed`,
  'OWNERS',
);
const CI = 'user:https://ci.example#repo:acme/policies';
const WITNESS = 'user:https://ci.example#repo:acme/signed';
const approvals = (...names: readonly string[]) => names.map((who, at) => ({ who, at }));
const state = (names: readonly string[], involved: Partial<Parameters<typeof approvalState>[1]> = {}) =>
  approvalState(approvals(...names), { authors: [], ...involved }, { approvals: 2 });

describe('two names', () => {
  const plain = personsOf();
  const known = personsOf(people);
  test.each([
    [ANN, ANN, plain, 'one'],
    [ANN, BEN, plain, 'two'],
    [ANN, OTHER, plain, 'unknown'],
    ['local:ann', ANN, plain, 'unknown'],
    ['local:ann', 'local:ben', plain, 'unknown'],
    ['link:1f2e3d4c', 'link:aabbccdd', plain, 'unknown'],
    ['git:ann@acme.example', 'git:ben@acme.example', plain, 'unknown'],
    ['spiffe://example.org/a', 'spiffe://example.org/b', plain, 'unknown'],
    ['user:', 'user:#', plain, 'unknown'],
    ['local:ann', ANN, known, 'one'],
    ['git:ann@acme.example', BEN, known, 'two'],
    ['local:ann', CI, known, 'two'],
    ['local:dan', BEN, known, 'unknown'],
    [BEN, CI, known, 'two'],
    [CI, CI.replace('policies', 'other'), known, 'two'],
    ['local:root', ANN, known, 'unknown'],
  ] as const)('%s and %s are %#', (a, b, persons, expected) => {
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const found = persons.areOne(one, other) ? 'one' : persons.areTwo(one, other) ? 'two' : 'unknown';
      expect(found).toBe(expected);
    }
  });
});

describe('the approvals of two people', () => {
  test.each<[string, readonly string[], Partial<Parameters<typeof approvalState>[1]>, boolean]>([
    ['two of one issuer', [ANN, BEN], {}, true],
    ['one by two ways in', ['local:ann', ANN], {}, false],
    ['one by two ways in, the other way round', [ANN, 'local:ann'], {}, false],
    ['two links', ['link:1f2e3d4c', 'link:aabbccdd'], {}, false],
    ['two issuers', [ANN, OTHER], {}, false],
    ['two programs', ['spiffe://example.org/a', 'spiffe://example.org/b'], {}, false],
    ['one by two names that the file knows', [ANN, 'local:ann'], { people }, false],
    ['two by names that the file knows', ['local:ann', 'local:dan'], { people }, true],
    ['two of one issuer and a link', ['link:1f2e3d4c', ANN, BEN], {}, true],
    [
      'an author by another name that the file knows',
      [ANN, BEN],
      { people, authors: ['git:ann@acme.example'] },
      false,
    ],
    [
      'two beside an author that the file knows',
      [BEN, CAT],
      { people, authors: ['git:ann@acme.example'] },
      true,
    ],
    ['two, one of whom may be the author', [ANN, BEN], { authors: ['local:root'] }, false],
    ['three, one of whom may be the author', [ANN, BEN, CAT], { authors: ['local:root'] }, true],
    [
      'three beside two that may be among them',
      [ANN, BEN, CAT],
      { authors: [CI, 'git:x@acme.example'] },
      false,
    ],
    ['two, one of whom moves it', [ANN, BEN], { mover: ANN }, false],
    ['two, one of whom may move it', [ANN, BEN], { mover: 'link:1f2e3d4c' }, false],
    [
      'three, one of whom may move it and have written it',
      [ANN, BEN, CAT],
      { authors: ['link:1'], mover: 'link:1' },
      true,
    ],
    ['two beside the control plane', [ANN, BEN], { mover: 'system' }, true],
    ['two beside a job that is believed', [ANN, BEN], { people, mover: CI, authors: [WITNESS, CAT] }, true],
    ['two, one of whom a job that is believed names', [ANN, BEN], { people, authors: [WITNESS, ANN] }, false],
    ['two beside a job that is believed and names nobody', [ANN, BEN], { people, authors: [WITNESS] }, false],
    [
      'two beside a job that may name others than who has written it',
      [BEN, CAT],
      { people, authors: [CI, 'git:ann@acme.example'] },
      false,
    ],
    [
      'three beside a job that may name others than who has written it',
      [BEN, CAT, 'user:https://id.example#1'],
      { people, authors: [CI, 'git:ann@acme.example'] },
      true,
    ],
    [
      'two beside one job that is believed and one that is not',
      [ANN, BEN],
      { people, authors: [WITNESS, CI, CAT] },
      false,
    ],
    [
      'two beside a person who brings what a bot has put together',
      [ANN, BEN],
      { people, authors: [CAT, 'git:bot@acme.example'] },
      true,
    ],
    [
      'two beside a job that is believed and names a bot alone',
      [ANN, BEN],
      { people, authors: [WITNESS, 'git:bot@acme.example'] },
      false,
    ],
    ['two jobs, one of them believed', [CI, WITNESS], { people }, false],
    ['two beside a job that says no author', [ANN, BEN], { people, authors: [CI] }, false],
    ['three beside a job that says no author', [ANN, BEN, CAT], { people, authors: [CI] }, true],
    ['one beside a job that is nobody', [ANN, CI], { people }, false],
    ['two jobs that are nobody', [CI, CI.replace('policies', 'other')], { people }, false],
  ])('%s', (_, names, involved, expected) => {
    for (const order of [names, names.toReversed()])
      expect(isApproved(state(order, involved))).toBe(expected);
  });

  test('say whom they leave aside, and why more are needed', () => {
    expect(state([ANN, 'local:root', BEN], { authors: ['git:x@acme.example'] })).toEqual({
      need: 3,
      by: [
        { who: ANN, at: 0 },
        { who: BEN, at: 2 },
      ],
      authors: [],
      notes: [
        'not counted: local:root may be one of those who count',
        '1 more needed, because git:x@acme.example wrote or promotes it and may be among them: the file of --owners can say whose names they are',
      ],
    });
    // Nobody has approved yet: that one more is needed is known all the same.
    expect([state([], { authors: ['local:root'] }).need, state([], { authors: [ANN] }).need]).toEqual([3, 2]);
  });

  test('are given by each person once, by whatever name', () => {
    const give = (who: string, authors: readonly string[]) => () =>
      approvedBy(cart, approvals(ANN), { authors, people }, { approvals: 2 }, { who, at: 9 });
    expect(give('local:ann', [])).toThrow(
      expect.objectContaining({ code: 'conflict', message: expect.stringContaining(`as ${ANN}`) }),
    );
    expect(give('local:dan', ['git:dan@acme.example'])).toThrow(
      expect.objectContaining({ code: 'forbidden' }),
    );
    expect(give(BEN, ['git:dan@acme.example'])()).toHaveLength(2);
  });

  test('never come to two where they are not of two people who have neither written nor moved it, whoever is who', () => {
    // Each of some people has one subject of each of two issuers, and any number of names that say nothing.
    const who = fc.integer({ min: 0, max: 3 });
    const name = fc
      .tuple(who, fc.constantFrom('a', 'b', 'link', 'local', 'git'), fc.integer({ min: 0, max: 1 }))
      .map(([person, way, n]) => ({
        person,
        text: way.length === 1 ? `user:https://${way}.example#${person}` : `${way}:${person}-${n}`,
      }));
    const names = fc.array(name, { maxLength: 6 });
    fc.assert(
      fc.property(
        names,
        names,
        fc.option(name),
        fc.array(who, { maxLength: 3 }),
        (given, authors, mover, listed) => {
          // Whom the file names, it names whole.
          const all = [...given, ...authors, ...(mover === null ? [] : [mover])];
          const known = new Map(
            all.flatMap(({ person, text }) =>
              listed.includes(person) ? [[text, `p${person}`] as const] : [],
            ),
          );
          const found = approvalState(
            given.map(({ text }, at) => ({ who: text, at })),
            { authors: authors.map(({ text }) => text), mover: mover?.text, people: known },
            { approvals: 2 },
          );
          if (!isApproved(found)) return;
          const involved = new Set(
            [...authors, ...(mover === null ? [] : [mover])].map(({ person }) => person),
          );
          const free = new Set(given.map(({ person }) => person).filter((person) => !involved.has(person)));
          expect(free.size).toBeGreaterThanOrEqual(2);
        },
      ),
      { numRuns: 2000 },
    );
  });
});
