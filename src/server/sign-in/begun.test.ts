import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { Recorder } from '../identity/recorder.ts';
import { realTimers } from '../timers.ts';
import { BEGUN_MS, BegunSignIns } from './begun.ts';

const BEGUN = { state: 's'.repeat(43), nonce: 'n'.repeat(43), verifier: 'v'.repeat(43), to: '/workloads' };

let dir: string;
let store: IdentityStore;
let timers: ManualTimers;
/** One control plane of the state. */
const open = () => BegunSignIns.open({ store, recorder: new Recorder(store, realTimers), timers });
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-begun-'));
  timers = new ManualTimers();
  store = await openIdentityStore(dir, { create: true });
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true, force: true });
});

test('a sign-in that one control plane began another one reads, also one that started at the same moment', async () => {
  const [a, b] = await Promise.all([open(), open()]);
  const cookie = a.sealed(BEGUN);
  expect(b.read(cookie)).toEqual({ ...BEGUN, until: timers.now() + BEGUN_MS });
  expect((await open()).read(cookie)).toBeDefined();
  for (const part of [BEGUN.state, BEGUN.nonce, BEGUN.verifier])
    expect(Buffer.from(cookie, 'base64').includes(part)).toBe(false);
});

test('it is good for one answer, whichever control plane takes it', async () => {
  const [a, b] = await Promise.all([open(), open()]);
  const begun = a.read(a.sealed(BEGUN));
  if (begun === undefined) throw new Error('it was just begun');
  expect((await Promise.all([a.use(begun), b.use(begun), a.use(begun)])).filter(Boolean)).toHaveLength(1);
  const other = b.read(b.sealed({ ...BEGUN, state: 't'.repeat(43) }));
  expect(other && (await a.use(other))).toBe(true);
});

test('it is over after ten minutes', async () => {
  const begun = await open();
  const cookie = begun.sealed(BEGUN);
  await timers.advance(BEGUN_MS - 1);
  expect(begun.read(cookie)).toBeDefined();
  await timers.advance(1);
  expect(begun.read(cookie)).toBeUndefined();
});

test('of another state it is nothing', async () => {
  const here = await open();
  const cookie = here.sealed(BEGUN);
  await store.commit([{ change: 'remove', kind: 'setting', name: 'sign-in-key' }]);
  expect((await open()).read(cookie)).toBeUndefined();
});

test('a key that cannot be read is a damaged state, and nothing is put in its place', async () => {
  await store.commit([{ change: 'put', kind: 'setting', name: 'sign-in-key', data: 'short' }]);
  await expect(open()).rejects.toMatchObject({ code: 'state' });
  expect((await store.documents('setting', ['sign-in-key']))[0]?.data).toBe('short');
});

test('the longest one that there can be is no longer than what a browser keeps', async () => {
  const begun = await open();
  expect(begun.read(begun.sealed({ ...BEGUN, to: `/${'x'.repeat(1999)}` }))).toBeDefined();
});
