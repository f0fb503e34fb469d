import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { buildGraph, callsThatReached, outcomesOf, parseSpiffeId } from '../../access/index.ts';
import { batchOf, flipOf, markOf, tallyOf } from '../contract.ts';
import { recordedOf } from '../recorded.ts';
import { openSqliteStore, STATE_FILE } from './open.ts';
import { SCHEMA_VERSION } from './schema.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-migrate-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;

/** A state that the program of an earlier version wrote. */
function oldState(version = 1): string {
  const dir = join(root, String(++made));
  mkdirSync(dir);
  writeFileSync(
    join(dir, STATE_FILE),
    gunzipSync(readFileSync(new URL(`./fixtures/version-${version}.db.gz`, import.meta.url))),
  );
  return dir;
}

function versionOf(dir: string): unknown {
  const db = new DatabaseSync(join(dir, STATE_FILE));
  const row = db.prepare('PRAGMA user_version').get();
  db.close();
  return row?.['user_version'];
}

const schemaModule = JSON.stringify(fileURLToPath(new URL('./schema.ts', import.meta.url)));
/** Takes the step to version 2 as far as before its commit, says so, and waits for ever. */
const DIES_WHILE_MIGRATING = `
  import { writeSync } from 'node:fs';
  import { DatabaseSync } from 'node:sqlite';
  import { MIGRATIONS } from ${schemaModule};
  const db = new DatabaseSync(process.argv[1]);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA cache_spill = 1; PRAGMA cache_size = 1; BEGIN IMMEDIATE;' + MIGRATIONS.get(1) + 'PRAGMA user_version = 2');
  writeSync(1, 'half-way');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
`;

describe('a state of version 1', () => {
  test('keeps everything it held, and takes live evidence in', async () => {
    const dir = oldState();
    expect(versionOf(dir)).toBe(1);
    const store = openSqliteStore(dir);
    const accesses = await store.accesses();
    expect(accesses.map(({ evidence }) => callsThatReached(evidence))).toEqual([7, 8, 9, 0]);
    expect(accesses.map(({ evidence }) => outcomesOf(evidence).denied)).toEqual([0, 0, 0, 2]);
    expect(await store.recordings()).toMatchObject([
      {
        format: 'envoy',
        read: 30,
        accepted: 26,
        lost: new Map([['ring buffer', 12]]),
        files: [{ name: 'one.log' }],
      },
    ]);
    expect(await store.blindSpots()).toMatchObject([{ what: 'redis GET', count: 3 }]);
    expect(await store.facts()).toMatchObject([{ fact: 'node', name: 'n1' }]);
    expect(await store.carry('envoy')).toEqual({ open: [1] });
    expect(await store.setting('trust-domain')).toBe('example.org');
    expect(await store.live()).toEqual({ marks: [], flips: [], plaintext: [] });
    await store.addLive(batchOf({ marks: [markOf(1)], flips: [flipOf(1)] }), [tallyOf(1)]);
    await store.close();
    expect(versionOf(dir)).toBe(SCHEMA_VERSION);
    const later = openSqliteStore(dir);
    expect(await later.accesses()).toHaveLength(5);
    expect((await later.live()).marks).toEqual([markOf(1)]);
    await later.close();
  });

  test('whose migration was interrupted is as it was, and is migrated by the next one who opens it', async () => {
    const dir = oldState();
    const child = spawn(
      process.execPath,
      ['--input-type=module', '-e', DIES_WHILE_MIGRATING, join(dir, STATE_FILE)],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    const [said] = await once(child.stdout, 'data');
    expect(String(said)).toBe('half-way');
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(versionOf(dir)).toBe(1);
    const store = openSqliteStore(dir);
    await store.addLive(batchOf({ marks: [markOf(1)] }), [tallyOf(1)]);
    expect(await store.accesses()).toHaveLength(5);
    await store.close();
    expect(versionOf(dir)).toBe(SCHEMA_VERSION);
  });

  test('held by another process waits for it, and then finds the version that it made', async () => {
    const dir = oldState();
    const other = new DatabaseSync(join(dir, STATE_FILE));
    other.exec('PRAGMA journal_mode = WAL; BEGIN IMMEDIATE');
    expect(() => openSqliteStore(dir, { lockWait: 1 })).toThrow(expect.objectContaining({ code: 'state' }));
    other.exec('ROLLBACK');
    other.close();
    const [first, second] = [openSqliteStore(dir), openSqliteStore(dir)];
    expect(await second.accesses()).toHaveLength(4);
    await first.close();
    await second.close();
  });

  test.each([1, 2])('has the same tables afterwards as a new state, from version %i', async (version) => {
    const old = oldState(version);
    const fresh = join(root, String(++made));
    await openSqliteStore(old).close();
    await openSqliteStore(fresh, { create: true }).close();
    const tables = (dir: string) => {
      const copy = `${join(dir, STATE_FILE)}.copy`;
      copyFileSync(join(dir, STATE_FILE), copy);
      const db = new DatabaseSync(copy);
      const rows = db.prepare('SELECT name, sql FROM sqlite_schema ORDER BY name').all();
      db.close();
      return rows;
    };
    expect(tables(old)).toEqual(tables(fresh));
  });
});

describe('a state of version 2', () => {
  const STORE = 'spiffe://example.org/ns/shop/sa/store';

  test('whose losses nobody counted by workload holds them against every one; what comes from now on it does not', async () => {
    const dir = oldState(2);
    expect(versionOf(dir)).toBe(2);
    const store = openSqliteStore(dir);
    const before = [
      { source: 'envoy', events: 6, lost: 3 },
      { source: 'proxy', events: 4, lost: 2 },
    ];
    expect(await store.coverage()).toEqual(before);
    const { coverage } = buildGraph(await recordedOf(store, 'example.org'));
    expect([...(coverage.byWorkload?.values() ?? [])].map(({ lost }) => lost)).toEqual([5, 5, 5]);
    expect((await store.live()).flips).toMatchObject([{ to: STORE, count: 1 }]);

    // On the same day: what was counted before is not counted again.
    const counted = { workload: parseSpiffeId(STORE), source: 'proxy', hours: [5], events: 1, lost: 9 };
    await store.addLive(batchOf({ marks: [markOf(1)], coverage: [counted] }), [tallyOf(1)]);
    expect(await store.coverage()).toEqual([
      ...before,
      { source: 'proxy', events: 1, lost: 9, callees: [{ spiffeId: STORE }], others: [], hours: [5] },
    ]);
    expect(await store.recordings()).toHaveLength(3);
    await store.close();
  });
});
