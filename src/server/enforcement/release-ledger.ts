import { isInterlockError } from '../../access/index.ts';
import { type Release, scopeText } from '../../rollout/index.ts';
import type { Change, IdentityStore, Json, NewAuditEntry } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import {
  type Drill,
  drillOf,
  type ReleaseEnd,
  type ReleaseEntry,
  releaseEntryOf,
  type ReleaseFile,
} from './release-documents.ts';

/** Drills that are remembered. */
const MAX_DRILLS = 100;
/** Releases that have ended, of which the database remembers so many that none comes back; then a tenth of them goes. */
const MAX_ENDED = 1000;
/** How often a change that another replica was faster with is made anew at once. */
const MAX_TRIES = 10;

interface Known {
  entry: ReleaseEntry;
  /** Of the document in the database; 0 where it has none yet. */
  version: number;
  /** Whether the database knows of its end. */
  isEndKept: boolean;
  /** Pressed under a version that kept releases in the file alone: its audit entry is made. */
  readonly isLogged?: true;
}

export interface LedgerOptions {
  readonly store: Pick<IdentityStore, 'documents'>;
  readonly recorder: Pick<Recorder, 'entry' | 'record' | 'commit'>;
  readonly onFault: (error: unknown) => void;
}

/**
 * Releases and drills, here and in the database, merged by their names: one that was pressed anywhere is known everywhere,
 * and one that has ended anywhere is over everywhere, in whatever order the two meet.
 */
export class ReleaseLedger {
  readonly #options: LedgerOptions;
  readonly #all = new Map<string, Known>();
  readonly #drills = new Map<string, { readonly drill: Drill; isKept: boolean; readonly isLogged?: true }>();
  /** Documents that could not be read, as they were reported. */
  readonly #reported = new Map<string, number>();

  constructor(options: LedgerOptions, { releases, drills, ended }: ReleaseFile) {
    this.#options = options;
    const logged = ended === undefined ? { isLogged: true as const } : {};
    const add = (entry: ReleaseEntry) =>
      this.#all.set(entry.release.id, { entry, version: 0, isEndKept: false, ...logged });
    for (const release of releases) add({ release });
    for (const entry of ended ?? []) add(entry);
    for (const drill of drills) this.#drills.set(nameOf(drill), { drill, isKept: false, ...logged });
  }

  /** Those that were not ended, in the order in which they were pressed; their time may be over. */
  get active(): readonly Release[] {
    return [...this.#all.values()]
      .filter(({ entry }) => entry.ended === undefined)
      .map(({ entry }) => entry.release)
      .sort((a, b) => a.at - b.at);
  }

  get drills(): readonly Drill[] {
    return [...this.#drills.values()]
      .map(({ drill }) => drill)
      .sort((a, b) => a.at - b.at)
      .slice(-MAX_DRILLS);
  }

  /** What the file is to hold. */
  get file(): ReleaseFile {
    const ended = [...this.#all.values()].filter(
      (known) => known.entry.ended !== undefined && !known.isEndKept,
    );
    return { releases: this.active, drills: this.drills, ended: ended.map(({ entry }) => entry) };
  }

  /** Whether the database has everything. */
  get isKept(): boolean {
    const isKept = ({ entry, version, isEndKept }: Known) =>
      version > 0 && (entry.ended === undefined || isEndKept);
    return [...this.#all.values()].every(isKept) && [...this.#drills.values()].every((each) => each.isKept);
  }

  press(release: Release): void {
    this.#all.set(release.id, { entry: { release }, version: 0, isEndKept: false });
  }

  end(releases: readonly Release[], ended: ReleaseEnd): void {
    for (const { id } of releases) {
      const known = this.#all.get(id);
      if (known !== undefined && known.entry.ended === undefined) known.entry = { ...known.entry, ended };
    }
  }

  drilled(drill: Drill): void {
    this.#drills.set(nameOf(drill), { drill, isKept: false });
  }

  /** Takes over what the database has; true where other releases are active now. Throws what the store throws. */
  async follow(): Promise<boolean> {
    const { store } = this.#options;
    let hasChanged = false;
    const [documents, drills] = await Promise.all([store.documents('release'), store.documents('drill')]);
    const there = new Set<string>();
    for (const { name, version, data } of documents) {
      there.add(name);
      const entry = this.#read(name, version, () => releaseEntryOf(data));
      if (entry !== undefined) hasChanged = this.#merge(entry, version) || hasChanged;
    }
    for (const [id, known] of this.#all) {
      if (there.has(id) || known.version === 0) continue;
      // Either it has ended so long ago that nobody need remember, or the database is a copy of before it was pressed.
      if (known.isEndKept) this.#all.delete(id);
      else known.version = 0;
    }
    for (const { name, version, data } of drills) {
      const drill = this.#read(name, version, () => drillOf(data));
      if (drill !== undefined) this.#drills.set(name, { drill, isKept: true });
    }
    return hasChanged;
  }

  /** Puts everything into the database that it does not have, each with its audit entry. Throws what the store throws. */
  async keep(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        for (const known of this.#all.values()) await this.#keepRelease(known);
        for (const name of this.#drills.keys()) await this.#keepDrill(name);
        return await this.#forget();
      } catch (error) {
        // Another replica was faster with the same: what it made of it counts.
        if (!isInterlockError(error) || error.code !== 'conflict' || tries === MAX_TRIES) throw error;
        await this.follow();
      }
    }
  }

  #merge(entry: ReleaseEntry, version: number): boolean {
    const { id } = entry.release;
    const isEnded = entry.ended !== undefined;
    const known = this.#all.get(id);
    if (known === undefined) {
      this.#all.set(id, { entry, version, isEndKept: isEnded });
      return !isEnded;
    }
    const isNews = isEnded && known.entry.ended === undefined;
    if (isEnded) known.entry = entry;
    known.version = version;
    known.isEndKept = isEnded;
    return isNews;
  }

  async #keepRelease(known: Known): Promise<void> {
    const { release, ended } = known.entry;
    const { id, scope, reason, until } = release;
    const details = { id, reason, ...(until === undefined ? {} : { until }) };
    const log = (who: string, act: string, at: number) => ({
      ...this.#options.recorder.entry(who, act, scopeText(scope), details),
      // When it was done, which may be long ago where the database was away.
      at,
    });
    if (known.version === 0) {
      const entry = known.isLogged === true ? undefined : log(release.by, 'release', release.at);
      await this.#record(putOf('release', id, { release }, 0), entry);
      known.version = 1;
    }
    if (ended === undefined || known.isEndKept) return;
    const change = putOf('release', id, { release, ended }, known.version);
    await this.#record(change, log(ended.by, ended.act, ended.at));
    known.version++;
    known.isEndKept = true;
  }

  async #keepDrill(name: string): Promise<void> {
    const known = this.#drills.get(name);
    if (known === undefined || known.isKept) return;
    const { by, at, points, confirmed } = known.drill;
    const { recorder } = this.#options;
    const entry = { ...recorder.entry(by, 'release.drill', 'everything', { points, confirmed }), at };
    await this.#record(putOf('drill', name, known.drill, 0), known.isLogged === true ? undefined : entry);
    known.isKept = true;
  }

  /** What has ended long ago, and drills of which there were many since. */
  async #forget(): Promise<void> {
    const ended = [...this.#all.values()]
      .filter(({ entry }) => entry.ended !== undefined)
      .sort((a, b) => (a.entry.ended?.at ?? 0) - (b.entry.ended?.at ?? 0));
    const old = ended.length <= MAX_ENDED ? [] : ended.slice(0, ended.length - 0.9 * MAX_ENDED);
    const drills = [...this.#drills].sort(([, a], [, b]) => a.drill.at - b.drill.at);
    const oldDrills = drills.slice(0, -MAX_DRILLS).map(([name]) => name);
    const changes: Change[] = [
      ...old.map(({ entry }) => removeOf('release', entry.release.id)),
      ...oldDrills.map((name) => removeOf('drill', name)),
    ];
    if (changes.length === 0) return;
    await this.#options.recorder.commit(changes);
    for (const { entry } of old) this.#all.delete(entry.release.id);
    for (const name of oldDrills) this.#drills.delete(name);
  }

  async #record(change: Change, entry: NewAuditEntry | undefined): Promise<void> {
    const { recorder } = this.#options;
    await (entry === undefined ? recorder.commit([change]) : recorder.record([change], entry));
  }

  #read<T>(name: string, version: number, read: () => T): T | undefined {
    try {
      return read();
    } catch (cause) {
      const text = `the database says of ${name} what this version does not understand: it is as it was here`;
      if (this.#reported.get(name) !== version) this.#options.onFault(new Error(text, { cause }));
      this.#reported.set(name, version);
      return undefined;
    }
  }
}

/** Two that are equal in all are one. */
const nameOf = ({ at, by, points, confirmed }: Drill) => `${at} ${by} ${confirmed}/${points}`;

function putOf(kind: 'release' | 'drill', name: string, data: ReleaseEntry | Drill, expect: number): Change {
  // Plain data, as the schemas of release-documents.ts have it.
  return { change: 'put', kind, name, data: data as unknown as Json, expect };
}

const removeOf = (kind: 'release' | 'drill', name: string): Change => ({ change: 'remove', kind, name });
