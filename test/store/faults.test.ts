import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { callsThatReached } from '../../src/access/index.ts';
import { batchOf, flipOf, markOf, tallyOf } from '../../src/store/contract.ts';
import { commitsOf, svidOf } from '../../src/store/identity-contract.test-helper.ts';
import { databaseOf } from '../../src/store/postgres/raw.test-helper.ts';
import {
  hasPostgres,
  newPostgresUrl,
  type OwnServer,
  startServer,
} from '../../src/store/postgres/server.test-helper.ts';
import { closeAfterEach, openStores } from '../../src/store/postgres/stores.test-helper.ts';
import { type Link, Wire } from './wire.ts';

const entry = (what: string) => ({ at: 1, who: 'system', act: 'test', what, details: null });
const put = (name: string) => ({ change: 'put', kind: 'rule', name, data: 1 }) as const;

const wires = new Set<Wire>();
const servers = new Set<OwnServer>();
closeAfterEach();
afterEach(async () => {
  for (const wire of wires) wire.close();
  for (const server of servers) await server.stop();
  wires.clear();
  servers.clear();
});

async function ownServer(): Promise<OwnServer> {
  const server = await startServer();
  servers.add(server);
  return server;
}

/** A replica that reaches the database through a wire, and one beside it that does not need the wire. */
async function throughWire(options: Parameters<typeof openStores>[1] = {}) {
  const url = await newPostgresUrl();
  const dir = new URL(url).searchParams.get('host') ?? '';
  const wire = await Wire.to(dir);
  wires.add(wire);
  const other = await openStores(url);
  const wired = url.replace('@localhost/', `@127.0.0.1:${wire.port}/`).replace(`host=${dir}&`, '');
  return { wire, other, url, stores: await openStores(wired, options) };
}

const isCommit = (bytes: Buffer) => bytes.includes('Q\0\0\0\x0bcommit\0');

describe.skipIf(!hasPostgres)('a database that fails', () => {
  test.each(['SIGKILL', 'SIGQUIT'] as const)(
    'with %s under a stream of commits: what was promised is there once, and the chain is whole',
    async (signal) => {
      const server = await ownServer();
      const url = server.url();
      const replicas = [await openStores(url), await openStores(url)];
      const heard = replicas.map(({ identity }) => commitsOf(identity));
      await Promise.all(heard.map(({ watching }) => watching));
      const outcomes = new Map<string, 'done' | 'nothing' | 'unknown'>();
      const until = { enough: false };
      const streams = replicas.flatMap(({ identity }, replica) =>
        Array.from({ length: 8 }, async (_, stream) => {
          for (let i = 0; !until.enough; i++) {
            const name = `${replica}/${stream}/${i}`;
            await identity.commit([put(name)], entry(name)).then(
              () => outcomes.set(name, 'done'),
              (error: Error) =>
                outcomes.set(name, error.message.includes('not known') ? 'unknown' : 'nothing'),
            );
          }
        }),
      );
      for (let round = 0; round < 3; round++) {
        const before = outcomes.size;
        while (outcomes.size < before + 40) await new Promise((resolve) => setImmediate(resolve));
        await server.kill(signal);
        await server.start();
      }
      until.enough = true;
      await Promise.all(streams);
      const [{ identity }] = replicas as [(typeof replicas)[number]];
      expect(await identity.verifyAudit()).toBeUndefined();
      const log: string[] = [];
      for (let page = await identity.audit(1, 1000); page.length > 0; )
        page = await identity.audit(log.push(...page.map(({ what }) => what)) + 1, 1000);
      expect(new Set(log).size).toBe(log.length);
      const kept = new Set(log);
      for (const [name, outcome] of outcomes) {
        if (outcome === 'done') expect(kept.has(name), name).toBe(true);
        if (outcome === 'nothing') expect(kept.has(name), name).toBe(false);
      }
      expect([...outcomes.values()].filter((each) => each === 'done').length).toBeGreaterThan(100);
      // Both replicas heard of all of them, in the order of the log, and of each once.
      for (const each of heard) {
        const told = (await each.until(log.length)).map(({ touched }) => touched[0]?.name);
        expect(told).toEqual(log);
      }
    },
  );

  test('that is gone is said to be unavailable; when it is back, everything goes on', async () => {
    const server = await ownServer();
    const stores = await openStores(server.url(), { patience: 200 });
    const live = await stores.live({ trustDomain: 'example.org' });
    const heard = commitsOf(stores.identity);
    await heard.watching;
    await server.kill('SIGQUIT');
    const unavailable = {
      code: 'unavailable',
      message: expect.stringContaining('does not answer'),
    };
    const batch = batchOf({ marks: [markOf(1)], flips: [flipOf(1)] });
    await expect(stores.identity.commit([put('a')], entry('a'))).rejects.toMatchObject(unavailable);
    await expect(stores.identity.documents('rule')).rejects.toMatchObject(unavailable);
    await expect(stores.identity.takeJoinToken('x')).rejects.toMatchObject(unavailable);
    await expect(stores.evidence.accesses()).rejects.toMatchObject(unavailable);
    await expect(live.addLive(batch, [tallyOf(1)])).rejects.toMatchObject(unavailable);
    await expect(stores.identity.watch(() => {})).rejects.toMatchObject(unavailable);
    await server.start();
    await stores.identity.commit([put('b')], entry('b'));
    expect(await live.addLive(batch, [tallyOf(1)])).toEqual([]);
    expect((await stores.identity.audit(1, 9)).map(({ what }) => what)).toEqual(['b']);
    expect(await heard.until(1)).toMatchObject([{ seq: 1, own: true, touched: [{ name: 'b' }, {}] }]);
  });

  test('whose start takes a moment is waited for', async () => {
    const server = await ownServer();
    const stores = await openStores(server.url(), { patience: 60_000 });
    await server.kill('SIGQUIT');
    const waiting = stores.identity.commit([put('a')], entry('a'));
    await server.start();
    await waiting;
    expect(await stores.identity.audit(1, 9)).toHaveLength(1);
  });

  test('that says it is full changes nothing, and is said to be full', async () => {
    const url = await newPostgresUrl();
    const { identity, evidence } = await openStores(url);
    const db = await databaseOf(url);
    await db.query(`create function full_disk() returns trigger language plpgsql as
      $$ begin raise exception 'could not extend file: No space left on device' using errcode = '53100'; end $$;
      create trigger full_disk before insert on audit for each row execute function full_disk();
      create trigger full_disk before insert on live_sighting for each row execute function full_disk()`);
    const full = { code: 'io', message: expect.stringContaining('no space') };
    await expect(
      identity.commit([{ change: 'issue', svid: svidOf('01') }], entry('x')),
    ).rejects.toMatchObject(full);
    const batch = batchOf({ marks: [markOf(1)], flips: [flipOf(1)] });
    await expect(evidence.addLive(batch, [tallyOf(1)])).rejects.toMatchObject(full);
    expect(await identity.issued({})).toEqual([]);
    expect(await evidence.accesses()).toEqual([]);
    await db.query('drop trigger full_disk on audit; drop trigger full_disk on live_sighting');
    await db.end();
    await identity.commit([{ change: 'issue', svid: svidOf('01') }], entry('x'));
    expect(await evidence.addLive(batch, [tallyOf(1)])).toEqual([]);
    expect(await identity.verifyAudit()).toBeUndefined();
  });
});

describe.skipIf(!hasPostgres)('a connection that fails', () => {
  test('in front of the answer to a commit: it was made, and is not made again', async () => {
    const { wire, stores } = await throughWire();
    let cuts = 0;
    wire.watch((bytes, link) => {
      if (cuts >= 2 || !isCommit(bytes)) return 'pass';
      cuts++;
      // The database gets it; nobody hears the answer.
      link.server.write(bytes);
      link.server.removeAllListeners('data').resume();
      link.server.once('data', () => link.client.destroy());
      link.held.push(Buffer.alloc(0));
      return 'hold';
    });
    await stores.identity.commit([put('a')], entry('a'));
    expect(await stores.evidence.addLive(batchOf({ flips: [flipOf(1)] }), [tallyOf(3)])).toEqual([]);
    expect(cuts).toBe(2);
    expect((await stores.identity.audit(1, 9)).map(({ what }) => what)).toEqual(['a']);
    expect(await stores.identity.documents('rule')).toMatchObject([{ name: 'a', version: 1 }]);
    expect((await stores.evidence.accesses()).map(({ evidence }) => callsThatReached(evidence))).toEqual([3]);
    expect((await stores.evidence.live()).flips).toMatchObject([{ count: 1 }]);
  });

  test('with the commit still in it: it is made once, and what comes late changes nothing', async () => {
    const { wire, stores, other, url } = await throughWire();
    const held = Promise.withResolvers<Link>();
    let last: Link | undefined;
    let holds = true;
    wire.watch((bytes, link) => {
      if (!holds) return 'pass';
      // The last statement of the work; what follows on this connection is the ticket and the commit.
      if (bytes.includes('update head set')) last = link;
      else if (last === link) {
        holds = false;
        held.resolve(link);
        return 'hold';
      }
      return 'pass';
    });
    const making = stores.identity.commit([put('a')], entry('a'));
    const link = await held.promise;
    while (!isCommit(Buffer.concat(link.held))) await new Promise((resolve) => setImmediate(resolve));
    link.client.destroy();
    // The program looks for what became of it, and fences it off, while the database still waits for the commit.
    const db = await databaseOf(url);
    let fenced: unknown[] = [];
    while (fenced.length === 0) fenced = (await db.query('select from writer where ticket = 2')).rows;
    await db.end();
    link.server.write(Buffer.concat(link.held));
    await making;
    expect((await other.identity.audit(1, 9)).map(({ what }) => what)).toEqual(['a']);
    expect(await other.identity.documents('rule')).toMatchObject([{ name: 'a', version: 1 }]);
  });

  test('is made anew, and who watches hears what others committed meanwhile, once and in order', async () => {
    const { wire, stores, other } = await throughWire();
    const heard = commitsOf(stores.identity);
    await heard.watching;
    const names: string[] = [];
    for (let round = 0; round < 4; round++) {
      wire.cut();
      for (const n of [0, 1, 2]) {
        names.push(`${round}/${n}`);
        await other.identity.commit([put(`${round}/${n}`)]);
      }
      wire.mend();
      const told = await heard.until(names.length);
      expect(told.map(({ touched, own }) => [touched[0]?.name, own])).toEqual(
        names.map((name) => [name, false]),
      );
    }
    expect(heard.told.map(({ seq }) => seq)).toEqual(names.map((_, i) => i + 1));
  });

  test('without a word to anybody is found out, also by who only listens', async () => {
    const { wire, stores, other } = await throughWire({
      statementTimeout: 400,
      patience: 300,
      heartbeat: 200,
    });
    const heard = commitsOf(stores.identity);
    await heard.watching;
    await stores.identity.commit([put('a')]);
    await heard.until(1);
    wire.freeze();
    await expect(stores.identity.commit([put('b')])).rejects.toMatchObject({ code: 'unavailable' });
    await other.identity.commit([put('c')]);
    wire.mend();
    expect((await heard.until(2))[1]).toMatchObject({ own: false, touched: [{ name: 'c' }] });
    await stores.identity.commit([put('d')]);
    expect((await other.identity.documents('rule')).map(({ name }) => name)).toEqual(['a', 'c', 'd']);
  });
});

const storeModule = JSON.stringify(fileURLToPath(new URL('../../src/store/index.ts', import.meta.url)));
/** A replica that commits without end, and says each one that it was promised. */
const COMMITS = `
  import { writeSync } from 'node:fs';
  import { openPostgresStores } from ${storeModule};
  const { identity } = await openPostgresStores(process.argv[1]);
  for (let i = 0; ; i++) {
    await identity.commit([], { at: 1, who: 'x', act: 'x', what: 'child ' + i, details: null });
    writeSync(1, i + '\\n');
  }
`;

describe.skipIf(!hasPostgres)('a replica', () => {
  test('that is killed while it commits stops nobody else, and what it was promised stays', async () => {
    const url = await newPostgresUrl();
    const { identity } = await openStores(url);
    const child = spawn(process.execPath, ['--input-type=module', '-e', COMMITS, url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    let said = '';
    child.stdout.on('data', (part) => (said += String(part)));
    const committing = (async () => {
      for (let i = 0; i < 40 || said.length < 100; i++) await identity.commit([], entry(`own ${i}`));
    })();
    await committing;
    child.kill('SIGKILL');
    await closed;
    await identity.commit([], entry('last'));
    const log = (await identity.audit(1, 10_000)).map(({ what }) => what);
    expect(await identity.verifyAudit()).toBeUndefined();
    expect(log.at(-1)).toBe('last');
    const promised = said.split('\n').slice(0, -1);
    expect(promised.length).toBeGreaterThan(10);
    for (const n of promised) expect(log.filter((what) => what === `child ${n}`)).toHaveLength(1);
  });

  test("keeps nothing by the database's time: leases on the board go by it, and whoever asks for it is told", () => {
    const folder = fileURLToPath(new URL('../../src/store/postgres', import.meta.url));
    const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('.ts') && !name.includes('test'),
    );
    expect(files.length).toBeGreaterThan(10);
    for (const file of files.filter((name) => name !== 'board.ts' && name !== 'open.ts'))
      expect(readFileSync(join(folder, file), 'utf8'), file).not.toMatch(
        /(?<!\.)\bnow\(\)|current_(timestamp|time|date)|clock_timestamp|localtime/i,
      );
  });
});
