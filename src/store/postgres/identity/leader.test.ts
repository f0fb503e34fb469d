import { describe, expect, test } from 'vitest';
import type { IdentityStore } from '../../identity-store.ts';
import { lockOf } from '../migrate.ts';
import { databaseOf } from '../raw.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../server.test-helper.ts';
import { closeAfterEach, openStores } from '../stores.test-helper.ts';

closeAfterEach();

/** Stands for leader, and waits for what is told. */
function standing(store: IdentityStore) {
  let wake = Promise.withResolvers<void>();
  const told: boolean[] = [];
  const stop = store.lead((isLeader) => {
    told.push(isLeader);
    wake.resolve();
    wake = Promise.withResolvers();
  });
  return {
    told,
    leads: () => told.at(-1) === true,
    stop: async () => (await stop)(),
    async until(leads: boolean) {
      while ((told.at(-1) ?? false) !== leads) await wake.promise;
    },
  };
}

/** Ends the connection that holds the leader's lock, as the death of its process does. */
async function endLeader(url: string): Promise<number> {
  const db = await databaseOf(url);
  const lock = lockOf(new URL(url).searchParams.get('schema') ?? '', 'lead');
  const { rowCount } = await db.query(
    `select pg_terminate_backend(pid, 10000) from pg_locks where locktype = 'advisory' and granted
       and (classid::bigint << 32 | objid::bigint) = $1::bigint`,
    [lock],
  );
  await db.end();
  return rowCount ?? 0;
}

describe.skipIf(!hasPostgres)('the leader of the stores of one database', () => {
  test('is one of them, and another one where its connection is ended or it stops', async () => {
    const url = await newPostgresUrl();
    const options = { heartbeat: 300 };
    const [a, b] = [await openStores(url, options), await openStores(url, options)];
    const one = standing(a.identity);
    await one.until(true);
    const two = standing(b.identity);
    for (let i = 0; i < 4; i++) {
      const leader = one.leads() ? one : two;
      const before = leader.told.length;
      expect(await endLeader(url)).toBe(1);
      // It hears of it at once; who leads next is whoever asks first.
      while (leader.told.length === before) await leader.until(false);
      expect(leader.told[before]).toBe(false);
      await Promise.race([one.until(true), two.until(true)]);
      expect([one.leads(), two.leads()].filter(Boolean)).toHaveLength(1);
    }
    const [leader, other] = one.leads() ? [one, two] : [two, one];
    await leader.stop();
    expect(leader.leads()).toBe(false);
    await other.until(true);
  });

  test('is told to all in one process who want to know', async () => {
    const { identity } = await openStores(await newPostgresUrl());
    const [one, two] = [standing(identity), standing(identity)];
    await Promise.all([one.until(true), two.until(true)]);
    await one.stop();
    expect([one.told, two.told]).toEqual([[true, false], [true]]);
  });
});
