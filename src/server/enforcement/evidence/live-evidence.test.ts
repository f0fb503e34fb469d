import { describe, expect, test } from 'vitest';
import { InterlockError } from '../../../access/index.ts';
import { ManualTimers, settle } from '../../../node/manual-timers.test-helper.ts';
import { AccessBook } from './access-book.ts';
import { accessAt, cart, FakeSink, flipAt, reporterOf, reportOf, web } from './evidence.test-helper.ts';
import type { SeenFlip } from './intake.ts';
import { LiveEvidence, type LiveEvidenceOptions } from './live-evidence.ts';

const full = new InterlockError('io', 'state', 'no space is left');

function open(over: Partial<LiveEvidenceOptions> = {}) {
  const timers = new ManualTimers();
  const sink = new FakeSink();
  const faults: unknown[] = [];
  const evidence = new LiveEvidence({ sink, timers, onFault: (error) => faults.push(error), ...over });
  return { timers, sink, faults, evidence, now: timers.now() };
}

/** What a promise has come to by now. */
async function stateOf(promise: Promise<unknown>): Promise<'kept' | 'refused' | 'waiting'> {
  await settle();
  const waiting = Symbol('waiting');
  return Promise.race([promise, Promise.resolve(waiting)]).then(
    (value) => (value === waiting ? 'waiting' : 'kept'),
    () => 'refused',
  );
}

describe('a report', () => {
  test('is kept before it is taken and shown', async () => {
    const { sink, evidence, now } = open();
    const hang = Promise.withResolvers<void>();
    sink.hang = hang.promise;
    const taken = evidence.take(
      reporterOf(),
      reportOf(1, { accesses: [accessAt(now)], flips: [flipAt(now)] }),
    );
    expect(await stateOf(taken)).toBe('waiting');
    expect([
      evidence.flips({}),
      evidence.isKnownGood({ kind: 'workload', id: web }, cart, { kind: 'tcp', port: 1 }),
    ]).toEqual([[], false]);
    hang.resolve();
    await taken;
    expect(evidence.flips({ to: cart })).toMatchObject([{ count: 1, to: cart }]);
    expect(evidence.seen(`${cart}#a`, cart, now).requests).toBe(1);
    expect(sink.calls).toBe(1);
  });

  test('that comes again, over another stream or after it was kept, is one report', async () => {
    const { sink, evidence, now } = open();
    const report = reportOf(1, { accesses: [accessAt(now)], flips: [flipAt(now)] });
    const both = [evidence.take(reporterOf(), report), evidence.take(reporterOf(), report)];
    await Promise.all(both);
    await evidence.take(reporterOf(), report);
    expect([sink.calls, evidence.flips({})[0]?.count]).toEqual([1, 1]);
    // Another one's mark says nothing of this one.
    await evidence.take(reporterOf('b'), report);
    await evidence.take(reporterOf(), reportOf(1, { accesses: [accessAt(now)] }, 2));
    expect(sink.calls).toBe(3);
  });

  test('whose number was kept by an earlier control plane changes nothing', async () => {
    const marks = [{ reporter: `${cart}#a`, epoch: '01', sequence: 5 }];
    const { sink, evidence, now } = open({ kept: { marks, flips: [], plaintext: [] } });
    await evidence.take(reporterOf(), reportOf(5, { accesses: [accessAt(now)] }));
    await evidence.take(reporterOf(), reportOf(6, { accesses: [accessAt(now)] }));
    expect(sink.calls).toBe(1);
  });

  test('without a number, or with an absurd one, is refused', () => {
    const { evidence } = open();
    for (const bad of [
      reportOf(0),
      reportOf(1, { epoch: Buffer.alloc(33) }),
      reportOf(1, { epoch: Buffer.alloc(0) }),
    ])
      expect(() => evidence.take(reporterOf(), bad)).toThrow(expect.objectContaining({ code: 'usage' }));
    const huge = reportOf(1, { sequence: 2n ** 63n });
    expect(() => evidence.take(reporterOf(), huge)).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('of a listener that fails is taken all the same', async () => {
    const { evidence, faults, now } = open();
    evidence.onFlip(() => {
      throw new Error('a listener of ours');
    });
    await evidence.take(reporterOf(), reportOf(1, { flips: [flipAt(now)] }));
    expect(faults).toHaveLength(1);
  });
});

describe('a store that is slow or fails', () => {
  test('is written to once for all that came meanwhile, added up', async () => {
    const { sink, evidence, now } = open();
    const hang = Promise.withResolvers<void>();
    sink.hang = hang.promise;
    const taken = Array.from({ length: 100 }, (_, i) =>
      evidence.take(reporterOf(`p${i}`), reportOf(1, { accesses: [accessAt(now)] })),
    );
    await settle();
    hang.resolve();
    await Promise.all(taken);
    expect(sink.batches.map(({ batch }) => batch.marks.length)).toEqual([1, 99]);
    expect(sink.batches.map(({ tallies }) => tallies.map((tally) => tally.accessCount))).toEqual([[1], [1]]);
    expect(sink.calls).toBe(100);
  });

  test('lets reports wait, is tried again, and is named once', async () => {
    const { sink, evidence, timers, faults, now } = open();
    sink.fault = full;
    const taken = evidence.take(
      reporterOf(),
      reportOf(1, { accesses: [accessAt(now)], flips: [flipAt(now)] }),
    );
    for (let i = 0; i < 5; i++) await timers.advance(2000);
    expect([await stateOf(taken), faults]).toEqual(['waiting', [full]]);
    sink.fault = undefined;
    await timers.advance(2000);
    expect([await stateOf(taken), sink.calls, evidence.flips({})[0]?.count]).toEqual(['kept', 1, 1]);
  });

  test('that kept a batch without saying so keeps nothing twice, and shows it', async () => {
    const { sink, evidence, timers, now } = open();
    sink.losesAnswer = true;
    sink.fault = full;
    const first = evidence.take(
      reporterOf(),
      reportOf(1, { accesses: [accessAt(now)], flips: [flipAt(now)] }),
    );
    await settle();
    sink.fault = undefined;
    const second = evidence.take(reporterOf('b'), reportOf(1, { accesses: [accessAt(now)] }));
    await timers.advance(2000);
    await Promise.all([first, second]);
    expect([sink.calls, sink.batches.length]).toEqual([2, 2]);
    expect(evidence.seen(`${cart}#a`, cart, now).requests).toBe(1);
  });

  test('for too long makes further reports refused at once; what could not be sent again is counted as lost', async () => {
    const { sink, evidence, timers, now } = open();
    sink.fault = full;
    const many = Array.from({ length: 1000 }, (_, i) => accessAt(now, { action: { kind: 'tcp', port: i } }));
    const promises: Promise<void>[] = [];
    const refused = () => {
      for (let i = 1; i < 1000; i++)
        promises.push(evidence.take(reporterOf(), reportOf(i, { accesses: many })));
    };
    expect(refused).toThrow(expect.objectContaining({ code: 'unavailable' }));
    expect(promises.length).toBeGreaterThan(100);
    const envoy = reporterOf('e', { kind: 'envoy' });
    const access = {
      from: { kind: 'workload', id: web },
      to: cart,
      action: { kind: 'tcp', port: 80 },
      mutual: 0,
      plaintext: 0,
    } as const;
    const outcomes = { ok: 3, error: 0, failed: 0, denied: 0 };
    const accesses = many.map(() => ({ ...access, outcomes, firstSeen: now, lastSeen: now, instance: '' }));
    evidence.add(envoy, { accesses, flips: [], plaintext: [], lost: 0, skips: new Map() });
    sink.fault = undefined;
    await timers.advance(2000);
    await Promise.all(promises);
    expect([sink.calls, sink.lost]).toEqual([promises.length * 1000, 3000]);
    // The one that was refused is sent again.
    await evidence.take(reporterOf(), reportOf(promises.length + 1, { accesses: many }));
    expect(sink.calls).toBe((promises.length + 1) * 1000);
  });

  test('at which the program fails loses the one report that it fails at, and counts it', async () => {
    const { sink, evidence, faults, now } = open();
    const broken = new TypeError('a fault of the program');
    const keep = sink.addLive.bind(sink);
    sink.addLive = (batch, tallies) =>
      batch.marks.some(({ reporter }) => reporter.endsWith('#bad'))
        ? Promise.reject(broken)
        : keep(batch, tallies);
    const accesses = [accessAt(now)];
    await Promise.all(
      ['a', 'bad', 'b'].map((name) => evidence.take(reporterOf(name), reportOf(1, { accesses }))),
    );
    await evidence.take(reporterOf('c'), reportOf(1, { accesses }));
    expect([sink.calls, sink.lost, faults]).toEqual([3, 1, [broken]]);
  });

  test('at the end is given what is left; what it does not take is refused', async () => {
    const { sink, evidence, timers, now } = open();
    sink.fault = full;
    const taken = evidence.take(reporterOf(), reportOf(1, { accesses: [accessAt(now)] }));
    const outcome = stateOf(taken.finally(() => {}));
    taken.catch(() => {});
    await settle();
    const closed = evidence.close();
    await timers.advance(5000);
    await closed;
    expect([await outcome, await stateOf(taken), sink.closed]).toEqual(['waiting', 'refused', true]);
    expect(() => evidence.take(reporterOf(), reportOf(2))).toThrow(
      expect.objectContaining({ code: 'unavailable' }),
    );
  });
});

describe('flips', () => {
  test('are told as they are kept, with the point that saw them', async () => {
    const { evidence, now } = open();
    const told: [SeenFlip, string][] = [];
    const stop = evidence.onFlip((flip, { instance }) => told.push([flip, instance]));
    await evidence.take(reporterOf(), reportOf(1, { flips: [flipAt(now, { refused: true, count: 4n })] }));
    stop();
    await evidence.take(reporterOf(), reportOf(2, { flips: [flipAt(now)] }));
    expect(told).toMatchObject([[{ refused: true, count: 4 }, 'a']]);
  });

  test('outlive a restart, and those that were settled stay away', async () => {
    const first = open();
    await first.evidence.take(reporterOf(), reportOf(1, { flips: [flipAt(first.now)] }));
    const flips = first.sink.batches.flatMap(({ batch }) => batch.flips);
    const { evidence, sink, timers, now } = open({ kept: { marks: [], flips, plaintext: [] } });
    expect(evidence.flips({ to: cart })).toEqual(flips);
    evidence.settle(cart);
    await settle();
    expect([evidence.flips({}), sink.batches.map(({ batch }) => batch.settled)]).toEqual([[], [[cart]]]);
    await timers.advance(60_000);
    // Seen before the target was another one, and reported late.
    await evidence.take(reporterOf(), reportOf(2, { flips: [flipAt(now - 1)] }));
    await evidence.take(reporterOf(), reportOf(3, { flips: [flipAt(now + 1)] }));
    expect(evidence.flips({})).toMatchObject([{ count: 1, firstSeen: now + 1 }]);
  });

  test('settled while their report is on its way to the disk are gone, in memory and in the store', async () => {
    const { sink, evidence, now } = open();
    const hang = Promise.withResolvers<void>();
    sink.hang = hang.promise;
    const taken = evidence.take(reporterOf(), reportOf(1, { flips: [flipAt(now)] }));
    await settle();
    evidence.settle(cart);
    hang.resolve();
    await taken;
    await settle();
    expect(evidence.flips({})).toEqual([]);
    expect(sink.batches.map(({ batch }) => [batch.flips.length, batch.settled])).toEqual([
      [1, []],
      [0, [cart]],
    ]);
  });

  test('of ever new paths and addresses fill a bounded part, and those of others stay', async () => {
    const { evidence, sink, now } = open();
    await evidence.take(
      reporterOf('x', { workloads: [web] }),
      reportOf(1, { flips: [flipAt(now - 9, { to: web })] }),
    );
    for (let report = 1; report <= 10; report++) {
      const flips = Array.from({ length: 1000 }, (_, i) =>
        flipAt(now, {
          from: { address: `10.${report}.${i >> 8}.${i & 255}` },
          action: { kind: 'http', port: 80, name: `M${i}`, text: `/${report}/${i}` },
        }),
      );
      await evidence.take(reporterOf(), reportOf(report, { flips }));
    }
    const ofCart = evidence.flips({ to: cart });
    expect(ofCart.length).toBeLessThanOrEqual(2000);
    expect(ofCart.reduce((sum, { count }) => sum + count, 0)).toBe(10_000);
    expect(evidence.flips({ to: web })).toHaveLength(1);
    expect(sink.batches.reduce((sum, { batch }) => sum + batch.flips.length, 0)).toBeLessThan(2100);
  });
});

describe('nonsense', () => {
  test('is left out entry by entry, counted, and never spoils what is right', async () => {
    const { sink, evidence, now } = open();
    const accesses = [
      accessAt(now),
      accessAt(now, { to: 'http://cart' }),
      accessAt(now, { action: { kind: 'postgres', port: 5432 } }),
      accessAt(now, { action: { kind: 'tcp', port: 70_000 } }),
      accessAt(now, { action: { kind: 'http', port: 80, name: 'G T', text: '/' } }),
      accessAt(now, { action: { kind: 'http', port: 80, name: 'GET', text: 'x'.repeat(9000) } }),
      accessAt(now, { action: { kind: 'http', port: 80, name: 'GET', text: 'no-slash' } }),
      accessAt(now, { ok: 0n }),
      accessAt(now, { ok: 2n ** 60n }),
      accessAt(now, { firstSeen: BigInt(now), lastSeen: BigInt(now - 1) }),
    ];
    const flips = [
      flipAt(now),
      flipAt(now, { before: { allowed: true, decidedBy: 'whim' } }),
      flipAt(now, { count: 0n }),
    ];
    await evidence.take(reporterOf(), reportOf(1, { accesses, flips, lost: 2n ** 62n }));
    expect(sink.calls).toBe(1);
    // Seven of one call, one of too many, and what the report itself says is lost.
    expect(sink.lost).toBe(7 + 1_000_000_000 + 1_000_000_000);
    expect(evidence.flips({})).toHaveLength(1);
    const skips = sink.batches.flatMap(({ tallies }) => tallies.flatMap((tally) => [...tally.skips()]));
    expect(skips.reduce((sum, { count }) => sum + count, 0)).toBe(11);
  });

  test('about time: a clock ahead is taken for now; the far future and the far past are lost, and cover no hour', async () => {
    const { sink, evidence, now } = open();
    const day = 86_400_000;
    const accesses = [now + 60_000, now + 3_600_000, now + 365 * day, now - 8 * day, 0, -1].map((at) =>
      accessAt(at),
    );
    await evidence.take(reporterOf(), reportOf(1, { accesses, flips: [flipAt(now + day)] }));
    const [tally] = sink.batches[0]?.tallies ?? [];
    expect([tally?.accepted, tally?.firstSeen, tally?.lastSeen, sink.lost]).toEqual([1, now, now, 5]);
    expect(evidence.flips({})).toEqual([]);
  });

  test('about an address is an unknown caller', async () => {
    const { sink, evidence, now } = open();
    const froms = ['10.0.0.1', 'fd00::1', '../../etc', '', 'x'.repeat(5000)].map((address) => ({ address }));
    await evidence.take(
      reporterOf(),
      reportOf(1, { accesses: froms.map((from) => accessAt(now, { from })) }),
    );
    const callers = sink.batches.flatMap(({ tallies }) =>
      tallies.flatMap((tally) => [...tally.accesses()].map(({ from }) => from)),
    );
    expect(callers).toEqual([{ ip: '10.0.0.1' }, { ip: 'fd00::1' }, { entity: 'unknown' }]);
  });

  test('of ever new paths is collapsed, in memory and in the store, and no call is lost', async () => {
    const known = new AccessBook();
    const { sink, evidence, now } = open({ known });
    const [REPORTS, PATHS] = [20, 5000];
    for (let report = 0; report < REPORTS; report++) {
      const accesses = Array.from({ length: PATHS }, (_, i) =>
        accessAt(now, {
          action: { kind: 'http', port: 80, name: 'GET', text: `/w${report}x/${'abcdefghij'[i % 10]}${i}` },
        }),
      );
      await evidence.take(reporterOf(), reportOf(report + 1, { accesses }));
    }
    const written = sink.batches.flatMap(({ tallies }) => tallies.map((tally) => tally.accessCount));
    expect(sink.calls).toBe(REPORTS * PATHS);
    expect(written.slice(0, 2)).toEqual([PATHS, PATHS]);
    expect(written.slice(2).every((count) => count < 20)).toBe(true);
  });
});
