import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import {
  type AccessPolicy,
  compile,
  decide,
  exceptionsEnding,
  exceptionsOf,
  explain,
  nextEnd,
  parseUntil,
  policiesAt,
  readPolicies,
  type Rule,
  rulesAt,
  writePolicies,
} from './index.ts';

const DB = parseSpiffeId('spiffe://e.org/db');
const WEB = parseSpiffeId('spiffe://e.org/web');
const END = Date.UTC(2026, 11, 31);
const DAY = 86_400_000;
const REQUEST = { from: { kind: 'workload', id: WEB }, to: DB, action: { kind: 'tcp', port: 1 } } as const;

function policy(...rules: Omit<Rule, 'from' | 'to'>[]): AccessPolicy {
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'db' },
    spec: {
      protects: { workload: DB },
      tier: 'standard',
      stage: 'draft',
      rules: rules.map((rule) => ({ from: [{ workload: WEB }], to: [{ tcp: {} }], ...rule })),
      deny: [],
    },
  };
}

const document = (rule: string, deny = '') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: db }
spec:
  protects: { workload: ${DB} }
  rules: [ { name: a, from: [{ workload: ${WEB} }], to: [{ tcp: {} }]${rule} } ]
  deny: [ ${deny} ]
`;

describe('the end of a rule', () => {
  test.each([
    ['2026-12-31T00:00:00Z', END],
    ['2026-12-31T01:30:00.5+01:30', END + 500],
    ['2026-12-30T19:00:00-05:00', END],
    ['2028-02-29T00:00:00Z', Date.UTC(2028, 1, 29)],
  ])('%s is a moment', (text, ends) => {
    expect(parseUntil(text)).toEqual({ ok: true, ends });
  });

  test.each([
    '2026-12-31',
    '2026-12-31T00:00:00',
    '2026-12-31 00:00:00Z',
    '2026-12-31T00:00Z',
    '2026-12-31t00:00:00z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-12-31T24:00:00Z',
    '2026-12-31T23:59:60Z',
    '2026-12-31T00:00:00+24:00',
    '2026-12-31T00:00:00+01:60',
    '2026-12-31T00:00:00-00:00',
    '2026-12-31T00:00:00.1234Z',
    '1999-12-31T00:00:00Z',
    '2200-01-01T00:00:00Z',
    '0026-12-31T00:00:00Z',
    ' 2026-12-31T00:00:00Z',
    '2026-12-31T00:00:00Z\n',
    `2026-12-31T00:00:00${'0'.repeat(5000)}Z`,
    '',
  ])('%j is none, and the document is refused with its line', (text) => {
    expect(parseUntil(text).ok).toBe(false);
    expect(() => readPolicies(document(`, until: ${JSON.stringify(text)}`))).toThrow(/until:/);
  });

  test('is refused on a rule that denies: its end would allow by itself', () => {
    const deny = `{ name: d, from: [{ workload: ${WEB} }], to: [{ tcp: {} }], until: "2026-12-31T00:00:00Z" }`;
    expect(() => readPolicies(document('', deny))).toThrow(/deny rule "d" has an end/);
  });

  test('stands in the document with its reason, and is written back the same', () => {
    const read = readPolicies(
      document(', until: 2026-12-31T00:00:00Z, reason: "ticket 7: the new one comes"'),
    );
    expect(read[0]?.spec.rules[0]).toMatchObject({
      until: '2026-12-31T00:00:00Z',
      reason: 'ticket 7: the new one comes',
    });
    expect(readPolicies(writePolicies(read))).toEqual(read);
    for (const reason of ['a\nb', '\u001b[31m', '\u2028', 'a\u202eb', '', 'x'.repeat(501)])
      expect(() => readPolicies(document(`, reason: ${JSON.stringify(reason)}`))).toThrow(/reason/);
  });

  test('is named where it is why there is no rule, and where the rule still allows', () => {
    const set = compile([policy({ name: 'a', until: '2026-12-31T00:00:00Z' })]);
    expect(explain(set, REQUEST, END - 1).sentence).toBe(
      'Allowed by rule "a" of policy "db" until 2026-12-31T00:00:00Z.',
    );
    const over = explain(set, REQUEST, END);
    expect(over.nearest).toMatchObject({ rule: 'a', field: 'until', expected: '2026-12-31T00:00:00Z' });
    expect(over.sentence).toContain('The nearest is rule "a" of policy "db", but it ended 2026-12-31T00:00');
    expect(explain(set, REQUEST).sentence).toContain('the time is not known');
  });

  test('is past for whoever gives no time, or one that is none', () => {
    const set = compile([policy({ name: 'a', until: '2026-12-31T00:00:00Z' })]);
    const lasting = compile([policy({ name: 'a' })]);
    for (const at of [undefined, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(decide(set, REQUEST, at).allowed).toBe(false);
      expect(decide(lasting, REQUEST, at).allowed).toBe(true);
    }
    expect([set.hasEnds, lasting.hasEnds]).toEqual([true, false]);
  });

  test('of several rules for one thing each counts for itself', () => {
    const rules = ['2026-03-01T00:00:00Z', '2026-12-31T00:00:00Z', '2026-06-01T00:00:00Z'];
    const set = compile([policy(...rules.map((until, i) => ({ name: `r${i}`, until })))]);
    const by = (at: number) => decide(set, REQUEST, at).rule;
    expect([by(0), by(Date.UTC(2026, 2)), by(Date.UTC(2026, 6)), by(END)]).toEqual([
      'r0',
      'r1',
      'r1',
      undefined,
    ]);
  });
});

describe('policies at a time', () => {
  const lasting = policy({ name: 'a' });
  const ending = policy({ name: 'a', until: '2026-12-31T00:00:00Z' }, { name: 'b' });

  test('are the same object where no rule is over', () => {
    const policies = [lasting, ending];
    expect(rulesAt(policies, END - 1)).toBe(policies);
    expect(policiesAt([lasting], END)).toEqual([lasting]);
    expect(rulesAt(policies, END)[0]).toBe(lasting);
  });

  test('leave out what is over, and keep or take off the ends of the others', () => {
    const rules = (policies: readonly AccessPolicy[]) =>
      policies.flatMap(({ spec }) => spec.rules.map(({ name, until }) => [name, until]));
    expect(rules(rulesAt([ending], END))).toEqual([['b', undefined]]);
    expect(rules(policiesAt([ending], END - 1))).toEqual([
      ['a', undefined],
      ['b', undefined],
    ]);
    expect(rules(policiesAt([ending], Number.POSITIVE_INFINITY))).toEqual([['b', undefined]]);
  });

  test('know when the next rule ends', () => {
    const policies = [ending, policy({ name: 'c', until: '2027-01-01T00:00:00Z' })];
    expect(nextEnd(policies, 0)).toBe(END);
    expect(nextEnd(policies, END)).toBe(Date.UTC(2027, 0));
    expect(nextEnd(policies, Date.UTC(2027, 0))).toBeUndefined();
    expect(nextEnd([lasting], 0)).toBeUndefined();
  });
});

describe('exceptions', () => {
  const policies = [
    policy(
      { name: 'late', until: '2027-03-01T00:00:00Z' },
      { name: 'soon', until: '2026-12-31T00:00:00Z', reason: 'why' },
      { name: 'lasting' },
    ),
  ];

  test('are listed, the soonest first', () => {
    expect(exceptionsOf(policies)).toMatchObject([
      { workload: DB, policy: 'db', rule: 'soon', ends: END, reason: 'why' },
      { rule: 'late' },
    ]);
  });

  test('are told of a week and a day before their end, each notice by a name of its own', () => {
    const notices = (now: number) =>
      exceptionsEnding(policies, now).map(({ rule, noticeDays }) => [rule, noticeDays]);
    expect(notices(END - 7 * DAY - 1)).toEqual([]);
    expect(notices(END - 7 * DAY)).toEqual([['soon', 7]]);
    expect(notices(END - DAY - 1)).toEqual([['soon', 7]]);
    expect(notices(END - DAY)).toEqual([['soon', 1]]);
    expect(notices(END)).toEqual([]);
    const keys = [END - 2 * DAY, END - 1].map((now) => exceptionsEnding(policies, now)[0]?.key);
    const renewed = exceptionsEnding([policy({ name: 'soon', until: '2026-12-31T00:00:01Z' })], END - 1);
    expect(new Set([...keys, renewed[0]?.key]).size).toBe(3);
  });
});
