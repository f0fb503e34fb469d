import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import type { Timers } from '../timers.ts';
import { HOUR, WHO } from '../testing.test-helper.ts';
import type { Domain } from './domain.ts';
import { initialise } from './initialise.ts';
import { setUp } from './set-up.ts';

const DOMAIN: Domain = {
  trustDomain: 'example.org',
  algorithm: 'ec-p256',
  authorityTtl: 24 * HOUR,
  root: 'offline',
};
const timers = new ManualTimers(Date.now());

let dir: string;
let state: string;
/** Where the root goes: two directories that are not there yet. */
let media: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-set-up-'));
  [state, media] = [join(dir, 'state'), join(dir, 'media', 'root')];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const make = (domain: Domain = DOMAIN, clock: Timers = timers) =>
  setUp({
    state,
    domain,
    who: WHO,
    timers: clock,
    offlineRoot: domain.root === 'offline' ? { dir: media, ttl: 48 * HOUR } : undefined,
  });

test('an authority under an offline root is set up once', async () => {
  const slot = await make();
  expect(slot).toMatchObject({ state: 'active', name: 'default' });
  expect(slot.root.notAfter).toBeGreaterThan(timers.now() + 47 * HOUR);
  expect(readdirSync(media).toSorted()).toEqual(['keys', 'root.pem']);
  await expect(make()).rejects.toMatchObject({ code: 'conflict', subject: state });
});

test('where the state holds an authority no root is made', async () => {
  await make({ ...DOMAIN, root: 'self' });
  await expect(make()).rejects.toMatchObject({ code: 'conflict', subject: state });
  expect(existsSync(join(dir, 'media'))).toBe(false);
});

test('where there is a root the state stays untouched', async () => {
  mkdirSync(media, { recursive: true });
  writeFileSync(join(media, 'root.pem'), 'a root');
  await expect(make()).rejects.toMatchObject({ code: 'conflict', subject: media });
  expect(existsSync(state)).toBe(false);
});

test('what fails before the root is written leaves none, and what was there before; done again it is whole', async () => {
  mkdirSync(media, { recursive: true, mode: 0o700 });
  writeFileSync(join(media, 'label'), 'mine');
  await initialise(state, DOMAIN, WHO, timers);
  // Keys that others may read are refused.
  mkdirSync(join(state, 'keys'), { mode: 0o755 });
  await expect(make()).rejects.toMatchObject({ code: 'state' });
  expect(readdirSync(media)).toEqual(['label']);
  rmSync(join(state, 'keys'), { recursive: true });
  expect((await make()).state).toBe('active');
});

test('what fails once the root was written leaves none either', async () => {
  const failing = {
    after: () => () => {},
    random: () => 0,
    now() {
      if (existsSync(join(media, 'root.pem'))) throw new Error('no clock any more');
      return timers.now();
    },
  };
  await expect(make(DOMAIN, failing)).rejects.toThrow('no clock any more');
  expect(existsSync(join(dir, 'media'))).toBe(false);
  expect((await make()).state).toBe('active');
});

test('a directory that cannot be written to is named, and the state stays free', async () => {
  writeFileSync(join(dir, 'media'), 'a file');
  await expect(make()).rejects.toMatchObject({ code: 'io', subject: media });
  expect(existsSync(state)).toBe(false);
});

test('a trust domain that was begun is not turned into another one', async () => {
  await initialise(state, DOMAIN, WHO, timers);
  await expect(make({ ...DOMAIN, trustDomain: 'other.example' })).rejects.toMatchObject({ code: 'conflict' });
});
