import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { openIdentityStore } from '../../store/index.ts';
import { type AgentHere, Replicas } from './replicas.ts';

const dir = mkdtempSync(join(tmpdir(), 'interlock-replicas-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const BEAT = 5000;

test('one that is silent counts for four beats of the others, and then the leader takes it away; its agents are waited for', async () => {
  const store = await openIdentityStore(dir, { create: true });
  const timers = new ManualTimers(1_000_000);
  const faults: unknown[] = [];
  const agent: AgentHere = { id: 'n', bundles: 3, rules: 1, revocations: 1, takesTargets: true };
  const made = (agents: readonly AgentHere[], isLeader: boolean) =>
    new Replicas({
      store,
      timers,
      agents: () => agents,
      bundles: () => 5,
      isLeader: () => isLeader,
      leadsSince: () => (isLeader ? 1 : undefined),
      onChange: () => {},
      onFault: (error) => faults.push(error),
    });
  const leader = made([], true);
  const other = made([agent], false);
  await leader.start();
  await other.start();
  // What it says is heard, and counts.
  await leader.follow();
  expect(leader.oldestBundles()).toBe(3);
  expect(other.oldestBundles()).toBe(5);
  await other.stop();
  await leader.follow();
  // It said that it goes.
  expect(leader.oldestBundles()).toBeUndefined();
  expect(leader.lostAt).toBe(1_000_000);
  // Another one dies without a word: only its document is left.
  const data = { serial: 'aa', bundles: 5, agents: [['n', 2, 1, 1, false]], at: 1, leadsSince: 0.5 };
  await store.commit([{ change: 'put', kind: 'replica', name: 'dead', data }]);
  await leader.follow();
  expect(leader.oldestBundles()).toBe(2);
  let isSilent = false;
  let beats = 0;
  while (leader.oldestBundles() !== undefined && beats < 20) {
    await timers.advance(BEAT);
    beats++;
    // A beat asks the store a few times, and what is asked here is answered behind that.
    for (let i = 0; i < 10; i++) await store.agents();
    const row = (await leader.list()).find(({ id }) => id === 'dead');
    // Said to be the leader, it is not: another one has come to lead since, and it is silent before it is gone.
    if (row !== undefined) expect([row.leads, row.isReady]).toEqual([false, false]);
    isSilent ||= row?.isSilent === true;
  }
  expect(isSilent).toBe(true);
  expect((await leader.list()).map(({ id, leads }) => [id, leads])).toEqual([[leader.id, true]]);
  expect(beats).toBeGreaterThanOrEqual(4);
  expect(beats).toBeLessThan(8);
  expect(leader.lostAt).toBeGreaterThan(1_000_000);
  expect((await store.documents('replica')).map(({ name }) => name)).toEqual([leader.id]);
  expect(faults).toEqual([]);
  await leader.stop();
  expect(await store.documents('replica')).toEqual([]);
  await store.close();
});
