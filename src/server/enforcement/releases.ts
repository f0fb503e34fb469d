import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import { isInForce, type Release, type ReleaseScope } from '../../rollout/index.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { DurableFile } from './durable-file.ts';
import type { Point, ReleasedHere } from './points.ts';
import { type Drill, readReleaseFile, type ReleaseEnd } from './release-documents.ts';
import { ReleaseLedger } from './release-ledger.ts';

export type { Drill } from './release-documents.ts';

/** The releases in force, in the state directory: apart from the database, because the button works without it. */
export const RELEASES_FILE = 'releases.json';
/** How often what the disk or the database did not take is tried again. */
const RETRY_MS = 5000;
/** Releases in force at one time. */
const MAX_RELEASES = 1000;

export interface ReleasesOptions {
  readonly state: string;
  readonly store: Pick<IdentityStore, 'documents' | 'watch'>;
  readonly recorder: Pick<Recorder, 'entry' | 'record' | 'commit'>;
  readonly timers: Timers;
  /** Releases have come, ended, or were armed: called at once, before anything else is written. */
  readonly onChange: () => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * The red button. What is pressed is in force before anything is written: a full disk or a database that hangs delays
 * its record, never the release. It is kept in a file of its own, and with its audit entry in the database, which is tried
 * until it takes it: from there the other control planes have it, and from them this one has theirs.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #file: DurableFile;
  readonly #ledger: ReleaseLedger;
  #written: string | undefined;
  #cancel = () => {};
  #cancelWrite = () => {};
  #cancelSync = () => {};
  #unwatch = () => {};
  /** The file, or the database, says something else than what is in force, and that was reported. */
  #isUnwritten = false;
  #isFaulty = false;
  #last: Promise<unknown> = Promise.resolve();
  #next: Promise<void> | undefined;
  #kept = Promise.withResolvers<void>();
  #closed = false;

  /** Reads what was in force. Throws `state` for a file that is damaged, `io`. */
  constructor(options: ReleasesOptions) {
    this.#options = options;
    this.#file = new DurableFile(join(options.state, RELEASES_FILE));
    this.#ledger = new ReleaseLedger(options, readReleaseFile(this.#file.path, this.#file.read()));
    this.#arm();
  }

  /** Takes over what the database has, and follows it from now on. A database that fails is tried again. */
  async start(): Promise<void> {
    this.#unwatch = await this.#options.store.watch(({ missed, touched }) => {
      if (missed === true || touched.some(({ kind }) => kind === 'release' || kind === 'drill'))
        void this.#sync();
    });
    await this.#sync();
  }

  /** All that are in force now. */
  get inForce(): readonly Release[] {
    const now = this.#options.timers.now();
    return this.#ledger.active.filter((release) => isInForce(release, now));
  }

  get drills(): readonly Drill[] {
    return this.#ledger.drills;
  }

  /** Takes enforcement away in a scope, at once; `forMs` ends it by itself. Throws `limit`. */
  press(who: Actor, order: { scope: ReleaseScope; reason: string; forMs?: number | undefined }): Release {
    const { timers } = this.#options;
    if (this.#ledger.active.length >= MAX_RELEASES)
      throw new InterlockError('limit', 'release', `${MAX_RELEASES} releases are in force: arm some of them`);
    const at = timers.now();
    const release: Release = {
      id: `rel-${randomBytes(6).toString('hex')}`,
      scope: order.scope,
      reason: order.reason,
      by: who,
      at,
      ...(order.forMs === undefined ? {} : { until: at + order.forMs }),
    };
    this.#ledger.press(release);
    this.#changed();
    return release;
  }

  /** Ends a release, or all of them: what was enforced is enforced again. Throws `not_found`. */
  arm(who: Actor, id?: string): readonly Release[] {
    const ended = this.#ledger.active.filter((release) => id === undefined || release.id === id);
    if (id !== undefined && ended.length === 0)
      throw new InterlockError(
        'not_found',
        id,
        `no release ${id} is in force: "interlock release --list" shows them`,
      );
    this.#end(ended, { at: this.#options.timers.now(), by: who, act: 'arm' });
    return ended;
  }

  /** Notes a drill that has ended. */
  drilled(who: Actor, points: number, confirmed: number): Drill {
    const drill = { at: this.#options.timers.now(), by: who, points, confirmed };
    this.#ledger.drilled(drill);
    this.#write();
    void this.#sync();
    return drill;
  }

  /** Resolves once everything that was pressed and ended here is in the database, where the others have it from. */
  async kept(): Promise<void> {
    while (!this.#ledger.isKept) await this.#kept.promise;
  }

  /** Takes over what the others have pressed and ended, and keeps what this one has. Throws what the store throws. */
  follow(): Promise<void> {
    // One that has not begun sees everything until now as well.
    if (this.#next !== undefined) return this.#next;
    const done = this.#last.then(() => this.#followNow());
    this.#next = done;
    this.#last = done.catch(() => {});
    return done;
  }

  async #followNow(): Promise<void> {
    this.#next = undefined;
    const hasChanged = await this.#ledger.follow();
    if (hasChanged && !this.#closed) {
      this.#options.onChange();
      this.#arm();
    }
    await this.#ledger.keep();
    if (!this.#closed) this.#write();
    this.#kept.resolve();
    this.#kept = Promise.withResolvers();
  }

  /**
   * Keeps in the audit log what was pressed and ended at a proxy itself, as it says: its identity is who told, and the user of
   * its machine stands beside the reason. After a restart of this control plane what goes on is told once more.
   */
  pressedThere(
    { key, identity }: Pick<Point, 'key' | 'identity'>,
    before: readonly ReleasedHere[],
    after: readonly ReleasedHere[],
  ): void {
    const told = (act: string, { workload, ...details }: ReleasedHere) =>
      void this.#record(identity, act, key, { ...details, ...(workload === undefined ? {} : { workload }) });
    const ofOne = ({ at, by, reason, workload }: ReleasedHere) => JSON.stringify([at, by, reason, workload]);
    const [known, now] = [new Set(before.map(ofOne)), new Set(after.map(ofOne))];
    for (const release of after) if (!known.has(ofOne(release))) told('release.local', release);
    for (const release of before) if (!now.has(ofOne(release))) told('arm.local', release);
  }

  close(): void {
    this.#closed = true;
    this.#unwatch();
    this.#cancel();
    this.#cancelWrite();
    this.#cancelSync();
  }

  #end(releases: readonly Release[], end: ReleaseEnd): void {
    this.#ledger.end(releases, end);
    this.#changed();
  }

  #changed(): void {
    this.#options.onChange();
    this.#write();
    this.#arm();
    void this.#sync();
  }

  /** Wakes when the next one ends by itself. */
  #arm(): void {
    const { timers } = this.#options;
    this.#cancel();
    const ends = this.#ledger.active.flatMap(({ until }) => until ?? []);
    if (ends.length === 0) return;
    this.#cancel = timers.after(Math.max(0, Math.min(...ends) - timers.now()), () => {
      const now = timers.now();
      const over = this.#ledger.active.filter((release) => !isInForce(release, now));
      if (over.length === 0) return this.#arm();
      this.#end(over, { at: now, by: 'system', act: 'release.end' });
    });
  }

  /** Does not fail: what the database does not take now it is asked to take again. */
  async #sync(): Promise<void> {
    const { timers, onFault } = this.#options;
    this.#cancelSync();
    try {
      await this.follow();
      this.#isFaulty = false;
    } catch (error) {
      if (!this.#isFaulty) onFault(error);
      this.#isFaulty = true;
      this.#cancelSync();
      if (!this.#closed) this.#cancelSync = timers.after(RETRY_MS, () => void this.#sync());
    }
  }

  async #record(who: Actor, act: string, what: string, details: Readonly<Record<string, string | number>>) {
    const { recorder, timers, onFault } = this.#options;
    const entry = recorder.entry(who, act, what, details);
    for (let reported = false; ; ) {
      try {
        await recorder.record([], entry);
        return;
      } catch (error) {
        if (!reported) onFault(error);
        reported = true;
        // The proxy says what is in force; only this entry of the log is missing then.
        if (this.#closed) return;
        await new Promise<void>((resolve) => timers.after(RETRY_MS, resolve));
      }
    }
  }

  /** A disk that is full must not stop the button: the release is in force, this is reported, and tried again. */
  #write(): void {
    const { timers, onFault } = this.#options;
    this.#cancelWrite();
    const text = JSON.stringify(this.#ledger.file);
    if (text === this.#written) return;
    try {
      this.#file.write(text);
      this.#written = text;
      this.#isUnwritten = false;
    } catch (error) {
      if (!this.#isUnwritten) onFault(error);
      this.#isUnwritten = true;
      this.#cancelWrite = timers.after(RETRY_MS, () => this.#write());
    }
  }
}
