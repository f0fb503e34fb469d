import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import { InterlockError, isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { isInForce, type Release, type ReleaseScope, scopeText } from '../../rollout/index.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import type { Point, ReleasedHere } from './points.ts';
import { DurableFile } from './durable-file.ts';

/** The releases in force, in the state directory: apart from the database, because the button works without it. */
export const RELEASES_FILE = 'releases.json';
/** How often what the disk or the database did not take is tried again. */
const RETRY_MS = 5000;
/** Releases in force at one time. */
const MAX_RELEASES = 1000;
/** Drills that are remembered. */
const MAX_DRILLS = 100;

const text = z.string().min(1).max(2048);
export const releaseScopeSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('all') }),
  z.strictObject({ kind: z.literal('cluster'), cluster: text }),
  z.strictObject({ kind: z.literal('namespace'), namespace: text }),
  z.strictObject({ kind: z.literal('workload'), workload: text.transform((id) => parseSpiffeId(id)) }),
  z.strictObject({ kind: z.literal('policy'), policy: text }),
]);
const releaseSchema = z.strictObject({
  id: text,
  scope: releaseScopeSchema,
  reason: text,
  by: text,
  at: z.number(),
  until: z.number().exactOptional(),
  drill: z.literal(true).exactOptional(),
});
const fileSchema = z.strictObject({
  releases: z.array(releaseSchema),
  drills: z.array(z.strictObject({ at: z.number(), by: text, points: z.number(), confirmed: z.number() })),
});

/** One drill: how many points were asked, and how many confirmed. */
export interface Drill {
  readonly at: number;
  readonly by: string;
  readonly points: number;
  readonly confirmed: number;
}

export interface ReleasesOptions {
  readonly state: string;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /** Releases have come, ended, or were armed: called at once, before anything else is written. */
  readonly onChange: () => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * The red button. What is pressed is in force before anything is written: a full disk or a database that hangs delays
 * its record, never the release. It is kept in a file of its own, and its audit entry is tried until it is taken.
 */
export class Releases {
  readonly #options: ReleasesOptions;
  readonly #file: DurableFile;
  #releases: readonly Release[];
  #drills: readonly Drill[];
  #cancel = () => {};
  #cancelWrite = () => {};
  /** The file says something else than what is in force. */
  #isUnwritten = false;
  #closed = false;

  /** Reads what was in force. Throws `state` for a file that is damaged, `io`. */
  constructor(options: ReleasesOptions) {
    this.#options = options;
    this.#file = new DurableFile(join(options.state, RELEASES_FILE));
    const kept = this.#read();
    this.#releases = kept.releases;
    this.#drills = kept.drills;
    this.#arm();
  }

  /** All that are in force now. */
  get inForce(): readonly Release[] {
    const now = this.#options.timers.now();
    return this.#releases.filter((release) => isInForce(release, now));
  }

  get drills(): readonly Drill[] {
    return this.#drills;
  }

  /** Takes enforcement away in a scope, at once; `forMs` ends it by itself. Throws `limit`. */
  press(who: Actor, order: { scope: ReleaseScope; reason: string; forMs?: number | undefined }): Release {
    const { timers } = this.#options;
    if (this.#releases.length >= MAX_RELEASES)
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
    this.#change([...this.#releases, release]);
    this.#audit(who, 'release', release);
    return release;
  }

  /** Ends a release, or all of them: what was enforced is enforced again. Throws `not_found`. */
  arm(who: Actor, id?: string): readonly Release[] {
    const ended = this.#releases.filter((release) => id === undefined || release.id === id);
    if (id !== undefined && ended.length === 0)
      throw new InterlockError(
        'not_found',
        id,
        `no release ${id} is in force: "interlock release --list" shows them`,
      );
    this.#change(this.#releases.filter((release) => !ended.includes(release)));
    for (const release of ended) this.#audit(who, 'arm', release);
    return ended;
  }

  /** Notes a drill that has ended. */
  drilled(who: Actor, points: number, confirmed: number): Drill {
    const drill = { at: this.#options.timers.now(), by: who, points, confirmed };
    this.#drills = [...this.#drills, drill].slice(-MAX_DRILLS);
    this.#write();
    void this.#record(who, 'release.drill', 'everything', { points, confirmed });
    return drill;
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
    this.#cancel();
    this.#cancelWrite();
  }

  #change(releases: readonly Release[]): void {
    this.#releases = releases;
    this.#options.onChange();
    this.#write();
    this.#arm();
  }

  /** Wakes when the next one ends by itself. */
  #arm(): void {
    const { timers } = this.#options;
    this.#cancel();
    const ends = this.#releases.flatMap(({ until }) => until ?? []);
    if (ends.length === 0) return;
    this.#cancel = timers.after(Math.max(0, Math.min(...ends) - timers.now()), () => {
      const now = timers.now();
      const over = this.#releases.filter((release) => !isInForce(release, now));
      if (over.length === 0) return this.#arm();
      this.#change(this.#releases.filter((release) => !over.includes(release)));
      for (const release of over) this.#audit('system', 'release.end', release);
    });
  }

  #audit(who: Actor, act: string, { id, scope, reason, until }: Release): void {
    void this.#record(who, act, scopeText(scope), { id, reason, ...(until === undefined ? {} : { until }) });
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
        // The file says what is in force; only this entry of the log is missing then.
        if (this.#closed) return;
        await new Promise<void>((resolve) => timers.after(RETRY_MS, resolve));
      }
    }
  }

  /** A disk that is full must not stop the button: the release is in force, this is reported, and tried again. */
  #write(): void {
    const { timers, onFault } = this.#options;
    this.#cancelWrite();
    try {
      this.#file.write(JSON.stringify({ releases: this.#releases, drills: this.#drills }));
      this.#isUnwritten = false;
    } catch (error) {
      if (!this.#isUnwritten) onFault(error);
      this.#isUnwritten = true;
      this.#cancelWrite = timers.after(RETRY_MS, () => this.#write());
    }
  }

  #read(): z.output<typeof fileSchema> {
    const kept = this.#file.read();
    if (kept === undefined) return { releases: [], drills: [] };
    try {
      return fileSchema.parse(JSON.parse(kept));
    } catch (cause) {
      if (isInterlockError(cause)) throw cause;
      // Nothing would be released that should be: an operator has to look.
      throw new InterlockError(
        'state',
        this.#file.path,
        `${this.#file.path} is damaged, so nobody knows what is released: mend it, or remove it to enforce everything`,
        { cause },
      );
    }
  }
}
