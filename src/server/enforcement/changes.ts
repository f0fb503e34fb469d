import { randomBytes } from 'node:crypto';
import { InterlockError, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import type { Board, Json, Notice } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import { type Fleet, OWN } from './fleet.ts';
import { type Concerns, isConcerned } from './hub.ts';
import type { Point } from './points.ts';

/** Changes that can be asked for. */
const MAX_CHANGES = 1000;
/** Of those, the ones that the other control planes are told of, and whose answers are kept. */
const MAX_TOLD = 64;
/** How soon what could not be followed is tried again, milliseconds. */
const RETRY_MS = 1000;

/** A proxy and what it confirmed of one change. */
export interface Confirmation {
  readonly point: Point;
  /** Milliseconds from the change to its confirmation; undefined where it has not confirmed. */
  readonly ms?: number;
}

/** One change on its way to the proxies it concerns. */
export interface ChangeProgress {
  readonly id: string;
  readonly at: number;
  readonly confirmed: readonly (Confirmation & { readonly ms: number })[];
  readonly waiting: readonly Confirmation[];
}

/** By proxy, the version from which on it has a change. Whoever came later has it with the first state that it is sent. */
type Versions = ReadonlyMap<string, number>;

interface Change {
  readonly at: number;
  readonly keys: Set<string>;
  /** Of this control plane; undefined until it has the change itself. */
  own: Versions | undefined;
}

/** What was done, so that others know what to wait for. */
export interface Announced {
  readonly concerns: Concerns;
  /** A drill: nothing has changed, every proxy is sent its state. */
  readonly isDrill?: boolean;
}

export interface ChangesOptions {
  readonly fleet: Fleet;
  readonly timers: Timers;
  readonly board?: Pick<Board, 'replica' | 'say'> | undefined;
  /** Takes over what the others have made; a drill sends every own proxy its state. */
  readonly catchUp?: (isDrill: boolean) => Promise<void>;
}

/**
 * Follows changes until every proxy has confirmed them. Where there are several control planes, the one that a change is made at
 * announces it; each answers once it has it, with the versions by which its own proxies do. So each can be asked for it.
 */
export class Changes {
  readonly #options: ChangesOptions;
  readonly #changes = new Map<string, Change>();
  /** By change and control plane: an answer may come before the announcement. */
  readonly #answers = new Map<string, Map<string, Versions>>();
  /** What this control plane said of changes. */
  readonly #told: Notice[] = [];
  readonly #waiting = new Set<() => void>();
  readonly #prefix: string;
  #next = 1;

  constructor(options: ChangesOptions) {
    this.#options = options;
    this.#prefix = options.board === undefined ? 'change-' : `change-${randomBytes(4).toString('hex')}-`;
  }

  /** Follows a change that was made at a time, now where absent; gives the name to ask for it. `wanted` is of own proxies. */
  follow(
    wanted: ReadonlyMap<string, number>,
    at: number = this.#options.timers.now(),
    concerns: Concerns = new Set(),
  ): string {
    const id = `${this.#prefix}${this.#next++}`;
    const { fleet, timers } = this.#options;
    const keys = new Set(wanted.keys());
    const now = timers.now();
    for (const replica of fleet.replicas)
      for (const point of fleet.ofReplica(replica))
        if (isConcerned(point, concerns, now)) keys.add(point.key);
    this.#add(id, { at, keys, own: wanted });
    return id;
  }

  /** Tells the others of a change; it is in the database by now. */
  announce(id: string, { concerns, isDrill = false }: Announced): void {
    const change = this.#changes.get(id);
    if (change === undefined) return;
    const whom = concerns === 'all' ? 'all' : [...concerns];
    this.#say({ kind: 'change', name: id, data: { at: change.at, whom, isDrill } });
    this.#say({ kind: 'has-change', name: id, data: versionsSaid(change.own ?? new Map()) });
  }

  /** What another control plane says of changes. */
  said(replica: string, notices: readonly Notice[]): void {
    for (const { kind, name, data } of notices) {
      if (data === undefined) continue;
      if (kind === 'change' && !this.#changes.has(name)) this.#heard(name, data);
      else if (kind === 'has-change') {
        const versions = versionsOf(data);
        this.#answersTo(name).set(replica, versions);
        for (const key of versions.keys()) this.#changes.get(name)?.keys.add(key);
        this.#wake();
      }
    }
  }

  /** How far it is. Throws `not_found`. */
  progress(id: string): ChangeProgress {
    const change = this.#changes.get(id);
    if (change === undefined)
      throw new InterlockError('not_found', id, `no change "${id}" is followed any more`);
    const all = [...change.keys].flatMap((key): Confirmation[] => {
      const point = this.#options.fleet.get(key);
      if (point === undefined) return [];
      const ms = this.#confirmed(id, change, key);
      return [ms === undefined ? { point } : { point, ms }];
    });
    return {
      id,
      at: change.at,
      confirmed: all.filter((each): each is Confirmation & { ms: number } => each.ms !== undefined),
      waiting: all.filter(({ ms }) => ms === undefined),
    };
  }

  /** The progress once everyone has confirmed, or more than `known` have, or `ms` milliseconds have passed. */
  async wait(id: string, known: number, ms: number): Promise<ChangeProgress> {
    const isNews = ({ confirmed, waiting }: ChangeProgress) =>
      waiting.length === 0 || confirmed.length > known;
    const now = this.progress(id);
    if (isNews(now)) return now;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.timers.after(ms, resolve);
    let looking = false;
    const look = () => {
      if (looking) return;
      looking = true;
      // A thousand proxies confirm in one turn: looked at once after it.
      setImmediate(() => {
        looking = false;
        if (isNews(this.progress(id))) resolve();
      });
    };
    const unsubscribe = this.#options.fleet.subscribe(look);
    this.#waiting.add(look);
    await promise;
    cancel();
    unsubscribe();
    this.#waiting.delete(look);
    return this.progress(id);
  }

  /** Milliseconds until the proxy had the change: at every control plane that it is connected to, if it is to any. */
  #confirmed(id: string, change: Change, key: string): number | undefined {
    const all = this.#options.fleet.standings(key);
    const connected = all.filter(([, point]) => point.connected);
    const times = (connected.length > 0 ? connected : all).map(([replica, point]) => {
      const versions = replica === OWN ? change.own : this.#answers.get(id)?.get(replica);
      if (versions === undefined) return undefined;
      const needed = versions.get(key) ?? point.wanted;
      const { applied, appliedAt } = point;
      return applied >= needed && appliedAt !== undefined ? Math.max(0, appliedAt - change.at) : undefined;
    });
    const known = times.filter((ms) => ms !== undefined);
    if (known.length === 0 || (connected.length > 0 && known.length < times.length)) return undefined;
    return Math.max(...known);
  }

  /** Another control plane has made a change: this one takes it over, and says by which versions its proxies have it. */
  #heard(id: string, data: Json): void {
    const { at, concerns, isDrill } = announcedOf(data);
    const { fleet, timers } = this.#options;
    const now = timers.now();
    const keys = new Set(
      [...fleet.all].flatMap((point) => (isConcerned(point, concerns, now) ? point.key : [])),
    );
    const change: Change = { at, keys, own: undefined };
    this.#add(id, change);
    void this.#answer(id, change, concerns, isDrill);
  }

  async #answer(id: string, change: Change, concerns: Concerns, isDrill: boolean): Promise<void> {
    const { fleet, timers, catchUp } = this.#options;
    try {
      await catchUp?.(isDrill);
    } catch {
      // The database has gone again: it says so itself.
      timers.after(RETRY_MS, () => {
        if (this.#changes.get(id) === change) void this.#answer(id, change, concerns, isDrill);
      });
      return;
    }
    const now = timers.now();
    const own = [...fleet.ofReplica(OWN)].filter((point) => isConcerned(point, concerns, now));
    const named = new Map(own.map(({ key, wanted }) => [key, wanted]));
    change.own = named;
    for (const key of named.keys()) change.keys.add(key);
    this.#say({ kind: 'has-change', name: id, data: versionsSaid(named) });
    this.#wake();
  }

  #add(id: string, change: Change): void {
    this.#changes.set(id, change);
    for (const versions of this.#answers.get(id)?.values() ?? [])
      for (const key of versions.keys()) change.keys.add(key);
    const [oldest] = this.#changes.keys();
    if (this.#changes.size <= MAX_CHANGES || oldest === undefined) return;
    this.#changes.delete(oldest);
    this.#answers.delete(oldest);
  }

  #answersTo(id: string): Map<string, Versions> {
    let answers = this.#answers.get(id);
    if (answers === undefined) this.#answers.set(id, (answers = new Map()));
    const [oldest] = this.#answers.keys();
    if (this.#answers.size > MAX_CHANGES && oldest !== undefined) this.#answers.delete(oldest);
    return answers;
  }

  #say(notice: Notice): void {
    const { board } = this.#options;
    if (board === undefined) return;
    this.#told.push(notice);
    const old = this.#told.splice(0, Math.max(0, this.#told.length - MAX_TOLD));
    board.say([notice, ...old.map(({ kind, name }) => ({ kind, name }))]);
  }

  #wake(): void {
    for (const look of this.#waiting) look();
  }
}

/** Most proxies are told by one version: the keys are grouped by it. */
function versionsSaid(named: Versions): Json {
  return [...Map.groupBy(named, ([, version]) => version)].map(([version, all]) => ({
    version,
    keys: all.map(([key]) => key),
  }));
}

// What is read here another control plane of the same database has written, as above.

function versionsOf(data: Json): Versions {
  const groups = data as unknown as readonly { readonly version: number; readonly keys: readonly string[] }[];
  return new Map(groups.flatMap(({ version, keys }) => keys.map((key) => [key, version] as const)));
}

function announcedOf(data: Json): Announced & { readonly at: number; readonly isDrill: boolean } {
  const { at, whom, isDrill } = data as unknown as {
    readonly at: number;
    readonly whom: 'all' | readonly string[];
    readonly isDrill: boolean;
  };
  const workloads = (whom === 'all' ? [] : whom).flatMap((id): SpiffeId[] => {
    const workload = spiffeIdOf(id);
    return workload === undefined ? [] : [workload];
  });
  return { at, concerns: whom === 'all' ? 'all' : new Set(workloads), isDrill };
}
