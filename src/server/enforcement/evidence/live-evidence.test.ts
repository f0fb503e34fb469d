import { describe, expect, test } from 'vitest';
import { HOUR_MS, InterlockError } from '../../../access/index.ts';
import { ManualTimers, settle } from '../../../node/manual-timers.test-helper.ts';
import { AccessBook } from './access-book.ts';
import { accessAt, cart, FakeSink, flipAt, reporterOf, reportOf, web } from './evidence.test-helper.ts';
import type { Reporter, SeenFlip } from './intake.ts';
import { LiveEvidence, type LiveEvidenceOptions } from './live-evidence.ts';
import { isOfTarget, newRollout, retarget } from '../../../rollout/index.ts';
import { flipKey, type WorkloadCoverage } from '../../../store/index.ts';

const by = { by: 'uid:0', now: 0 };
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

  test("of ever new instances fills a bounded memory: of what is forgotten there the store's word counts", async () => {
    const marks = Array.from({ length: 50_001 }, (_, i) => ({
      reporter: `${cart}#${i}`,
      epoch: '01',
      sequence: 1,
    }));
    const { sink, evidence, now } = open({ kept: { marks, flips: [], plaintext: [] } });
    const take = (instance: string) =>
      evidence.take(reporterOf(instance), reportOf(1, { accesses: [accessAt(now)] }));
    await take('50000');
    expect(sink.batches).toHaveLength(0);
    await take('0');
    expect(sink.batches).toHaveLength(1);
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

  test('is filled by one who reports without end to a half, and counts long texts for what they weigh', async () => {
    const { sink, evidence, timers, now } = open();
    sink.fault = full;
    const fill = (reporter: Reporter, accesses: ReturnType<typeof accessAt>[]) => {
      const kept: Promise<void>[] = [];
      const all = () => {
        for (let i = 1; i < 1000; i++) kept.push(evidence.take(reporter, reportOf(i, { accesses })));
      };
      expect(all).toThrow(expect.objectContaining({ code: 'unavailable' }));
      return kept;
    };
    const text = (i: number) => `/${i}${'x'.repeat(8000)}`;
    const long = Array.from({ length: 1000 }, (_, i) =>
      accessAt(now, { action: { kind: 'http', port: 80, name: 'GET', text: text(i) } }),
    );
    const short = Array.from({ length: 1000 }, (_, i) => accessAt(now, { action: { kind: 'tcp', port: i } }));
    // 8 MB each: a few of them, and not 150.
    const kept = fill(reporterOf(), long);
    expect(kept.length).toBeLessThan(12);
    // A stolen identity takes no more by naming another instance, and leaves the others their room.
    expect(() => evidence.take(reporterOf('b'), reportOf(1, { accesses: long }))).toThrow('reports');
    const [other] = fill(reporterOf('w', { key: `${web}#w`, identity: web }), short);
    sink.fault = undefined;
    await timers.advance(2000);
    await Promise.all([...kept, other]);
    await evidence.take(reporterOf('b'), reportOf(1, { accesses: long }));
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
    const { evidence, sink } = open({ kept: { marks: [], flips, plaintext: [] } });
    expect(evidence.flips({ to: cart })).toEqual(flips);
    evidence.settle(cart);
    await settle();
    expect([evidence.flips({}), sink.batches.map(({ batch }) => batch.settled)]).toEqual([[], [[cart]]]);
  });

  test('that an old target judged say nothing, whoever reports them and however late', async () => {
    const rollouts = new Map([[cart, retarget(newRollout(cart, [], by), [], { ...by, now: 1000 })]]);
    const isCurrent = (flip: SeenFlip) => isOfTarget(flip, rollouts.get(cart));
    const { evidence, sink, now } = open({ isCurrent });
    const told: SeenFlip[] = [];
    evidence.onFlip((flip) => told.push(flip));
    const old = rollouts.get(cart)?.targetVersion ?? 0;
    const report = (number: number, targetVersion: number, count: bigint) =>
      evidence.take(
        reporterOf(),
        reportOf(number, { flips: [flipAt(now, { targetVersion: BigInt(targetVersion), count })] }),
      );
    await report(1, old, 1n);
    expect(evidence.flips({})).toMatchObject([{ count: 1 }]);
    const next = retarget(rollouts.get(cart) ?? newRollout(cart, [], by), [], { ...by, now });
    // The rollout is kept, and nobody has been told yet.
    rollouts.set(cart, next);
    expect(evidence.flips({})).toEqual([]);
    evidence.settle(cart);
    // A proxy that has the old target still goes on, with a clock of its own.
    await report(2, old, 2n);
    await report(3, next.targetVersion ?? 0, 4n);
    // One that says no target is believed by its time.
    await evidence.take(reporterOf(), reportOf(4, { flips: [flipAt(now - 1), flipAt(now, { count: 8n })] }));
    expect(evidence.flips({}).map(({ count }) => count)).toEqual([12]);
    expect(told.map(({ count }) => count)).toEqual([1, 4, 8]);
    expect(evidence.flips({})[0]).not.toHaveProperty('targetVersion');
    expect(sink.batches.flatMap(({ batch }) => batch.flips).map(({ count }) => count)).toEqual([1, 4, 8]);
  });

  test('that were kept before the target became another one are forgotten at the start, without being told to', async () => {
    const first = open();
    const flips = [flipAt(first.now, { targetVersion: 5n }), flipAt(first.now, { targetVersion: 6n })];
    await first.evidence.take(reporterOf(), reportOf(1, { flips }));
    const kept = { marks: [], flips: first.sink.batches.flatMap(({ batch }) => batch.flips), plaintext: [] };
    const rollout = { ...newRollout(cart, [], by), targetVersion: 6 };
    const { evidence, sink } = open({ kept, isCurrent: (flip) => isOfTarget(flip, rollout) });
    expect(evidence.flips({})).toHaveLength(1);
    await settle();
    const [stale] = kept.flips;
    expect(sink.batches.map(({ batch }) => batch.forgotten)).toEqual([[stale && flipKey(stale)]]);
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
    const froms = [
      '10.0.0.1',
      'fd00::1',
      '../../etc',
      '',
      'x'.repeat(5000),
      // An address with a zone of any length is one to `isIP`: each would be another caller, kept for good.
      `fe80::1%${'a'.repeat(100_000)}`,
      `fe80::1%${'b'.repeat(100_000)}`,
    ].map((address) => ({ address }));
    await evidence.take(
      reporterOf(),
      reportOf(1, { accesses: froms.map((from) => accessAt(now, { from })) }),
    );
    const callers = sink.batches.flatMap(({ tallies }) =>
      tallies.flatMap((tally) => [...tally.accesses()].map(({ from }) => from)),
    );
    expect(callers).toEqual([{ ip: '10.0.0.1' }, { ip: 'fd00::1' }, { entity: 'unknown' }]);
  });

  test('with control characters, or with instances as long as a page, is left out and counted', async () => {
    const { sink, evidence, now } = open();
    const http = { kind: 'http', port: 80, name: 'GET', text: '/a' };
    const accesses = [
      accessAt(now),
      accessAt(now, { action: { ...http, text: '/a\n/b' } }),
      accessAt(now, { action: { ...http, name: 'GET\u001b[2J' } }),
      accessAt(now, { instance: 'pod\u001b]0;x\u0007' }),
      // Sixteen of them are kept with every access.
      accessAt(now, { instance: 'x'.repeat(2000) }),
    ];
    const rule = { allowed: false, decidedBy: 'rule', policy: 'p', rule: 'r\r\nforged line' };
    await evidence.take(reporterOf(), reportOf(1, { accesses, flips: [flipAt(now, { after: rule })] }));
    expect([sink.calls, sink.lost, evidence.flips({})]).toEqual([1, 4, []]);
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

describe('what is covered and lost', () => {
  const coverageOf = (sink: FakeSink) => {
    const sums = new Map<string, WorkloadCoverage>();
    for (const each of sink.batches.flatMap(({ batch }) => batch.coverage)) {
      const known = sums.get(each.workload) ?? { ...each, hours: [], events: 0, lost: 0 };
      const hours = [...new Set([...known.hours, ...each.hours])].toSorted((a, b) => a - b);
      sums.set(each.workload, {
        ...known,
        hours,
        events: known.events + each.events,
        lost: known.lost + each.lost,
      });
    }
    return Object.fromEntries(
      [...sums].map(([workload, { hours, events, lost }]) => [workload, [hours, events, lost]]),
    );
  };

  test('concerns the workloads that the reporter serves, and nobody else', async () => {
    const { evidence, sink, now } = open();
    const hour = Math.floor(now / HOUR_MS);
    await evidence.take(reporterOf(), reportOf(1, { accesses: [accessAt(now, { ok: 5n })] }));
    const hostile = reporterOf('x', { identity: web, key: `${web}#x`, workloads: [web] });
    await evidence.take(hostile, reportOf(1, { lost: 1_000_000n }));
    const node = reporterOf('n', { key: 'node#n', identity: web, workloads: [cart, web] });
    await evidence.take(node, reportOf(1, { lost: 2n, accesses: [accessAt(now, { to: web })] }));
    expect(coverageOf(sink)).toEqual({ [cart]: [[hour], 5, 2], [web]: [[hour], 1, 1_000_002] });
  });

  test('of an entry that nobody can believe is lost to those that its reporter serves', async () => {
    const { evidence, sink, now } = open();
    const other = reporterOf('x', { identity: web, key: `${web}#x`, workloads: [web] });
    await evidence.take(
      other,
      reportOf(1, { accesses: [accessAt(now, { to: web, ok: 7n, firstSeen: 1n })] }),
    );
    expect(coverageOf(sink)).toEqual({ [web]: [[], 0, 7] });
  });

  test('of what found no room stands with its own workload, once the store has taken it', async () => {
    const { evidence, sink, now } = open();
    sink.fault = full;
    const node = reporterOf('n', { workloads: [cart, web] });
    const many = (to: typeof cart) => ({
      ...NOTHING_REPORTED,
      lost: 1,
      accesses: Array.from({ length: 200_000 }, () => ({ ...ONE_CALL, to, firstSeen: now, lastSeen: now })),
    });
    evidence.add(node, many(cart));
    evidence.add(node, many(web));
    sink.fault = undefined;
    await evidence.close();
    const covered = coverageOf(sink);
    expect(covered[cart]?.slice(1)).toEqual([200_000, 2]);
    expect(covered[web]?.slice(1)).toEqual([0, 200_002]);
  });

  test('hours in which a proxy was there count without a call, and are kept once', async () => {
    const { evidence, sink, timers, now } = open();
    const hour = Math.floor(now / HOUR_MS);
    evidence.watched([reporterOf('a'), reporterOf('b')]);
    await settle();
    evidence.watched([reporterOf('a')]);
    await settle();
    expect(sink.batches).toHaveLength(1);
    await timers.advance(HOUR_MS);
    sink.fault = full;
    evidence.watched([reporterOf('a')]);
    await settle();
    sink.fault = undefined;
    await timers.advance(10_000);
    expect(coverageOf(sink)).toEqual({ [cart]: [[hour, hour + 1], 0, 0] });
  });
});

const NOTHING_REPORTED = { accesses: [], flips: [], plaintext: [], lost: 0, skips: new Map() };
const ONE_CALL = {
  from: { kind: 'workload', id: web },
  action: { kind: 'tcp', port: 80 },
  outcomes: { ok: 1, error: 0, failed: 0, denied: 0 },
  mutual: 1,
  plaintext: 0,
  instance: '',
} as const;
