import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../../access/index.ts';
import { ManualTimers } from '../../../node/manual-timers.test-helper.ts';
import { cart, FakeSink, reporterOf, reportOf, web } from './evidence.test-helper.ts';
import { LiveEvidence } from './live-evidence.ts';

const node = parseSpiffeId('spiffe://example.org/node-proxy');

function open() {
  const timers = new ManualTimers();
  const sink = new FakeSink();
  const evidence = new LiveEvidence({ sink, timers, onFault: () => {} });
  return { sink, evidence, now: timers.now() };
}

const entry = (at: number, over: object = {}) => ({
  workload: cart,
  peer: web,
  host: '10.0.0.8',
  port: 8443,
  reason: 'untrusted',
  detail: 'another one',
  count: 2n,
  firstSeen: BigInt(at),
  lastSeen: BigInt(at),
  ...over,
});

describe('calls that did not arrive', () => {
  test('are kept with what the proxy last said of them, added up, and are no accesses', async () => {
    const { sink, evidence, now } = open();
    await evidence.take(reporterOf(), reportOf(1, { unreached: [entry(now)] }));
    await evidence.take(
      reporterOf(),
      reportOf(2, { unreached: [entry(now, { detail: 'a third one' }), entry(now, { reason: 'owner' })] }),
    );
    expect(evidence.unreached({ from: cart })).toMatchObject([
      {
        from: cart,
        peer: web,
        host: '10.0.0.8',
        port: 8443,
        reason: 'untrusted',
        detail: 'a third one',
        count: 4,
      },
      { reason: 'owner', count: 2 },
    ]);
    expect(evidence.unreached({ from: web })).toEqual([]);
    expect(evidence.unreached({ since: now + 1 })).toEqual([]);
    expect([sink.calls, sink.lost]).toEqual([0, 0]);
    expect(sink.batches.map(({ batch }) => batch.unreached?.length)).toEqual([1, 2]);
  });

  test('are known to a control plane that starts again', async () => {
    const { sink, evidence, now } = open();
    await evidence.take(reporterOf(), reportOf(1, { unreached: [entry(now)] }));
    const unreached = sink.batches[0]?.batch.unreached ?? [];
    const kept = { marks: [], flips: [], plaintext: [], unreached };
    const later = new LiveEvidence({ sink, kept, timers: new ManualTimers(), onFault: () => {} });
    expect(later.unreached({})).toEqual(evidence.unreached({}));
  });

  test("are the proxy's own where whoever called is no workload", async () => {
    const { evidence, now } = open();
    const unreached = [entry(now, { workload: '', reason: 'owner', detail: 'process 7 of user 9' })];
    await evidence.take(reporterOf('a', { identity: node }), reportOf(1, { unreached }));
    expect(evidence.unreached({})).toMatchObject([{ from: node, peer: web, detail: 'process 7 of user 9' }]);
  });

  test.each([
    ['a reason of a newer program', { reason: 'moon' }],
    ['a peer that is none', { peer: 'web' }],
    ['no place', { host: '' }],
    ['a place with a line in it', { host: 'a\nb' }],
    ['no port', { port: 70_000 }],
    ['no count', { count: 0n }],
    ['a count beyond belief', { count: 2n ** 60n }],
    ['a time that has yet to come', { lastSeen: 2n ** 60n }],
  ])('with %s are left out, and what stands beside them is kept', async (_, over) => {
    const { sink, evidence, now } = open();
    await evidence.take(reporterOf(), reportOf(1, { unreached: [entry(now, over), entry(now)] }));
    expect(evidence.unreached({})).toMatchObject([{ count: 2 }]);
    expect(sink.lost).toBe(0);
  });

  test('say nothing that a terminal would take for an order, and not for ever', async () => {
    const { evidence, now } = open();
    const detail = `\u001b[2J\n\u202e${'a'.repeat(5000)}`;
    await evidence.take(reporterOf(), reportOf(1, { unreached: [entry(now, { detail })] }));
    expect(evidence.unreached({})[0]?.detail).toBe(` [2J  ${'a'.repeat(494)}`);
  });

  test('of one workload never push out those of another', async () => {
    const { evidence, now } = open();
    const both = reporterOf('a', { workloads: [cart, web] });
    await evidence.take(both, reportOf(1, { unreached: [entry(now, { workload: web, peer: cart })] }));
    const many = Array.from({ length: 3000 }, (_, i) => entry(now, { host: `h${i}` }));
    await evidence.take(both, reportOf(2, { unreached: many }));
    expect(evidence.unreached({ from: web })).toHaveLength(1);
    expect(evidence.unreached({ from: cart }).length).toBeLessThanOrEqual(1000);
    expect(evidence.unreached({ from: cart }).reduce((sum, { count }) => sum + count, 0)).toBe(6000);
  });
});
