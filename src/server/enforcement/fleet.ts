import type { SpiffeId } from '../../access/index.ts';
import type { Board, Json, Notice } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import type { Point, Points } from './points.ts';

/** Names this control plane among the others of its database. */
export const OWN = '';
/** How long a proxy that left, and one that was forgotten, is remembered: as long as one's own. Milliseconds. */
const REMEMBERED_MS = 24 * 3_600_000;
const FORGOTTEN_MS = 60_000;
/** Of all other control planes. */
const MAX_POINTS = 100_000;

/**
 * The proxies of all control planes of one database: each tells the others about its own. One that has moved from one control
 * plane to another is one proxy. Whom a control plane does not hear of any more it shows as that, and no longer as connected.
 */
export class Fleet {
  readonly #own: Points;
  readonly #timers: Timers;
  readonly #board: Pick<Board, 'say'> | undefined;
  /** By control plane and key. */
  readonly #others = new Map<string, Map<string, Point>>();
  readonly #listeners = new Set<(point: Point) => void>();
  readonly #unsubscribe: () => void;

  constructor(own: Points, timers: Timers, board?: Pick<Board, 'say'>) {
    this.#own = own;
    this.#timers = timers;
    this.#board = board;
    this.#unsubscribe = own.subscribe((point) => {
      const { key } = point;
      // A point is plain data.
      const data = own.get(key) as unknown as Json | undefined;
      board?.say([{ kind: 'point', name: key, ...(data === undefined ? {} : { data }) }]);
      this.#tell(this.get(key) ?? point);
    });
  }

  get all(): Iterable<Point> {
    if (this.#others.size === 0) return this.#own.all;
    const keys = new Set([...this.#own.all].map(({ key }) => key));
    for (const points of this.#others.values()) for (const key of points.keys()) keys.add(key);
    return [...keys].flatMap((key) => this.get(key) ?? []);
  }

  /** As lists show it; of several connections that say they are this proxy, the one that is behind. */
  get(key: string): Point | undefined {
    if (this.#others.size === 0) return this.#own.get(key);
    const points = this.standings(key).map(([, point]) => point);
    const connected = points.filter((point) => point.connected);
    const [first, ...rest] = connected;
    if (first === undefined) return points.toSorted((a, b) => b.since - a.since)[0];
    if (rest.length === 0) return first;
    const shown = connected.find(({ applied, wanted }) => applied < wanted) ?? first;
    return { ...shown, workloads: [...new Set(connected.flatMap(({ workloads }) => workloads))] };
  }

  /** Those that serve a workload. */
  of(workload: SpiffeId): Point[] {
    return [...this.all].filter(({ workloads }) => workloads.includes(workload));
  }

  /** What each control plane says of a proxy; {@link OWN} is this one. */
  standings(key: string): (readonly [string, Point])[] {
    const own = this.#own.get(key);
    const others = [...this.#others].flatMap(([replica, points]) => {
      const point = points.get(key);
      return point === undefined ? [] : [[replica, point] as const];
    });
    return own === undefined ? others : [[OWN, own], ...others];
  }

  /** What one control plane says of its proxies. */
  ofReplica(replica: string): Iterable<Point> {
    return replica === OWN ? this.#own.all : (this.#others.get(replica)?.values() ?? []);
  }

  get replicas(): Iterable<string> {
    return this.#others.keys();
  }

  /** Calls `listener` with each point that has changed, until the function it gives back is called. */
  subscribe(listener: (point: Point) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** The point, which has left. Throws `not_found`, `conflict` for one that is connected. */
  checkAway(key: string): Point {
    return this.#own.checkAway(key, this.get(key));
  }

  /** Forgets a point that is away, here and at all others. Throws as {@link checkAway}. */
  forget(key: string): void {
    const point = this.checkAway(key);
    this.#board?.say([{ kind: 'forgotten', name: key, data: true }]);
    if (this.#board !== undefined)
      this.#timers.after(FORGOTTEN_MS, () => this.#board?.say([{ kind: 'forgotten', name: key }]));
    this.#drop(key);
    this.#tell(point);
  }

  /** What another control plane says of its proxies. */
  said(replica: string, notices: readonly Notice[], isWhole: boolean): void {
    const before = this.#others.get(replica) ?? new Map<string, Point>();
    const points = isWhole ? new Map<string, Point>() : before;
    this.#others.set(replica, points);
    const changed = new Set(isWhole ? before.keys() : []);
    for (const { kind, name, data } of notices) {
      if (kind === 'forgotten' && data !== undefined) {
        if (this.get(name)?.connected === false) this.#drop(name);
        changed.add(name);
      }
      if (kind !== 'point') continue;
      changed.add(name);
      // As the constructor above said it; a later version may say more.
      if (data === undefined) points.delete(name);
      else if (points.has(name) || points.size < MAX_POINTS) points.set(name, data as unknown as Point);
    }
    for (const key of changed) this.#changed(key, before.get(key));
  }

  /** Another control plane has ended, or is not heard of: what its proxies do now nobody knows, until they are somewhere else. */
  left(replica: string, how: 'ended' | 'silent'): void {
    const now = this.#timers.now();
    const points = this.#others.get(replica);
    if (points === undefined) return;
    for (const [key, { unheard: _, ...point }] of points) {
      const isOld = !point.connected && point.since < now - REMEMBERED_MS;
      const isElsewhere = this.standings(key).some(
        ([other, { connected }]) => other !== replica && connected,
      );
      if (isOld || (isElsewhere && how === 'ended')) points.delete(key);
      else
        points.set(key, {
          ...point,
          connected: false,
          since: point.connected ? now : point.since,
          ...(how === 'silent' && point.connected ? { unheard: true as const } : {}),
        });
      this.#changed(key, point);
    }
  }

  close(): void {
    this.#unsubscribe();
  }

  #drop(key: string): void {
    if (this.#own.get(key)?.connected === false) this.#own.forget(key);
    for (const points of this.#others.values()) points.delete(key);
  }

  #changed(key: string, before: Point | undefined): void {
    const point = this.get(key) ?? before;
    if (point !== undefined) this.#tell(point);
  }

  #tell(point: Point): void {
    for (const listener of this.#listeners) listener(point);
  }
}
