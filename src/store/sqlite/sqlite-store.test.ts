import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { HOUR_MS, Tally } from '../../access/index.ts';
import { describeStore, recordingOf, tallyOf } from '../contract.ts';
import { openSqliteStore, STATE_FILE } from './open.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-store-'));
chmodSync(root, 0o755);
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;
const newDir = () => join(root, String(++made));

describeStore('the SQLite store', async () => {
  const dir = newDir();
  return {
    store: openSqliteStore(dir, { create: true }),
    reopen: async () => openSqliteStore(dir),
  };
});

/** A tally of `n` accesses with a day of counters each. */
function bigTally(n: number): Tally {
  const tally = new Tally('envoy');
  for (let i = 0; i < n; i++) {
    const counter = tally.access(
      { namespace: 'a', workload: `w${i % 50}` },
      { namespace: 'b', workload: `w${i % 31}` },
      { kind: 'http', port: 80, method: 'GET', path: `/items/${i}` },
      'callee',
    );
    for (let hour = 0; hour < 24; hour++) counter.add(hour * HOUR_MS, 'ok', `pod-${i % 40}`);
  }
  return tally;
}

const storeModule = JSON.stringify(fileURLToPath(new URL('../index.ts', import.meta.url)));
const accessModule = JSON.stringify(fileURLToPath(new URL('../../access/index.ts', import.meta.url)));

/** Begins to add a big recording, says so half-way, and then waits for ever inside the transaction. */
const DIES_WHILE_WRITING = `
  import { writeSync } from 'node:fs';
  import { Tally } from ${accessModule};
  import { openSqliteStore } from ${storeModule};
  const tally = (n) => {
    const tally = new Tally('envoy');
    for (let i = 0; i < n; i++) tally.access({ ip: '10.0.0.1' }, { ip: '10.0.0.2' }, { kind: 'tcp', port: i }, 'callee').add(0, 'ok');
    return tally;
  };
  const recording = (name) => ({ format: 'envoy', files: [{ name, digest: name, bytes: 1 }], takenAt: 0 });
  const store = openSqliteStore(process.argv[1], { create: true });
  await store.addRecording(recording('before.log'), tally(1));
  const big = tally(50_000);
  big.blindSpots = () => {
    writeSync(1, 'half-way');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  };
  await store.addRecording(recording('big.log'), big);
`;

/** Opens the state and prints what it failed with. */
const OPENS_AND_TELLS = `
  import { openSqliteStore } from ${storeModule};
  try {
    openSqliteStore(process.argv[1], { create: true });
    console.log('{}');
  } catch ({ code, message }) {
    console.log(JSON.stringify({ code, message }));
  }
`;

/** Runs a program in another process until it prints something; how that ends is the caller's. */
async function startChild(program: string, dir: string, options: { uid?: number } = {}) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...options,
  });
  const closed = once(child, 'close');
  const [said] = await Promise.race([once(child.stdout, 'data'), closed]);
  return { child, closed, said: String(said) };
}

describe('the SQLite state', () => {
  test('is readable by its owner alone', async () => {
    const dir = newDir();
    const store = openSqliteStore(dir, { create: true });
    await store.addRecording(recordingOf('x'), tallyOf(1));
    expect(statSync(dir).mode & 0o777).toBe(0o700);
    for (const suffix of ['', '-wal', '-shm']) {
      expect(statSync(join(dir, STATE_FILE + suffix)).mode & 0o777).toBe(0o600);
    }
    await store.close();
  });

  test('that is not there is named, and not made by reading it', () => {
    expect(() => openSqliteStore(newDir())).toThrow(
      expect.objectContaining({ code: 'not_found', message: expect.stringContaining('interlock observe') }),
    );
  });

  test('from a newer version is refused, and left as it is', async () => {
    const dir = newDir();
    await openSqliteStore(dir, { create: true }).close();
    const db = new DatabaseSync(join(dir, STATE_FILE));
    db.exec('PRAGMA user_version = 99');
    db.close();
    expect(() => openSqliteStore(dir)).toThrow(
      expect.objectContaining({ code: 'state', message: expect.stringContaining('newer interlock') }),
    );
  });

  test('that is not a database, or not ours, is called damaged', () => {
    const text = newDir();
    mkdirSync(text);
    writeFileSync(join(text, STATE_FILE), 'not a database, but long enough to be taken for one'.repeat(40));
    const foreign = newDir();
    mkdirSync(foreign);
    const db = new DatabaseSync(join(foreign, STATE_FILE));
    db.exec('CREATE TABLE theirs (x)');
    db.close();
    for (const dir of [text, foreign]) {
      expect(() => openSqliteStore(dir, { create: true })).toThrow(
        expect.objectContaining({ code: 'state', message: expect.stringContaining('damaged') }),
      );
    }
  });

  test('with a row that refers to nothing is called damaged', async () => {
    const dir = newDir();
    const store = openSqliteStore(dir, { create: true });
    await store.addRecording(recordingOf('x'), tallyOf(1));
    const db = new DatabaseSync(join(dir, STATE_FILE));
    db.exec('DELETE FROM endpoint');
    await expect(store.accesses()).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('damaged'),
    });
    expect(await store.recordings()).toHaveLength(1);
    db.close();
    await store.close();
  });

  test('held by another process says so, and can be read meanwhile', async () => {
    const dir = newDir();
    const store = openSqliteStore(dir, { create: true, lockWait: 1 });
    const other = new DatabaseSync(join(dir, STATE_FILE));
    other.exec('BEGIN IMMEDIATE');
    await expect(store.addRecording(recordingOf('x'), tallyOf(1))).rejects.toMatchObject({
      code: 'state',
      message: expect.stringContaining('another interlock command'),
    });
    expect(await store.accesses()).toEqual([]);
    other.exec('COMMIT');
    other.close();
    expect(await store.addRecording(recordingOf('x'), tallyOf(1))).toBe(true);
    await store.close();
  });

  test('on a full disk takes nothing in, says so, and goes on working', async () => {
    const dir = newDir();
    const store = openSqliteStore(dir, { create: true, maxPages: 64 });
    await store.addRecording(recordingOf('small'), tallyOf(1));
    await expect(store.addRecording(recordingOf('big'), bigTally(5000))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining('no space is left'),
    });
    expect(await store.accesses()).toHaveLength(1);
    expect(await store.addRecording(recordingOf('small'), tallyOf(1, 0, '/second'))).toBe(true);
    expect(await store.accesses()).toHaveLength(2);
    await store.close();
  });

  test('holds nothing of a recording whose process was killed while it was taken in', async () => {
    const dir = newDir();
    const { child, closed, said } = await startChild(DIES_WHILE_WRITING, dir);
    expect(said).toBe('half-way');
    child.kill('SIGKILL');
    await closed;
    const store = openSqliteStore(dir);
    expect((await store.recordings()).map((recording) => recording.files[0]?.name)).toEqual(['before.log']);
    expect(await store.accesses()).toHaveLength(1);
    expect(await store.addRecording(recordingOf('after'), bigTally(100))).toBe(true);
    await store.close();
  });

  test('in a directory that may not be written is an error that says so', async () => {
    const dir = newDir();
    mkdirSync(dir, { mode: 0o555 });
    const uid = process.getuid?.() === 0 ? { uid: 65534 } : {};
    const { said, closed } = await startChild(OPENS_AND_TELLS, dir, uid);
    await closed;
    expect(JSON.parse(said)).toEqual({
      code: 'io',
      message: `the state in ${dir} cannot be opened (EACCES): choose another directory with --state, or mend its permissions`,
    });
  });
});
