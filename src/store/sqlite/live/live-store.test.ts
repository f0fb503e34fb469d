import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, expect, test } from 'vitest';
import { parseSpiffeId, Tally } from '../../../access/index.ts';
import { batchOf, flipOf, markOf, plaintextOf, recordingOf, tallyOf } from '../../contract.ts';
import { openSqliteStore, STATE_FILE } from '../open.ts';
import { openLiveStore } from './live-store.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-live-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let made = 0;
const newDir = () => join(root, String(++made));
const trustDomain = 'example.org';
const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');

function ofCart(path: string, outcome: 'ok' | 'denied' = 'ok'): Tally {
  const tally = new Tally('proxy');
  tally
    .access({ spiffeId: web }, { spiffeId: cart }, { kind: 'http', port: 80, method: 'GET', path }, 'callee')
    .add(1e12, outcome);
  return tally;
}

test('makes the state where there is none, and commands read it while it is open', async () => {
  const dir = newDir();
  const live = await openLiveStore(dir, { trustDomain: 'prod.example' });
  expect([live.kept, live.seen]).toEqual([{ marks: [], flips: [], plaintext: [] }, []]);
  expect(await live.addLive(batchOf({ marks: [markOf(1)] }), [tallyOf(3)])).toEqual([]);
  const reader = openSqliteStore(dir);
  expect(await reader.accesses()).toHaveLength(1);
  expect(await reader.setting('trust-domain')).toBe('prod.example');
  // An `interlock observe` beside it writes, too.
  expect(await reader.addRecording(recordingOf('one.log'), tallyOf(2))).toBe(true);
  expect(await live.addLive(batchOf({ marks: [markOf(2)] }), [tallyOf(1)])).toEqual([]);
  await reader.close();
  await live.close();
});

test('gives what was kept and seen to the one who opens it next', async () => {
  const dir = newDir();
  const first = await openLiveStore(dir, { trustDomain });
  const batch = batchOf({ marks: [markOf(4)], flips: [flipOf(2)], plaintext: [plaintextOf(1)] });
  await first.addLive(batch, [ofCart('/a'), ofCart('/b', 'denied')]);
  expect(await first.addLive(batch, [ofCart('/a')])).toEqual([markOf(4)]);
  await first.close();
  const second = await openLiveStore(dir, { trustDomain });
  expect(second.kept).toEqual({ marks: [markOf(4)], flips: [flipOf(2)], plaintext: [plaintextOf(1)] });
  expect(second.seen).toEqual([
    { to: cart, from: web, good: ['http 80 GET /a'], others: ['http 80 GET /b'] },
  ]);
  await second.close();
});

test('an error changes nothing, is named, and the next batch is taken', async () => {
  const dir = newDir();
  const live = await openLiveStore(dir, { trustDomain, maxPages: 64, lockWait: 1 });
  const big = new Tally('proxy');
  for (let i = 0; i < 5000; i++)
    big
      .access({ spiffeId: web }, { spiffeId: cart }, { kind: 'tcp', port: i }, 'callee')
      .add(1e12, 'ok', `i${i}`);
  const batch = batchOf({ marks: [markOf(1)], flips: [flipOf(1)] });
  await expect(live.addLive(batch, [big])).rejects.toMatchObject({
    code: 'io',
    message: expect.stringContaining('no space'),
  });
  const other = new DatabaseSync(join(dir, STATE_FILE));
  other.exec('BEGIN IMMEDIATE');
  await expect(live.addLive(batch, [])).rejects.toMatchObject({ code: 'state' });
  other.exec('ROLLBACK');
  other.close();
  expect(await live.addLive(batch, [tallyOf(1)])).toEqual([]);
  await live.close();
});

test('fails with the reason where the state cannot be used', async () => {
  const dir = newDir();
  const store = openSqliteStore(dir, { create: true });
  await store.close();
  const db = new DatabaseSync(join(dir, STATE_FILE));
  db.exec('PRAGMA user_version = 99');
  db.close();
  await expect(openLiveStore(dir, { trustDomain })).rejects.toMatchObject({
    code: 'state',
    message: expect.stringContaining('newer interlock'),
  });
});

test('what is asked of one that was closed is refused, and nothing waits for ever', async () => {
  const live = await openLiveStore(newDir(), { trustDomain });
  const last = live.addLive(batchOf({ marks: [markOf(1)] }), [tallyOf(1)]);
  await live.close();
  expect(await last).toEqual([]);
  await expect(live.addLive(batchOf(), [])).rejects.toMatchObject({ code: 'unavailable' });
});
