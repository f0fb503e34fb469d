import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import {
  type Change,
  type NewAuditEntry,
  type OnCommit,
  type StoredDocument,
  versionConflict,
} from '../../store/index.ts';
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

/** A database as far as releases need one: for any number of them. */
class FakeDatabase {
  readonly log: NewAuditEntry[] = [];
  readonly documents = new Map<string, StoredDocument & { readonly kind: string }>();
  readonly watchers = new Set<OnCommit>();
  #seq = 0;

  commit(changes: readonly Change[], entry?: NewAuditEntry): void {
    for (const change of changes) {
      if (change.change !== 'put' && change.change !== 'remove') throw new TypeError(change.change);
      const found = this.documents.get(`${change.kind} ${change.name}`)?.version ?? 0;
      if (change.expect !== undefined && change.expect !== found) throw versionConflict(change, found);
    }
    for (const change of changes) {
      if (change.change === 'put') {
        const { kind, name, data } = change;
        const version = 1 + (this.documents.get(`${kind} ${name}`)?.version ?? 0);
        this.documents.set(`${kind} ${name}`, { kind, name, version, data });
      } else if (change.change === 'remove') this.documents.delete(`${change.kind} ${change.name}`);
    }
    if (entry !== undefined) this.log.push(entry);
    const seq = ++this.#seq;
    for (const watcher of this.watchers)
      watcher({ seq, touched: changes.flatMap((each) => ('kind' in each ? [each] : [])), own: false });
  }
}

interface OpenOptions {
  readonly state?: string;
  readonly timers?: ManualTimers;
  readonly db?: FakeDatabase;
}

function open({ state = newDir(), timers = new ManualTimers(), db = new FakeDatabase() }: OpenOptions = {}) {
  const faults: unknown[] = [];
  const database = { fault: undefined as Error | undefined, hangs: false };
  let changes = 0;
  const answer = async () => {
    if (database.hangs) await new Promise(() => {});
    if (database.fault !== undefined) throw database.fault;
  };
  const releases = new Releases({
    state,
    store: {
      async documents(kind) {
        await answer();
        return [...db.documents.values()].filter((each) => each.kind === kind);
      },
      async watch(onCommit) {
        db.watchers.add(onCommit);
        return () => void db.watchers.delete(onCommit);
      },
    },
    recorder: {
      entry: (who, act, what, details) => ({ at: timers.now(), who, act, what, details: details ?? null }),
      async record(made, entry) {
        await answer();
        db.commit(made, entry);
      },
      async commit(made, entry) {
        await answer();
        db.commit(made, entry);
      },
    },
    timers,
    onChange: () => changes++,
    onFault: (error) => faults.push(error),
  });
  return { state, timers, db, log: db.log, faults, database, releases, changes: () => changes };
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
    const second = open(first);
    expect(ids(second.releases)).toEqual([a.id, b.id]);
    expect(second.releases.arm(WHO, a.id)).toMatchObject([{ id: a.id }]);
    expect(ids(open(first).releases)).toEqual([b.id]);
    expect(() => second.releases.arm(WHO, a.id)).toThrow(expect.objectContaining({ code: 'not_found' }));
    expect(second.releases.arm(WHO)).toHaveLength(1);
    await settle();
    expect(second.log.map(({ act }) => act)).toEqual(['release', 'release', 'arm', 'arm']);
    expect(ids(open(first).releases)).toEqual([]);
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
    const late = open({ ...again, timers: new ManualTimers(again.timers.now() + 3_600_000) });
    expect(ids(late.releases)).toEqual([]);
    await late.timers.advance(0);
    expect(late.log.at(-1)).toMatchObject({ who: 'system', act: 'release.end' });
  });

  test('works on a full disk, which is reported, and is written with the next change', () => {
    const { state, releases, faults, timers, db } = open();
    const path = join(state, RELEASES_FILE);
    // A directory in its place: a file cannot be renamed over it, whoever one is.
    mkdirSync(path);
    const release = releases.press(WHO, everything);
    expect([ids(releases), faults]).toMatchObject([[release.id], [{ code: 'io' }]]);
    rmSync(path, { recursive: true });
    const second = releases.press(WHO, everything);
    expect(ids(open({ state, timers, db }).releases)).toEqual([release.id, second.id]);
  });

  test('works while the database hangs', async () => {
    const { state, releases, database, changes, timers, db } = open();
    database.hangs = true;
    const release = releases.press(WHO, everything);
    await settle();
    expect([ids(releases), changes(), ids(open({ state, timers, db }).releases)]).toEqual([
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
  const { state, releases, timers, db, changes } = open();
  for (let i = 0; i < 105; i++) releases.drilled(WHO, 7, i);
  expect([releases.inForce, changes()]).toEqual([[], 0]);
  const { drills } = open({ state, timers, db }).releases;
  expect([drills.length, drills.at(-1)]).toEqual([
    100,
    { at: timers.now(), by: WHO, points: 7, confirmed: 104 },
  ]);
});

describe('two control planes on one database', () => {
  const settled = async (...all: ReturnType<typeof open>[]) => {
    for (let i = 0; i < 4; i++) for (const each of all) await each.timers.advance(5000);
  };

  test('release what either presses, and enforce again what either arms, whoever hears of it late', async () => {
    const [a, b] = [open(), open()];
    const second = open({ ...b, db: a.db });
    for (const each of [a, second]) await each.releases.start();
    const pressed = a.releases.press(WHO, everything);
    await settle();
    expect([ids(second.releases), second.changes()]).toEqual([[pressed.id], 1]);
    // Cut off, the second goes on releasing, over a restart; what is armed meanwhile is over for it, too.
    second.database.fault = new InterlockError('unavailable', 'db', 'away');
    a.releases.arm('uid:7', pressed.id);
    const late = second.releases.press('uid:8', everything);
    await settle();
    second.releases.close();
    const again = open({ ...second, db: a.db });
    expect(ids(again.releases)).toEqual([pressed.id, late.id]);
    await again.releases.start();
    await settle();
    expect([ids(a.releases), ids(again.releases)]).toEqual([[late.id], [late.id]]);
    expect(a.log.map(({ who, act }) => `${who} ${act}`)).toEqual([
      'uid:0 release',
      'uid:7 arm',
      'uid:8 release',
    ]);
  });

  test('come to the same whatever each does while the database is away for it, and log each act once', async () => {
    const act = fc.record({
      at: fc.integer({ min: 0, max: 1 }),
      what: fc.constantFrom('press', 'arm', 'away', 'back', 'wait'),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
        const db = new FakeDatabase();
        const both = [open({ db }), open({ db })];
        for (const each of both) await each.releases.start();
        const pressed = new Set<string>();
        const armed = new Set<string>();
        for (const { at, what } of acts) {
          const each = both[at];
          if (each === undefined) continue;
          if (what === 'press') pressed.add(each.releases.press(`uid:${at}`, everything).id);
          else if (what === 'arm') for (const { id } of each.releases.arm(`uid:${at}`)) armed.add(id);
          else if (what === 'wait') await settle();
          else
            each.database.fault = what === 'away' ? new InterlockError('unavailable', 'db', '') : undefined;
        }
        for (const each of both) each.database.fault = undefined;
        await settled(...both);
        const left = [...pressed.difference(armed)].sort();
        for (const each of both) expect(ids(each.releases).sort()).toEqual(left);
        const logged = (name: string) => db.log.filter((entry) => entry.act === name).length;
        expect([logged('release'), logged('arm')]).toEqual([pressed.size, armed.size]);
        // A control plane that has nothing of it has it all from the database.
        const third = open({ db });
        await third.releases.start();
        expect(ids(third.releases).sort()).toEqual(left);
        for (const each of [...both, third]) each.releases.close();
      }),
      { numRuns: 60 },
    );
  });

  test('take over the file of a version that knew no other control plane, and log nothing of it twice', async () => {
    const state = newDir();
    const release = { id: 'rel-1', scope: { kind: 'all' }, reason: 'x', by: WHO, at: 1 };
    const drill = { at: 2, by: WHO, points: 1, confirmed: 1 };
    writeFileSync(join(state, RELEASES_FILE), JSON.stringify({ releases: [release], drills: [drill] }));
    const { releases, db } = open({ state });
    await releases.start();
    const other = open({ db });
    await other.releases.start();
    expect([ids(other.releases), other.releases.drills, db.log]).toEqual([['rel-1'], [drill], []]);
  });
});

test('a damaged file is refused: nobody knows what is released', () => {
  for (const text of ['{"releases":', '{"releases":[{"id":"x"}],"drills":[]}', '[]', '']) {
    const state = newDir();
    writeFileSync(join(state, RELEASES_FILE), text);
    expect(() => open({ state })).toThrow(
      expect.objectContaining({ code: 'state', message: expect.stringContaining('damaged') }),
    );
    expect(readFileSync(join(state, RELEASES_FILE), 'utf8')).toBe(text);
  }
});
