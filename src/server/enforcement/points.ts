import { type ErrorCode, InterlockError, type SpiffeId } from '../../access/index.ts';
import type { Timers } from '../timers.ts';

/** What a point is: our own proxy, or an Envoy. */
export const POINT_KINDS = ['proxy', 'envoy'] as const;
export type PointKind = (typeof POINT_KINDS)[number];

/** One proxy that enforces, as lists show it. Times are milliseconds since 1970 UTC. */
export interface Point {
  /** Unique among all proxies: its identity and instance. */
  readonly key: string;
  readonly kind: PointKind;
  readonly identity: SpiffeId;
  readonly instance: string;
  readonly cluster?: string;
  readonly workloads: readonly SpiffeId[];
  readonly version: string;
  readonly since: number;
  readonly connected: boolean;
  /** It was connected to another control plane, of which nothing is heard any more. */
  readonly unheard?: true;
  /** How far its clock was ahead of this one's when it connected, in milliseconds. */
  readonly clockOffset?: number;
  /** The newest state that concerns it, and the newest one that it has in force. */
  readonly wanted: number;
  readonly applied: number;
  readonly appliedAt?: number;
  /** What is released by hand on its machine, as it says; absent where nothing is. */
  readonly releasedHere?: readonly ReleasedHere[];
  /** Why it did not take a state: the one before stays in force there. */
  readonly fault?: { readonly code: ErrorCode | 'nack'; readonly message: string; readonly at: number };
}

/** One release that somebody made at the proxy itself. Times are milliseconds since 1970 UTC, by the proxy's clock. */
export interface ReleasedHere {
  /** Absent: all workloads of the proxy. */
  readonly workload?: SpiffeId;
  readonly reason: string;
  /** `uid:N` on that machine. */
  readonly by: string;
  readonly at: number;
  readonly until?: number;
}

/** What a connection says of its proxy. */
export type NewPoint = Pick<Point, 'kind' | 'identity' | 'instance' | 'workloads' | 'version'> & {
  readonly cluster?: string;
  readonly clockOffset?: number;
};

/** Unique among all proxies. */
export function pointKey({ identity, instance }: Pick<Point, 'identity' | 'instance'>): string {
  return `${identity}#${instance}`;
}

/** Proxies that left are remembered this long, so that a release can name them. */
const REMEMBERED_MS = 24 * 3_600_000;
const MAX_POINTS = 50_000;
/** Proxies of one identity: it names its instances itself, and must not push out those of others. */
const MAX_INSTANCES = 2000;
const MAX_MESSAGE = 2000;

/** The enforcement points of this control plane: who is connected, and what is in force there. */
export class Points {
  readonly #timers: Timers;
  readonly #points = new Map<string, Point>();
  readonly #ofIdentity = new Map<SpiffeId, number>();
  readonly #listeners = new Set<(point: Point) => void>();

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get all(): Iterable<Point> {
    return this.#points.values();
  }

  get(key: string): Point | undefined {
    return this.#points.get(key);
  }

  /** Those that serve a workload. */
  of(workload: SpiffeId): Point[] {
    return [...this.#points.values()].filter(({ workloads }) => workloads.includes(workload));
  }

  /** A proxy has connected; what is known of an earlier connection of it stays known. Throws `limit`. */
  connect(made: NewPoint, applied: number): Point {
    const key = pointKey(made);
    const before = this.#points.get(key);
    const { fault, releasedHere } = before ?? {};
    if (before === undefined) this.#makeRoom(made.identity);
    return this.#set({
      ...made,
      key,
      since: this.#timers.now(),
      connected: true,
      wanted: before?.wanted ?? 0,
      applied,
      ...(releasedHere === undefined ? {} : { releasedHere }),
      ...(fault === undefined ? {} : { fault }),
    });
  }

  disconnect(key: string): void {
    this.#update(key, () => ({ connected: false, since: this.#timers.now() }));
  }

  /** The point serves other workloads: one of its connections has ended. */
  serve(key: string, workloads: readonly SpiffeId[]): void {
    this.#update(key, () => ({ workloads }));
  }

  /** A state was made that concerns the point. */
  want(key: string, version: number): void {
    this.#update(key, () => ({ wanted: version }));
  }

  /** The point has a state in force. */
  confirm(key: string, version: number): void {
    this.#update(key, ({ applied }) =>
      version < applied ? {} : { applied: version, appliedAt: this.#timers.now(), fault: undefined },
    );
  }

  /** The point did not take a state. */
  refuse(key: string, code: ErrorCode | 'nack', message: string): void {
    const at = this.#timers.now();
    this.#update(key, () => ({ fault: { code, message: message.slice(0, MAX_MESSAGE), at } }));
  }

  /** What is released by hand at the point is another now: complete, none where it is empty. */
  releaseHere(key: string, releases: readonly ReleasedHere[]): void {
    this.#update(key, () => ({ releasedHere: releases.length === 0 ? undefined : releases }));
  }

  /** Forgets a point that is away. Throws as {@link checkAway}. */
  forget(key: string): void {
    const point = this.checkAway(key);
    this.#delete(point);
    for (const listener of this.#listeners) listener(point);
  }

  /** The point, which has left. Throws `not_found`, `conflict` for one that is connected. */
  checkAway(key: string, point: Point | undefined = this.#points.get(key)): Point {
    if (point === undefined)
      throw new InterlockError('not_found', key, `no proxy ${key} is known: "interlock proxies" lists them`);
    if (point.connected)
      throw new InterlockError(
        'conflict',
        key,
        `${key} is connected: only one that is away can be forgotten`,
      );
    return point;
  }

  /** Calls `listener` with each point that has changed, until the function it gives back is called. */
  subscribe(listener: (point: Point) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #update(
    key: string,
    change: (point: Point) => { readonly [Key in keyof Point]?: Point[Key] | undefined },
  ): void {
    const point = this.#points.get(key);
    if (point === undefined) return;
    const { fault, releasedHere, ...rest } = { ...point, ...change(point) };
    // Every other field keeps a value: only these two are ever taken away.
    this.#set({
      ...rest,
      ...(releasedHere === undefined ? {} : { releasedHere }),
      ...(fault === undefined ? {} : { fault }),
    } as Point);
  }

  #set(point: Point): Point {
    this.#points.set(point.key, point);
    for (const listener of this.#listeners) listener(point);
    return point;
  }

  /** Of proxies that left, the ones that left long ago go first. */
  #makeRoom(identity: SpiffeId): void {
    const known = this.#ofIdentity.get(identity) ?? 0;
    if (known >= MAX_INSTANCES) this.#forget((point) => point.identity === identity, MAX_INSTANCES / 10);
    if ((this.#ofIdentity.get(identity) ?? 0) >= MAX_INSTANCES)
      throw new InterlockError(
        'limit',
        identity,
        `${identity} has ${MAX_INSTANCES} proxies connected: no more are taken`,
      );
    if (this.#points.size >= MAX_POINTS) this.#forget(() => true, MAX_POINTS / 100);
    this.#ofIdentity.set(identity, 1 + (this.#ofIdentity.get(identity) ?? 0));
  }

  /** Forgets so many of those that left, and all that left a day ago. */
  #forget(fits: (point: Point) => boolean, count: number): void {
    const old = this.#timers.now() - REMEMBERED_MS;
    const left = [...this.#points.values()].filter((point) => !point.connected && fits(point));
    for (const [i, { key, since, identity }] of left.sort((a, b) => a.since - b.since).entries()) {
      if (i >= count && since >= old) break;
      this.#delete({ key, identity });
    }
  }

  #delete({ key, identity }: Pick<Point, 'key' | 'identity'>): void {
    this.#points.delete(key);
    const others = (this.#ofIdentity.get(identity) ?? 1) - 1;
    if (others === 0) this.#ofIdentity.delete(identity);
    else this.#ofIdentity.set(identity, others);
  }
}
