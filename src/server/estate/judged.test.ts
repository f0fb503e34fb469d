import { describe, expect, test } from 'vitest';
import { type Access, buildGraph, drained, principalText, type Recorded, Tally } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { newRollout } from '../../rollout/index.ts';
import { cart, web } from '../enforcement/evidence/evidence.test-helper.ts';
import { POLICIES } from './estate.test-helper.ts';
import { type Judged, judge } from './judged.ts';
import { AccessTexts, accessJson } from './shown.ts';

function recorded(calls: Readonly<Record<string, number>>): Recorded {
  const tally = new Tally('proxy');
  for (const [path, n] of Object.entries(calls)) {
    const action = { kind: 'http', port: 80, method: 'GET', path } as const;
    tally.access({ spiffeId: web }, { spiffeId: cart }, action, 'callee').add(3_600_000, 'ok', 'i', n);
  }
  const nothing = { blindSpots: [], facts: [], events: 0, lost: 0 };
  return { trustDomain: 'example.org', accesses: [...tally.accesses()], ...nothing };
}

const states = ({ accesses }: Judged) =>
  accesses.map(
    ({ action, state, count }) => `${action.kind === 'http' ? action.path : ''} ${state} ${count}`,
  );
const of = (version: number, accesses: readonly Access[], from: Recorded) => ({
  version,
  at: 0,
  graph: { ...buildGraph(from), accesses },
  byCallee: Map.groupBy(accesses, ({ to }) => principalText(to)),
});
const rollouts = (yaml: string) =>
  new Map([[cart, newRollout(cart, readPolicies(yaml, 'test'), { by: 'user:a', now: 0 })]]);

describe('accesses that are judged again', () => {
  const first = recorded({ '/items': 1, '/a': 1 });
  const { accesses } = buildGraph(first);
  const policies = rollouts(POLICIES.cart);
  const before = drained(judge(of(1, accesses, first), policies));

  test('stay the same objects where nothing has changed, and so do their texts', () => {
    const after = drained(judge(of(2, accesses, first), policies, before));
    expect(after.accesses.filter(({ access }) => access !== undefined)).toHaveLength(2);
    for (const [i, judged] of after.accesses.entries())
      if (judged.access !== undefined) expect(judged).toBe(before.accesses[i]);
    const same = { ...before.estate, version: 3 };
    for (const [to, callee] of drained(judge(same, policies, before)).byCallee)
      expect(callee).toBe(before.byCallee.get(to));
  });

  test('say the same as if they were judged for the first time, whatever has changed', () => {
    const more = recorded({ '/items': 7, '/a': 1, '/never': 2 });
    const graph = buildGraph(more);
    const next = of(2, graph.accesses, more);
    const other = rollouts(POLICIES.cart.replace('/items', '/a'));
    for (const now of [policies, other, new Map()]) {
      const again = drained(judge(next, now, before));
      const anew = drained(judge(next, now));
      expect(again.accesses.map(accessJson)).toEqual(anew.accesses.map(accessJson));
      expect(again.accesses.map(({ uses }) => uses)).toEqual(anew.accesses.map(({ uses }) => uses));
    }
    expect(states(drained(judge(next, policies, before)))).toEqual([
      '/a would-deny 1',
      '/items allowed 7',
      '/never allowed 2',
    ]);
    // And back: what the rule allows is unused again.
    expect(states(drained(judge(of(3, accesses, first), policies, drained(judge(next, policies)))))).toEqual(
      states(before),
    );
    expect(states(before)).toContain('/never unused 0');
  });

  test('have texts that are made once, and let go with them', () => {
    const texts = new AccessTexts();
    const [one, two] = before.accesses;
    if (one === undefined || two === undefined) throw new TypeError('there are two');
    for (const access of [one, two, one]) expect(texts.of(access)).toBe(accessJson(access));
    const both = [one, two].reduce((sum, access) => sum + accessJson(access).length, 0);
    expect(texts.length).toBe(both);
    drained(texts.keep(new Map([[cart, { accesses: [two] }]]), new Map([[cart, { accesses: [one, two] }]])));
    expect(texts.length).toBe(accessJson(two).length);
    expect(texts.of(two)).toBe(accessJson(two));
    expect(texts.length).toBe(accessJson(two).length);
  });
});
