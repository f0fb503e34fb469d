import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import type { NewAuditEntry } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import { Releases, RELEASES_FILE } from './releases.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});
function newDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-releases-'));
  dirs.push(dir);
  return dir;
}

const WHO = 'uid:0';
const everything = { scope: { kind: 'all' }, reason: 'an incident' } as const;

function open(state = newDir(), timers = new ManualTimers()) {
  const log: NewAuditEntry[] = [];
  const faults: unknown[] = [];
  const database = { fault: undefined as Error | undefined, hangs: false };
  let changes = 0;
  // What Releases uses of a recorder.
  const recorder = {
    entry: (who: string, act: string, what: string, details: NewAuditEntry['details']) => ({
      at: timers.now(),
      who,
      act,
      what,
      details,
    }),
    async record(_: readonly unknown[], entry: NewAuditEntry) {
      if (database.hangs) await new Promise(() => {});
      if (database.fault !== undefined) throw database.fault;
      log.push(entry);
    },
  } as unknown as Recorder;
  const releases = new Releases({
    state,
    recorder,
    timers,
    onChange: () => changes++,
    onFault: (error) => faults.push(error),
  });
  return { state, timers, log, faults, database, releases, changes: () => changes };
}

const ids = (releases: Releases) => releases.inForce.map(({ id }) => id);

describe('a release', () => {
  test('is in force at once, is kept for its owner alone, and is in the audit log', async () => {
    const { state, releases, log, changes } = open();
    const release = releases.press(WHO, everything);
    expect([ids(releases), changes()]).toEqual([[release.id], 1]);
    expect(statSync(join(state, RELEASES_FILE)).mode & 0o777).toBe(0o600);
    await settle();
    expect(log).toMatchObject([
      { who: WHO, act: 'release', what: 'everything', details: { id: release.id, reason: 'an incident' } },
    ]);
  });

  test('outlives a restart, until it is armed', async () => {
    const first = open();
    const a = first.releases.press(WHO, everything);
    const b = first.releases.press(WHO, { scope: { kind: 'namespace', namespace: 'shop' }, reason: 'x' });
    const second = open(first.state, first.timers);
    expect(ids(second.releases)).toEqual([a.id, b.id]);
    expect(second.releases.arm(WHO, a.id)).toMatchObject([{ id: a.id }]);
    expect(ids(open(first.state, first.timers).releases)).toEqual([b.id]);
    expect(() => second.releases.arm(WHO, a.id)).toThrow(expect.objectContaining({ code: 'not_found' }));
    expect(second.releases.arm(WHO)).toHaveLength(1);
    await settle();
    expect(second.log.map(({ act }) => act)).toEqual(['arm', 'arm']);
    expect(ids(open(first.state, first.timers).releases)).toEqual([]);
  });

  test('ends by its time, also when that came while nothing ran', async () => {
    const first = open();
    first.releases.press(WHO, { ...everything, forMs: 60_000 });
    const lasting = first.releases.press(WHO, everything);
    await first.timers.advance(59_999);
    expect(ids(first.releases)).toHaveLength(2);
    await first.timers.advance(1);
    expect([ids(first.releases), first.changes(), first.log.at(-1)?.act]).toEqual([
      [lasting.id],
      3,
      'release.end',
    ]);

    const again = open();
    again.releases.press(WHO, { ...everything, forMs: 60_000 });
    again.releases.close();
    const late = open(again.state, new ManualTimers(again.timers.now() + 3_600_000));
    expect(ids(late.releases)).toEqual([]);
    await late.timers.advance(0);
    expect(late.log).toMatchObject([{ who: 'system', act: 'release.end' }]);
  });

  test('works on a full disk, which is reported, and is written with the next change', () => {
    const { state, releases, faults, timers } = open();
    const path = join(state, RELEASES_FILE);
    // A directory in its place: a file cannot be renamed over it, whoever one is.
    mkdirSync(path);
    const release = releases.press(WHO, everything);
    expect([ids(releases), faults]).toMatchObject([[release.id], [{ code: 'io' }]]);
    rmSync(path, { recursive: true });
    const second = releases.press(WHO, everything);
    expect(ids(open(state, timers).releases)).toEqual([release.id, second.id]);
  });

  test('works while the database hangs', async () => {
    const { state, releases, database, changes, timers } = open();
    database.hangs = true;
    const release = releases.press(WHO, everything);
    await settle();
    expect([ids(releases), changes(), ids(open(state, timers).releases)]).toEqual([
      [release.id],
      1,
      [release.id],
    ]);
  });

  test('is put into the audit log when the database works again, and its fault is reported once', async () => {
    const { releases, database, timers, log, faults } = open();
    database.fault = new InterlockError('io', 'db', 'no space');
    releases.press(WHO, everything);
    await timers.advance(60_000);
    expect([log, faults]).toEqual([[], [database.fault]]);
    database.fault = undefined;
    await timers.advance(5000);
    expect(log.map(({ act }) => act)).toEqual(['release']);
    await timers.advance(60_000);
    expect(log).toHaveLength(1);
  });

  test('waits for no database when the control plane ends', async () => {
    const { releases, database, timers } = open();
    database.fault = new InterlockError('io', 'db', 'no space');
    releases.press(WHO, everything);
    await settle();
    releases.close();
    await timers.advance(5000);
    expect(timers.waiting).toBe(0);
  });

  test('is refused where there are a thousand already', () => {
    const { releases } = open();
    for (let i = 0; i < 1000; i++) releases.press(WHO, everything);
    expect(() => releases.press(WHO, everything)).toThrow(expect.objectContaining({ code: 'limit' }));
    expect(releases.arm(WHO)).toHaveLength(1000);
  });
});

test('drills are remembered over restarts, the last hundred of them, and change no verdict', () => {
  const { state, releases, timers, changes } = open();
  for (let i = 0; i < 105; i++) releases.drilled(WHO, 7, i);
  expect([releases.inForce, changes()]).toEqual([[], 0]);
  const { drills } = open(state, timers).releases;
  expect([drills.length, drills.at(-1)]).toEqual([
    100,
    { at: timers.now(), by: WHO, points: 7, confirmed: 104 },
  ]);
});

test('a damaged file is refused: nobody knows what is released', () => {
  for (const text of ['{"releases":', '{"releases":[{"id":"x"}],"drills":[]}', '[]', '']) {
    const state = newDir();
    writeFileSync(join(state, RELEASES_FILE), text);
    expect(() => open(state)).toThrow(
      expect.objectContaining({ code: 'state', message: expect.stringContaining('damaged') }),
    );
    expect(readFileSync(join(state, RELEASES_FILE), 'utf8')).toBe(text);
  }
});
