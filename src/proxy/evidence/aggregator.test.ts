import { expect, test } from 'vitest';
import { HOUR_MS } from '../../access/index.ts';
import type { Judgement } from '../types.ts';
import { Aggregator, MAX_ENTRIES } from './aggregator.ts';
import { callerOf, cart, NOW, servedOf, web } from './evidence.test-helper.ts';

test('requests of one caller, action and hour are one entry; what is drained is gone', () => {
  const aggregator = new Aggregator();
  const caller = callerOf();
  for (const [i, outcome] of (['ok', 'ok', 'error', 'failed', 'denied'] as const).entries())
    aggregator.record(servedOf('/a', { caller, outcome, at: NOW + i }));
  aggregator.record(servedOf('/a', { caller, at: NOW + HOUR_MS }));
  aggregator.record(servedOf('/b', { caller }));
  aggregator.record(
    servedOf('/a', {
      caller: callerOf({
        isMutual: false,
        address: '10.0.0.8',
        principal: { kind: 'unauthenticated', from: '10.0.0.8' },
      }),
    }),
  );
  const { report, calls } = aggregator.drain() ?? {};
  expect(calls).toBe(8);
  expect(report?.accesses).toMatchObject([
    {
      from: { spiffeId: web, address: '' },
      to: cart,
      action: { kind: 'http', port: 80, name: 'GET', text: '/a' },
      ok: 2n,
      error: 1n,
      failed: 1n,
      denied: 1n,
      mutual: 5n,
      plaintext: 0n,
      firstSeen: BigInt(NOW),
      lastSeen: BigInt(NOW + 4),
      instance: '10.0.0.7',
      group: 'X25519MLKEM768',
    },
    { hour: (NOW + HOUR_MS) / HOUR_MS, ok: 1n },
    { action: { text: '/b' } },
    { from: { spiffeId: '', address: '10.0.0.8' }, mutual: 0n },
  ]);
  expect(aggregator.drain()).toBeUndefined();
});

test('connections in plain text, and in TLS without an identity, are told apart', () => {
  const aggregator = new Aggregator();
  const principal = { kind: 'unauthenticated', from: '10.0.0.8' } as const;
  const { group: _, ...plain } = callerOf({ isMutual: false, principal });
  aggregator.record(servedOf('/a', { caller: plain }));
  aggregator.record(servedOf('/b', { caller: callerOf({ isMutual: false, principal }) }));
  aggregator.plaintext(cart, plain, 80, NOW);
  aggregator.plaintext(cart, plain, 80, NOW + 5);
  const { report } = aggregator.drain() ?? {};
  expect(report?.accesses.map(({ mutual, plaintext }) => [mutual, plaintext])).toEqual([
    [0n, 1n],
    [0n, 0n],
  ]);
  expect(report?.plaintext).toMatchObject([
    {
      from: { address: '10.0.0.7' },
      to: cart,
      port: 80,
      connections: 2n,
      firstSeen: BigInt(NOW),
      lastSeen: BigInt(NOW + 5),
    },
  ]);
});

test('a flip is what the target judges otherwise, or what was refused; it is counted by who and by which rules', () => {
  const aggregator = new Aggregator();
  const caller = callerOf();
  const allowed = { allowed: true, decidedBy: 'rule', policy: 'p', rule: 'r' } as const;
  const denied = { allowed: false, decidedBy: 'no-rule' } as const;
  const judge = (judgement: Judgement, path = '/a') =>
    aggregator.record(servedOf(path, { caller, judgement }));
  judge({ allowed: true, before: allowed });
  judge({ allowed: true, before: allowed, after: { ...allowed, rule: 'other' } });
  judge({ allowed: true, before: allowed, after: denied });
  judge({ allowed: true, before: allowed, after: denied });
  judge({ allowed: true, before: denied, after: allowed });
  judge({ allowed: false, before: denied, after: denied });
  judge({ allowed: false, before: denied });
  const { report } = aggregator.drain() ?? {};
  expect(
    report?.flips.map(({ before, after, refused, count }) => [
      before?.allowed,
      after?.allowed,
      refused,
      count,
    ]),
  ).toEqual([
    [true, false, false, 2n],
    [false, true, false, 1n],
    [false, false, true, 2n],
  ]);
  expect(report?.flips[0]).toMatchObject({
    before: { decidedBy: 'rule', policy: 'p', rule: 'r' },
    after: { decidedBy: 'no-rule' },
  });
});

test('flips of two target sets are never added up, and say which set judged them', () => {
  const aggregator = new Aggregator();
  const before = { allowed: true, decidedBy: 'rule', policy: 'p', rule: 'r' } as const;
  const after = { allowed: false, decidedBy: 'no-rule' } as const;
  for (const version of [{ targetVersion: 7 }, { targetVersion: 8 }, { targetVersion: 7 }, {}])
    aggregator.record(servedOf('/a', { judgement: { allowed: true, before, after, ...version } }));
  const { flips = [] } = aggregator.drain()?.report ?? {};
  expect(flips.map(({ targetVersion, count }) => [targetVersion, count])).toEqual([
    [7n, 2n],
    [8n, 1n],
    [0n, 1n],
  ]);
});

test('whoever connects anew for each request is one entry, and whoever asks for a new path each time leaves room for others', () => {
  const aggregator = new Aggregator();
  for (let i = 0; i < 1000; i++) aggregator.record(servedOf('/a', { caller: callerOf({ port: i }) }));
  const once = aggregator.drain();
  expect([once?.report.accesses.length, once?.report.accesses[0]?.ok]).toEqual([1, 1000n]);
  for (let i = 0; i < 2 * MAX_ENTRIES; i++)
    aggregator.record(servedOf(`/${i}`, { caller: callerOf({ address: `10.0.0.${i % 200}` }) }));
  aggregator.record(servedOf('/a', { caller: callerOf({ principal: { kind: 'workload', id: cart } }) }));
  const { report } = aggregator.drain() ?? {};
  expect(report?.accesses).toHaveLength(MAX_ENTRIES / 4 + 1);
  expect(report?.lost).toBe(BigInt(2 * MAX_ENTRIES - MAX_ENTRIES / 4));
});

test('what there is no room for is counted as lost, by number and by length, and there is room again after the next report', () => {
  const aggregator = new Aggregator();
  const callers = Array.from({ length: 8 }, (_, i) => {
    const address = `10.0.1.${i}`;
    return callerOf({ principal: { kind: 'unauthenticated', from: address }, address });
  });
  const callerAt = (i: number) => callers[i % 8] ?? callerOf();
  for (let i = 0; i < MAX_ENTRIES + 7; i++) aggregator.record(servedOf(`/${i}`, { caller: callerAt(i) }));
  aggregator.lose(5);
  const first = aggregator.drain();
  expect([first?.report.accesses.length, first?.report.lost, first?.calls]).toEqual([
    MAX_ENTRIES,
    12n,
    MAX_ENTRIES,
  ]);
  const long = 'x'.repeat(8000);
  for (let i = 0; i < 4000; i++) aggregator.record(servedOf(`/${i}${long}`, { caller: callerAt(i) }));
  const second = aggregator.drain();
  expect(second?.report.accesses.length).toBeGreaterThan(1000);
  expect(Number(second?.report.lost) + (second?.calls ?? 0)).toBe(4000);
  expect(second?.report.lost).toBeGreaterThan(0n);
});
