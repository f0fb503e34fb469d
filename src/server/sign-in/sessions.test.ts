import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { type IdentityStore, openIdentityStore } from '../../store/index.ts';
import { Recorder } from '../identity/recorder.ts';
import { SignInLinks } from './links.ts';
import { Sessions } from './sessions.ts';
import { realTimers } from '../timers.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ALICE = { who: 'user:alice', roles: ['viewer', 'operator'], by: 'test' } as const;

let dir: string;
let store: IdentityStore;
let timers: ManualTimers;
let faults: unknown[];
const open = () =>
  Sessions.open({
    store,
    recorder: new Recorder(store, realTimers),
    timers,
    onFault: (error) => void faults.push(error),
  });
let sessions: Sessions;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-sessions-'));
  timers = new ManualTimers();
  faults = [];
  store = await openIdentityStore(dir, { create: true });
  sessions = await open();
});
afterEach(async () => {
  await sessions.close();
  await store.close();
  rmSync(dir, { recursive: true, force: true });
  expect(faults).toEqual([]);
});

test('a session that nobody uses ends after an hour, and its signal with it', async () => {
  const { secret } = await sessions.create(ALICE);
  await timers.advance(59 * MINUTE);
  const caller = sessions.callerOf(secret);
  expect(caller).toMatchObject({ who: 'user:alice', isLocal: false });
  await timers.advance(59 * MINUTE);
  expect([caller?.ended?.aborted, sessions.callerOf(secret)?.who]).toEqual([false, 'user:alice']);
  await timers.advance(61 * MINUTE);
  expect([caller?.ended?.aborted, sessions.callerOf(secret)]).toEqual([true, undefined]);
});

test('a session that is used all the time ends after twelve hours', async () => {
  const { secret } = await sessions.create(ALICE);
  for (let i = 0; i < 24; i++) {
    expect(sessions.callerOf(secret)).toBeDefined();
    await timers.advance(HOUR / 2);
  }
  expect(sessions.callerOf(secret)).toBeUndefined();
});

test('outlives the process, with its last use', async () => {
  const { secret } = await sessions.create(ALICE);
  await timers.advance(50 * MINUTE);
  sessions.callerOf(secret);
  await sessions.close();
  sessions = await open();
  await timers.advance(50 * MINUTE);
  expect(sessions.callerOf(secret)).toMatchObject({ who: 'user:alice' });
});

test('only its owner or who may end all ends it, and it does not come back with its last use', async () => {
  const { secret } = await sessions.create(ALICE);
  const [{ id } = { id: '' }] = sessions.list(undefined, undefined);
  await expect(sessions.end('user:bob', id, 'user:bob')).rejects.toMatchObject({ code: 'not_found' });
  await timers.advance(5 * MINUTE);
  sessions.callerOf(secret);
  await sessions.end('user:alice', id, 'user:alice');
  expect(sessions.callerOf(secret)).toBeUndefined();
  await sessions.close();
  sessions = await open();
  expect(sessions.callerOf(secret)).toBeUndefined();
  expect(await store.documents('session')).toEqual([]);
});

test('one person has twenty at most: the one that was not used for longest makes room', async () => {
  const first = await sessions.create(ALICE);
  await timers.advance(1);
  const second = await sessions.create(ALICE);
  for (let i = 0; i < 18; i++) await sessions.create(ALICE);
  await timers.advance(1);
  sessions.callerOf(first.secret);
  await sessions.create(ALICE);
  expect(sessions.list('user:alice', undefined)).toHaveLength(20);
  expect([sessions.callerOf(first.secret)?.who, sessions.callerOf(second.secret)]).toEqual([
    'user:alice',
    undefined,
  ]);
});

test('the store knows neither its secret nor a part of it', async () => {
  const { secret } = await sessions.create(ALICE);
  const kept = JSON.stringify([await store.documents('session'), await store.audit(1, 10)]);
  expect(kept).toContain('user:alice');
  expect(kept).not.toContain(secret.slice(0, 10));
});

test('a link is good for ten minutes', async () => {
  const links = new SignInLinks({ store, recorder: new Recorder(store, realTimers), timers });
  const { secret } = await links.make('local');
  await timers.advance(10 * MINUTE - 1);
  expect(await links.find(secret)).toBeDefined();
  await timers.advance(1);
  expect(await links.find(secret)).toBeUndefined();
  // The next one sweeps it away.
  await links.make('local');
  expect(await store.documents('sign-in-link')).toHaveLength(1);
});

test('however many links are guessed at once, the store is asked one question at a time', async () => {
  let running = 0;
  let asked = 0;
  let most = 0;
  const counting = new Proxy(store, {
    get(of, name) {
      if (name !== 'documents') return Reflect.get(of, name);
      return async (...args: Parameters<IdentityStore['documents']>) => {
        asked++;
        most = Math.max(most, ++running);
        try {
          return await of.documents(...args);
        } finally {
          running--;
        }
      };
    },
  });
  const links = new SignInLinks({ store: counting, recorder: new Recorder(store, realTimers), timers });
  const { secret } = await links.make('test');
  const guesses = Array.from({ length: 200 }, () => links.find('A'.repeat(43)));
  const right = links.find(secret);
  expect((await Promise.all(guesses)).every((found) => found === undefined)).toBe(true);
  expect((await right)?.who).toMatch(/^link:/);
  expect(most).toBe(1);
  expect(asked).toBeLessThan(5);
});
