import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { buildGraph, HOUR_MS, type SpiffeId, Tally } from '../../../access/index.ts';
import { readiness } from '../../../learning/index.ts';
import { ManualTimers } from '../../../node/manual-timers.test-helper.ts';
import { judge } from '../../../rollout/index.ts';
import { openSqliteStore, recordedOf } from '../../../store/index.ts';
import { accessAt, cart, reporterOf, reportOf, web } from './evidence.test-helper.ts';
import type { EvidenceIntake, Reporter } from './intake.ts';
import { openEvidence } from './open.ts';

const dirs: string[] = [];
const open: EvidenceIntake[] = [];
afterEach(async () => {
  for (const evidence of open.splice(0)) await evidence.close();
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

async function start() {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-readiness-'));
  dirs.push(dir);
  const timers = new ManualTimers();
  const evidence = await openEvidence({ state: dir, trustDomain: 'example.org', timers, onFault: () => {} });
  open.push(evidence);
  const first = Math.ceil(timers.now() / HOUR_MS) * HOUR_MS;
  let sequence = 0;
  /** What a command sees that reads the state. */
  const judged = async (workload: SpiffeId) => {
    const store = openSqliteStore(dir);
    const graph = buildGraph(await recordedOf(store, 'example.org'));
    await store.close();
    return readiness(graph, workload, { now: graph.coverage.lastSeen });
  };
  return {
    dir,
    first,
    judged,
    evidence,
    /** Goes to an hour after the first one. */
    goTo: (hour: number) => timers.advance(first + hour * HOUR_MS - timers.now()),
    calls: (reporter: Reporter, to: SpiffeId, n: number) =>
      evidence.take(
        reporter,
        reportOf(++sequence, { accesses: [accessAt(timers.now(), { to, ok: BigInt(n) })] }),
      ),
    loses: (reporter: Reporter, lost: number) =>
      evidence.take(reporter, reportOf(++sequence, { lost: BigInt(lost) })),
  };
}

const ofCart = reporterOf('a');
const ofWeb = reporterOf('x', { key: `${web}#x`, identity: web, workloads: [web] });
const lostGate = (facts: Parameters<typeof judge>[0]) =>
  judge(facts, 'critical').gates.find(({ gate }) => gate === 'events-lost')?.state;

describe('the readiness of a workload', () => {
  test('is not spoilt by a hostile proxy of another one, which can only spoil its own', async () => {
    const { calls, loses, judged, goTo } = await start();
    await goTo(0);
    await calls(ofCart, cart, 1000);
    await calls(ofWeb, web, 1000);
    await loses(ofWeb, 1_000_000_000);
    expect((await judged(cart)).events).toEqual({ taken: 1000, lost: 0, lostShare: 0 });
    expect(lostGate(await judged(cart))).toBe('passed');
    expect((await judged(web)).events.lost).toBe(1_000_000_000);
    expect(lostGate(await judged(web))).toBe('missing');
  });

  test('is not made to look better by what another proxy says it has served', async () => {
    const { calls, loses, judged, goTo } = await start();
    await goTo(0);
    await calls(ofCart, cart, 90);
    await loses(ofCart, 10);
    await calls(ofWeb, web, 1_000_000_000);
    expect((await judged(cart)).events).toEqual({ taken: 90, lost: 10, lostShare: 0.1 });
  });

  test('rests on all that report of it, and what a node proxy lost may have been of each that it serves', async () => {
    const { calls, loses, judged, goTo } = await start();
    const node = reporterOf('n', { key: 'node#n', workloads: [cart, web] });
    await goTo(0);
    await calls(ofCart, cart, 50);
    await calls(reporterOf('b'), cart, 40);
    await loses(reporterOf('b'), 5);
    await calls(node, web, 90);
    await loses(node, 5);
    expect((await judged(cart)).events).toMatchObject({ taken: 90, lost: 10 });
    expect((await judged(web)).events).toMatchObject({ taken: 90, lost: 5 });
  });

  test('has a calendar of hours in which a proxy of its own reported or was there, and of nobody else', async () => {
    const { calls, judged, goTo, evidence } = await start();
    await goTo(0);
    await calls(ofCart, cart, 1);
    for (let hour = 1; hour < 72; hour++) {
      await goTo(hour);
      await calls(ofWeb, web, 1);
      if (hour < 10) evidence.watched([ofCart]);
    }
    await goTo(72);
    await calls(ofCart, cart, 1);
    expect((await judged(web)).calendar.hoursOfWeek).toBe(71);
    expect((await judged(cart)).calendar).toMatchObject({ hoursOfWeek: 11 });
  });

  test('rests on the recordings that name it: another file covers nothing of it and loses nothing of it', async () => {
    const { dir, judged, first } = await start();
    const store = openSqliteStore(dir);
    const take = (name: string, callee: SpiffeId, hours: readonly number[], lost: number) => {
      const tally = new Tally('envoy');
      const action = { kind: 'tcp', port: 80 } as const;
      const counter = tally.access({ ip: '192.0.2.1' }, { spiffeId: callee }, action, 'callee');
      for (const hour of hours) {
        counter.add(first + hour * HOUR_MS, 'ok');
        tally.cover(first + hour * HOUR_MS);
        tally.accepted++;
      }
      if (lost > 0) tally.lose('ring buffer', lost);
      const files = [{ name, digest: name.padEnd(64, '0'), bytes: 1 }];
      return store.addRecording({ format: 'envoy', files, takenAt: first }, tally);
    };
    await take('1', cart, [0, 1], 1);
    await take(
      '2',
      web,
      Array.from({ length: 500 }, (_, hour) => hour),
      400,
    );
    await take('3', cart, [400], 0);
    await store.close();
    const facts = await judged(cart);
    expect(facts.events).toMatchObject({ taken: 3, lost: 1 });
    expect(facts.calendar.hoursOfWeek).toBe(3);
    expect((await judged(web)).events).toMatchObject({ taken: 500, lost: 400 });
    expect((await judged(web)).calendar.hoursOfWeek).toBe(168);
  });
});
