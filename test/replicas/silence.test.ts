import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openPostgresStores, type PostgresStores } from '../../src/store/index.ts';
import { parseAddress } from '../../src/store/postgres/address.ts';
import { Database } from '../../src/store/postgres/database.ts';
import { hasPostgres, type OwnServer, startServer } from '../../src/store/postgres/server.test-helper.ts';
import { Wire } from './wire.test-helper.ts';

describe.skipIf(!hasPostgres)('connections on which nothing is answered any more', () => {
  let server: OwnServer;
  let wire: Wire;
  let stores: PostgresStores;

  beforeAll(async () => {
    server = await startServer(['fsync=off']);
    wire = await Wire.to(server.url());
    stores = await openPostgresStores(wire.url);
  }, 60_000);
  afterAll(async () => {
    await stores?.close();
    wire?.close();
    await server?.stop();
  }, 30_000);

  test('are given up for new ones, sooner than a statement may take; what was asked is done, and once', async () => {
    const { identity } = stores;
    const put = (name: string) =>
      identity.commit([{ change: 'put', kind: 'setting', name, data: 1 }], {
        at: 1,
        who: 'test',
        act: 'test.put',
        what: name,
        details: {},
      });
    // Several at once: as many connections as there may be.
    await Promise.all(Array.from({ length: 12 }, (_, i) => put(`before-${i}`)));
    wire.cut();
    wire.mend(false);
    await Promise.all([put('after'), identity.documents('setting'), identity.documents('rule')]);
    const [made] = await identity.documents('setting', ['after']);
    expect(made?.version).toBe(1);
    const acts = await identity.audit(1, 100);
    expect(acts.filter(({ what }) => what === 'after')).toHaveLength(1);
    expect(await identity.verifyAudit()).toBeUndefined();
  }, 120_000);

  test('are not those whose statement only takes its time', async () => {
    const database = new Database(parseAddress(wire.url), { patience: 100 });
    // Each of the looks in between finds the server at work.
    const slow = database.read((session) => session.row('select 7 from pg_sleep(8)'));
    // And another one waits for a lock.
    const isHeld = Promise.withResolvers<void>();
    const held = database.read(async (session) => {
      await session.row('select pg_advisory_lock(4711)');
      isHeld.resolve();
      await session.row('select pg_sleep(7)');
      return session.row('select pg_advisory_unlock(4711)');
    });
    await isHeld.promise;
    const waited = database.read((session) => session.row('select 8 from pg_advisory_lock(4711)'));
    expect(await Promise.all([slow, held, waited])).toEqual([[7], [true], [8]]);
    await database.close();
  }, 120_000);

  test('are told as a database that is away, while there is no other way to it', async () => {
    wire.cut();
    const { identity } = stores;
    await Promise.all(
      [
        identity.documents('setting'),
        identity.commit([{ change: 'put', kind: 'setting', name: 'never', data: 1 }]),
      ].map((asked) => expect(asked).rejects.toMatchObject({ code: 'unavailable' })),
    );
    wire.mend(true);
    expect(await identity.documents('setting', ['never'])).toEqual([]);
  }, 120_000);
});
