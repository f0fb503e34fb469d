import { describe, expect, test } from 'vitest';
import { HOUR_MS } from '../access/index.ts';
import { compile, decide } from '../policy/index.ts';
import {
  access,
  cart,
  digest,
  flip,
  http,
  id,
  policy,
  rejection,
  rule,
  type Seen,
  workload,
} from './review.test-helper.ts';
import { targetDenying, targetWith } from './review-apply.ts';
import { approvalState, approvedBy, checkDecidable, isApproved } from './review-approval.ts';
import { changesOf, type ChangesInput } from './review-changes.ts';
import { isMaterial } from './review-evidence.ts';
import { questionKey, questionsOf } from './review-questions.ts';
import { ruleKey, unusedRules } from './review-tightening.ts';
import type { Change, Rejection } from './review-types.ts';

const DAY = 24;
const NONE: ReadonlyMap<string, Rejection> = new Map();
const rejected = (...all: readonly Rejection[]) => new Map(all.map((each) => [each.key, each]));

function changes(over: Partial<ChangesInput>): Change[] {
  return changesOf({
    workload: cart,
    target: [],
    proposed: { policies: [], doubts: [] },
    accesses: [],
    rejected: NONE,
    digest,
    ...over,
  });
}
const proposed = (...rules: Parameters<typeof policy>[0]) => ({ policies: [policy(rules)], doubts: [] });
const inShort = (all: readonly Change[]) =>
  all.map(({ kind, rule: own, of, doubt }) => [
    kind,
    own.name,
    ...own.to.flatMap((to) => ('http' in to ? [to.http.methods?.join()] : [])),
    ...(of === undefined ? [] : [`of ${of.policy}/${of.rule}`]),
    ...(doubt === undefined ? [] : ['doubt']),
  ]);

describe('what is proposed', () => {
  const web = rule('web', 'web', ['GET'], '/items');
  const both = rule('web', 'web', ['GET', 'POST'], '/items');
  test.each<[string, Partial<ChangesInput>, unknown[]]>([
    ['without a target, every rule', { proposed: proposed(web) }, [['added', 'web', 'GET']]],
    ['nothing that the target allows', { target: [policy([web])], proposed: proposed(web) }, []],
    [
      'nothing that a wider rule of the target allows',
      { target: [policy([rule('all', 'web', ['GET', 'POST'], '/{rest=**}')])], proposed: proposed(both) },
      [],
    ],
    [
      'what a rule of the same path lacks, as that rule made wider',
      { target: [policy([web])], proposed: proposed(both) },
      [['widened', 'web', 'POST', 'of cart/web']],
    ],
    [
      'of a rule that is partly allowed elsewhere, the rest alone',
      { target: [policy([rule('all', 'web', ['GET'], '/{rest=**}')])], proposed: proposed(both) },
      [['added', 'web', 'POST']],
    ],
    [
      'not beside a condition that the target has, but as a rule of its own',
      { target: [policy([{ ...web, when: 'request.host == "a"' }])], proposed: proposed(both) },
      [['added', 'web', 'GET,POST']],
    ],
    [
      'nothing that the target denies on purpose',
      {
        target: [policy([web], { deny: [rule('no', 'web', ['POST'], '/items')] })],
        proposed: proposed(both),
      },
      [],
    ],
    [
      'doubts after what is ordinary',
      {
        proposed: {
          ...proposed(web),
          doubts: [
            { id: 'd1', codes: ['seen-once'], reasons: ['seen once'], rule: rule('x', 'job', ['GET'], '/x') },
          ],
        },
      },
      [
        ['added', 'web', 'GET'],
        ['added', 'x', 'GET', 'doubt'],
      ],
    ],
    [
      'no doubt that no rule can be made of',
      { proposed: { policies: [], doubts: [{ id: 'd', codes: [], reasons: [] }] } },
      [],
    ],
  ])('is %s', (_, over, expected) => {
    expect(inShort(changes(over))).toEqual(expected);
  });

  test('has an ID that names its content and not its name', () => {
    const [a] = changes({ proposed: proposed(web) });
    const [b] = changes({ proposed: proposed({ ...web, name: 'web-items' }) });
    const [c] = changes({ proposed: proposed(both) });
    expect([a?.id === b?.id, a?.id === c?.id]).toEqual([true, false]);
  });

  test('shows the evidence of what it adds, and not of what is allowed already', () => {
    const accesses = [
      access('web', http('GET', '/items'), { n: 5 }),
      access('web', http('POST', '/items'), { hours: [100, 101, 124], instances: ['b', 'c'] }),
    ];
    const [change] = changes({ target: [policy([web])], proposed: proposed(both), accesses });
    expect(change?.evidence).toMatchObject({
      accesses: 1,
      count: 3,
      days: 2,
      instances: ['b', 'c'],
      sources: ['proxy'],
    });
    expect(change?.evidence.hoursOfWeek.filter((n) => n > 0)).toEqual([1, 1, 1]);
  });
});

describe('what was rejected', () => {
  const web = rule('web', 'web', ['GET', 'POST'], '/orders/{id}');
  const [change] = changes({
    proposed: proposed(web),
    accesses: [access('web', http('GET', '/orders/{id}'))],
  });
  const keys = change?.grants ?? [];
  const of = (seen: Seen) =>
    inShort(
      changes({
        proposed: proposed({
          ...web,
          to: [{ http: { methods: ['DELETE', 'GET', 'POST'], paths: ['/orders/{order}'] }, ports: [80] }],
        }),
        accesses: [access('web', http('GET', '/orders/{id}'), seen)],
        rejected: rejected(...keys.map((key) => rejection(key))),
      }),
    );
  test('stays rejected while other methods come in, whatever a parameter of its path is called', () => {
    expect(keys).toHaveLength(2);
    expect(of({ n: 3 })).toEqual([['added', 'web', 'DELETE']]);
  });
  test.each<[string, Seen]>([
    ['ten times the calls', { n: 20 }],
    ['seven more days', { hours: Array.from({ length: 8 }, (_, i) => 100 + i * DAY) }],
    ['several instances of the caller', { instances: ['a', 'b', 'c'] }],
  ])('is proposed again on %s', (_, seen) => {
    expect(of(seen)).toEqual([['added', 'web', 'DELETE,GET']]);
  });
  test.each([
    [{ count: 0, days: 0, instances: 0 }, { count: 9, days: 1, instances: 2 }, false],
    [{ count: 0, days: 0, instances: 0 }, { count: 10, days: 1, instances: 1 }, true],
    [{ count: 100, days: 3, instances: 1 }, { count: 999, days: 9, instances: 2 }, false],
    [{ count: 100, days: 3, instances: 2 }, { count: 100, days: 3, instances: 16 }, false],
  ])('%j is materially more at %j: %s', (before, now, expected) => {
    expect(isMaterial(before, now)).toBe(expected);
  });
});

describe('unused rules', () => {
  const now = 40 * DAY * HOUR_MS;
  const old = rule('old', 'web', ['GET'], '/old');
  const all = new Set(Array.from({ length: 40 * DAY }, (_, hour) => hour));
  const target = [policy([old])];
  const input = {
    workload: cart,
    target,
    accesses: [],
    since: new Map([[ruleKey('cart', old), 0]]),
    days: 30,
    covered: all,
    now,
    rejected: NONE,
    digest,
  } as const;
  const lately = 39 * DAY;
  test.each<[string, Partial<typeof input>, number]>([
    ['that nobody has used in all of the time', {}, 1],
    [
      'used before that time',
      { accesses: [access('web', http('GET', '/old'), { hours: [5 * DAY] })] as never },
      1,
    ],
    ['used lately', { accesses: [access('web', http('GET', '/old'), { hours: [lately] })] as never }, 0],
    [
      'used lately, though it never went well',
      { accesses: [access('web', http('GET', '/old'), { hours: [lately], outcome: 'denied' })] as never },
      0,
    ],
    ['that came to the target lately', { since: new Map([[ruleKey('cart', old), 20 * DAY * HOUR_MS]]) }, 0],
    ['of which nobody knows since when they are there', { since: new Map() }, 0],
    ['while one hour was not recorded', { covered: new Set([...all].filter((hour) => hour !== 700)) }, 0],
    [
      'though an hour before that time was not recorded',
      { covered: new Set([...all].filter((hour) => hour !== 10)) },
      1,
    ],
    [
      'that somebody has decided to keep since',
      { rejected: rejected(rejection(`unused ${ruleKey('cart', old)}`, { at: now - 1 })) },
      0,
    ],
    [
      'that somebody has decided to keep, one whole time ago',
      { rejected: rejected(rejection(`unused ${ruleKey('cart', old)}`, { at: 0 })) },
      1,
    ],
    ['with a condition', { target: [policy([{ ...old, when: 'request.host == "a"' }])] }, 0],
    ['when the clock has jumped a year ahead', { now: now + 365 * DAY * HOUR_MS }, 0],
    ['when the clock was set back behind their beginning', { now: -1 }, 0],
  ])('%s', (_, over, expected) => {
    expect(unusedRules({ ...input, ...over })).toHaveLength(expected);
  });
  test('are taken away alone', () => {
    const kept = rule('kept', 'web', ['GET'], '/kept');
    const [change] = unusedRules(input);
    const [after] = targetWith(cart, [policy([old, kept])], change === undefined ? [] : [change], 'standard');
    expect(after?.spec.rules.map(({ name }) => name)).toEqual(['kept']);
  });
});

describe('questions', () => {
  const get = http('GET', '/orders/17');
  const order = rule('web', 'web', ['GET', 'POST'], '/orders/{id}');
  const ask = (over: Partial<Parameters<typeof questionsOf>[0]>) =>
    questionsOf({ workload: cart, flips: [], changes: [], rejected: NONE, digest, ...over });
  test('are one for each access, whatever decided before, the most frequent first', () => {
    const flips = [
      flip('web', get, { count: 2 }),
      flip('web', get, { count: 3 }),
      flip('job', get, { count: 7 }),
    ];
    expect(ask({ flips }).map(({ from, count }) => [from, count])).toEqual([
      [workload('job'), 7],
      [workload('web'), 5],
    ]);
  });
  test('name the change that would allow the access, and deny what was learned rather than one path', () => {
    const found = changes({ proposed: proposed(order) });
    const [question] = ask({ flips: [flip('web', get)], changes: found });
    expect(question).toMatchObject({
      change: found[0]?.id,
      deny: {
        from: [{ workload: id('web') }],
        to: [{ http: { methods: ['GET'], paths: ['/orders/{id}'] }, ports: [80] }],
      },
    });
    const target = targetDenying(
      cart,
      [policy([order])],
      question?.deny === undefined ? [] : [question.deny],
      'standard',
    );
    const verdict = (action: typeof get) =>
      decide(compile(target), { from: workload('web'), to: cart, action }).decidedBy;
    expect([verdict(http('GET', '/orders/18')), verdict(http('POST', '/orders/18'))]).toEqual([
      'deny',
      'rule',
    ]);
  });
  test.each([
    [
      'denied on purpose',
      flip('web', get, { after: { allowed: false, decidedBy: 'deny', policy: 'p', rule: 'r' } }),
    ],
    ['about another workload', { ...flip('web', get), to: id('web') }],
    [
      'denied today already',
      { ...flip('web', get), before: { allowed: false, decidedBy: 'no-rule' as const } },
    ],
  ])('are not asked of what is %s', (_, seen) => {
    expect(ask({ flips: [seen] })).toEqual([]);
  });
  test('that were closed are asked again where they come ten times as often, or a week longer', () => {
    const closed = rejected(rejection(questionKey(workload('web'), get), { count: 3, days: 1 }));
    const asked = (more: Parameters<typeof flip>[2]) =>
      ask({ flips: [flip('web', get, more)], rejected: closed }).length;
    expect([
      asked({ count: 29 }),
      asked({ count: 30 }),
      asked({ count: 3, days: 6 }),
      asked({ count: 3, days: 7 }),
    ]).toEqual([0, 1, 0, 1]);
  });
});

describe('a target with changes', () => {
  test('keeps what it had, gives new rules names of their own, and widens by all methods at once', () => {
    const web = rule('web', 'web', ['GET'], '/items');
    const found = changes({
      target: [policy([web])],
      proposed: {
        ...proposed(rule('web', 'web', ['GET', 'POST'], '/items'), rule('web', 'job', ['GET'], '/x')),
        doubts: [{ id: 'd', codes: [], reasons: [], rule: rule('w', 'web', ['DELETE'], '/items') }],
      },
    });
    const [after] = targetWith(cart, [policy([web])], found, 'standard');
    expect(
      after?.spec.rules.map(({ name, to: [to] }) => [
        name,
        to !== undefined && 'http' in to && to.http.methods,
      ]),
    ).toEqual([
      ['web', ['DELETE', 'GET', 'POST']],
      ['web-2', ['GET']],
    ]);
  });
  test('of a workload without a policy is one of its tier', () => {
    const [made] = targetWith(
      cart,
      [],
      changes({ proposed: proposed(rule('web', 'web', ['GET'], '/')) }),
      'critical',
    );
    expect([made?.metadata, made?.spec.tier, made?.spec.rules.length]).toEqual([
      { name: 'cart', namespace: 'shop' },
      'critical',
      1,
    ]);
  });
});

describe('approvals', () => {
  const [a, b, c] = ['user:i#a', 'user:i#b', 'user:i#c'].map((who, at) => ({ who, at }));
  const people = [a, b, c].flatMap((each) => each ?? []);
  test.each([
    [0, [], [], [], true],
    [1, [], [], [], false],
    [1, people.slice(0, 1), ['user:i#a'], ['user:i#a'], true],
    [2, people.slice(0, 1), [], ['user:i#a'], false],
    [2, people.slice(0, 2), [], ['user:i#a', 'user:i#b'], true],
    [2, people.slice(0, 2), ['user:i#b'], ['user:i#a'], false],
    [2, people, ['user:i#b'], ['user:i#a', 'user:i#c'], true],
    [2, [...people.slice(0, 1), ...people.slice(0, 1)], [], ['user:i#a'], false],
  ])('%i needed, %j by authors %j: %j count, enough: %s', (need, approvals, authors, count, enough) => {
    const state = approvalState(approvals, { authors }, { approvals: need });
    expect([state.by.map(({ who }) => who), isApproved(state)]).toEqual([count, enough]);
  });
  test('are given once by each, and for two never by an author', () => {
    const give = (who: string, authors: string[], approvals: number) => () =>
      approvedBy(cart, people.slice(0, 1), { authors }, { approvals }, { who, at: 9 }).length;
    expect(give('user:i#a', [], 1)).toThrow(expect.objectContaining({ code: 'conflict' }));
    expect(give('user:i#b', ['user:i#b'], 2)).toThrow(expect.objectContaining({ code: 'forbidden' }));
    expect([give('user:i#b', ['user:i#b'], 1)(), give('user:i#b', [], 2)()]).toEqual([2, 2]);
  });
});

describe('doubts', () => {
  const [plain] = changes({ proposed: proposed(rule('web', 'web', ['GET'], '/')) });
  const [doubtful, other] = changes({
    proposed: {
      policies: [],
      doubts: ['/a', '/b'].map((path) => ({
        id: path,
        codes: ['seen-once'],
        reasons: [],
        rule: rule('r', 'web', ['GET'], path),
      })),
    },
  });
  const decide =
    (all: (Change | undefined)[], isOwner: boolean, doubts: 'any' | 'decided' | 'decided-by-owner') => () =>
      checkDecidable(
        all.flatMap((each) => each ?? []),
        { workload: cart, who: 'user:a', isOwner, owners: ['alice'], gates: { doubts } },
      );
  test.each<[string, () => void, string | undefined]>([
    ['two doubts, where anybody may decide', decide([doubtful, other], false, 'decided'), undefined],
    [
      'two doubts of a critical workload, by an owner',
      decide([doubtful, other], true, 'decided-by-owner'),
      'usage',
    ],
    [
      'a doubt of a critical workload with an ordinary change',
      decide([plain, doubtful], true, 'decided-by-owner'),
      'usage',
    ],
    [
      'a doubt of a critical workload, by somebody else',
      decide([doubtful], false, 'decided-by-owner'),
      'forbidden',
    ],
    ['a doubt of a critical workload, by an owner', decide([doubtful], true, 'decided-by-owner'), undefined],
    ['ordinary changes of a critical workload', decide([plain, plain], false, 'decided-by-owner'), undefined],
  ])('%s', (_, decision, code) => {
    if (code === undefined) expect(decision).not.toThrow();
    else expect(decision).toThrow(expect.objectContaining({ code }));
  });
});
