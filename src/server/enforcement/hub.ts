import { createHash } from 'node:crypto';
import { type ErrorCode, InterlockError, type SpiffeId } from '../../access/index.ts';
import {
  type Enforcement,
  type EnforcementPoint,
  enforcementAt,
  isInShare,
  newRollout,
  releaseAt,
} from '../../rollout/index.ts';
import type { Timers } from '../timers.ts';
import { type NewPoint, type Point, pointKey, type Points } from './points.ts';
import type { Releases } from './releases.ts';
import type { Rollouts } from './rollouts.ts';

/** How long a proxy that left is named among those that have not confirmed a change. */
const AWAY_MS = 3_600_000;

/** The complete state of one proxy. */
export interface PointState {
  readonly version: number;
  /** By workload; `bytes` is the JSON of the enforcement, made once for all points that have the same. */
  readonly workloads: readonly EnforcementState[];
}

export interface EnforcementState {
  readonly enforcement: Enforcement;
  readonly bytes: Uint8Array;
  /** Names the content: the same content, the same text. */
  readonly digest: string;
}

/** A proxy's connection, as the hub sees it. */
export interface PointLink {
  /** Sends the newest state, whenever the connection has room for it. */
  push(): void;
  /** Ends the connection where too many of its name have come after it; the proxy may come back. */
  end?(error: InterlockError): void;
}

/** Connections of one name: an old one that is not found dead yet, and the new one. More are an attack, or a mistake. */
const MAX_LINKS = 4;

/** What one connection said of its proxy, and the newest state that was confirmed over it. */
interface Attached {
  readonly workloads: readonly SpiffeId[];
  applied: number;
}

export interface HubOptions {
  readonly rollouts: Rollouts;
  readonly releases: Releases;
  readonly points: Points;
  readonly timers: Timers;
  /** Proxies come from other control planes as well: the version that one says it has may be another's. */
  readonly isShared?: boolean | undefined;
}

/** Whom changes concern: every proxy, or those of some workloads. */
export type Concerns = 'all' | ReadonlySet<SpiffeId>;

/** Whether a proxy is one that a change made now is waited for: it is there, or left not long ago and may enforce what it had. */
export function isConcerned(point: Point, concerns: Concerns, now: number): boolean {
  if (!point.connected && point.since <= now - AWAY_MS) return false;
  return concerns === 'all' || point.workloads.some((workload) => concerns.has(workload));
}

/** Carries rollouts and releases to every proxy they concern, whatever protocol it speaks. */
export class Hub {
  readonly #options: HubOptions;
  /** The connections of each proxy, the oldest first. Any of them may be the proxy: nobody is left without a state. */
  readonly #links = new Map<string, Map<PointLink, Attached>>();
  readonly #served = new Map<string, readonly SpiffeId[]>();
  /** Which proxies serve a workload. */
  readonly #serving = new Map<SpiffeId, Set<string>>();
  readonly #made = new Map<SpiffeId, Map<string, EnforcementState>>();
  readonly #gathering = new Set<(concerns: SpiffeId | 'all') => void>();
  #version = 0;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** The newest version that some proxy was told of. */
  get version(): number {
    return this.#version;
  }

  /**
   * A proxy has connected: it is sent its state now, and again whenever that changes. Gives the point as this connection
   * described it. Others of its name stay connected: an identity is shared by all instances of a workload, so that one
   * that was stolen could take a name, and with it the states that another one waits for. Throws `unavailable` where it is not known
   * here what is in force for one of its workloads: it may have been told of more elsewhere, and keeps that.
   */
  attach(made: NewPoint, applied: number, link: PointLink): Point {
    const { points, rollouts } = this.#options;
    for (const workload of made.workloads) rollouts.checkReadable(workload);
    const key = pointKey(made);
    const links = this.#links.get(key) ?? new Map<PointLink, Attached>();
    // A version that this control plane has yet to reach was another one's: it says nothing of what is in force now.
    const isOurs = applied <= this.#version && this.#options.isShared !== true;
    const own = { workloads: made.workloads, applied: isOurs ? applied : 0 };
    const all = [...links.values(), own];
    const workloads = workloadsOf(all);
    const point = points.connect({ ...made, workloads }, Math.min(...all.map((each) => each.applied)));
    this.#links.set(key, links.set(link, own));
    this.#serve(key, workloads);
    const [oldest] = links.keys();
    if (links.size > MAX_LINKS && oldest !== undefined) this.#drop(key, oldest);
    points.want(key, this.#next());
    this.#push([key]);
    return { ...point, workloads: made.workloads };
  }

  /** How many connections say that they are this proxy. */
  connectionsOf(key: string): number {
    return this.#links.get(key)?.size ?? 0;
  }

  detach({ key }: Point, link: PointLink): void {
    const { points } = this.#options;
    const links = this.#links.get(key);
    if (links === undefined || !links.delete(link)) return;
    const workloads = workloadsOf([...links.values()]);
    this.#serve(key, workloads);
    if (links.size === 0) {
      this.#links.delete(key);
      points.disconnect(key);
      return;
    }
    points.serve(key, workloads);
    this.#confirmed(key, links);
  }

  #drop(key: string, link: PointLink): void {
    const point = this.#options.points.get(key);
    if (point !== undefined) this.detach(point, link);
    link.end?.(new InterlockError('conflict', key, `more than ${MAX_LINKS} connections say they are ${key}`));
  }

  /** Which workloads a proxy serves now. */
  #serve(key: string, workloads: readonly SpiffeId[]): void {
    for (const workload of this.#served.get(key) ?? []) {
      if (workloads.includes(workload)) continue;
      const keys = this.#serving.get(workload);
      keys?.delete(key);
      if (keys === undefined || keys.size > 0) continue;
      this.#serving.delete(workload);
      this.#made.delete(workload);
    }
    for (const workload of workloads) {
      const keys = this.#serving.get(workload);
      if (keys === undefined) this.#serving.set(workload, new Set([key]));
      else keys.add(key);
    }
    if (workloads.length === 0) this.#served.delete(key);
    else this.#served.set(key, workloads);
  }

  /** A connection has a state in force; the proxy has it once each of its connections has. */
  confirm(key: string, version: number, link: PointLink): void {
    const links = this.#links.get(key);
    const attached = links?.get(link);
    if (links === undefined || attached === undefined) return;
    attached.applied = Math.max(attached.applied, version);
    if (links.size === 1) this.#options.points.confirm(key, version);
    else this.#confirmed(key, links);
  }

  #confirmed(key: string, links: ReadonlyMap<PointLink, Attached>): void {
    const { points } = this.#options;
    const least = Math.min(...[...links.values()].map(({ applied }) => applied));
    if (least > (points.get(key)?.applied ?? 0)) points.confirm(key, least);
  }

  refuse(key: string, code: ErrorCode | 'nack', message: string): void {
    this.#options.points.refuse(key, code, message);
  }

  /** What a connection's proxy is to enforce now: of the workloads that this connection named. */
  stateOf({ key, workloads, instance, cluster, wanted }: Point): PointState {
    return {
      version: this.#options.points.get(key)?.wanted ?? wanted,
      workloads: workloads.map((workload) =>
        this.#enforcement({ workload, instance, ...(cluster === undefined ? {} : { cluster }) }),
      ),
    };
  }

  /** Notes whom the changes concern that are made until `stop` is called. */
  gather(): { readonly concerns: () => Concerns; readonly stop: () => void } {
    const workloads = new Set<SpiffeId>();
    let isAll = false;
    const note = (concerns: SpiffeId | 'all') => {
      if (concerns === 'all') isAll = true;
      else workloads.add(concerns);
    };
    this.#gathering.add(note);
    return {
      concerns: () => (isAll ? 'all' : workloads),
      stop: () => void this.#gathering.delete(note),
    };
  }

  /** The rollout of a workload is another one: its proxies are told. */
  changed(workload: SpiffeId): void {
    for (const note of this.#gathering) note(workload);
    this.#made.delete(workload);
    this.#tell([...(this.#serving.get(workload) ?? [])], (point) => point.workloads.includes(workload));
  }

  /** Releases are others: every proxy is told. */
  changedAll(): void {
    for (const note of this.#gathering) note('all');
    this.#made.clear();
    this.#tell([...this.#links.keys()], () => true);
  }

  /** Proxies that left not long ago are waited for as well: they may enforce what they had, and are told when they return. */
  #tell(keys: readonly string[], concerns: (point: Point) => boolean): void {
    const { points, timers } = this.#options;
    const version = this.#next();
    const now = timers.now();
    const away = [...points.all].filter(
      (point) => !point.connected && isConcerned(point, 'all', now) && concerns(point),
    );
    for (const key of [...keys, ...away.map((point) => point.key)]) points.want(key, version);
    this.#push(keys);
  }

  #push(keys: readonly string[]): void {
    for (const key of keys) for (const link of this.#links.get(key)?.keys() ?? []) link.push();
  }

  /** Grows over restarts as well: a proxy that kept its state tells versions apart by their size. */
  #next(): number {
    this.#version = Math.max(this.#version + 1, this.#options.timers.now());
    return this.#version;
  }

  #enforcement(point: EnforcementPoint): EnforcementState {
    const { rollouts, releases, timers } = this.#options;
    const now = timers.now();
    // A proxy may stand before its workload has a policy: it reports, takes every caller, and denies nothing.
    const rollout = rollouts.all.get(point.workload) ?? newRollout(point.workload, [], { by: 'system', now });
    const inForce = releases.inForce;
    const kind = `${isInShare(point, rollout.share)} ${releaseAt(inForce, rollout, point, now)?.id ?? ''}`;
    let made = this.#made.get(point.workload);
    if (made === undefined) this.#made.set(point.workload, (made = new Map()));
    let state = made.get(kind);
    if (state === undefined) {
      const enforcement = enforcementAt(rollout, point, inForce, now);
      // Of its own: a small Buffer is a slice of the pool, and what lives this long would keep the whole piece of it.
      const bytes = new TextEncoder().encode(JSON.stringify(enforcement));
      state = { enforcement, bytes, digest: createHash('sha256').update(bytes).digest('hex').slice(0, 16) };
      made.set(kind, state);
    }
    return state;
  }
}

function workloadsOf(all: readonly Attached[]): readonly SpiffeId[] {
  return [...new Set(all.flatMap(({ workloads }) => workloads))];
}
