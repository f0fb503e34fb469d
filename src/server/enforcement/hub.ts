import { createHash } from 'node:crypto';
import type { ErrorCode, SpiffeId } from '../../access/index.ts';
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
}

export interface HubOptions {
  readonly rollouts: Rollouts;
  readonly releases: Releases;
  readonly points: Points;
  readonly timers: Timers;
}

/** Carries rollouts and releases to every proxy they concern, whatever protocol it speaks. */
export class Hub {
  readonly #options: HubOptions;
  readonly #links = new Map<string, PointLink>();
  /** Which proxies serve a workload. */
  readonly #serving = new Map<SpiffeId, Set<string>>();
  readonly #made = new Map<SpiffeId, Map<string, EnforcementState>>();
  #version = 0;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** The newest version that some proxy was told of. */
  get version(): number {
    return this.#version;
  }

  /** A proxy has connected: it is sent its state now, and again whenever that changes. */
  attach(made: NewPoint, applied: number, link: PointLink): Point {
    const { points } = this.#options;
    const former = points.get(pointKey(made));
    // A version that this control plane has yet to reach was another one's: it says nothing of what is in force now.
    const point = points.connect(made, applied > this.#version ? 0 : applied);
    // A proxy that connects anew has left its former connection, whatever that one believes.
    if (former !== undefined && this.#links.has(point.key)) this.#leave(former);
    this.#links.set(point.key, link);
    for (const workload of point.workloads) {
      const keys = this.#serving.get(workload);
      if (keys === undefined) this.#serving.set(workload, new Set([point.key]));
      else keys.add(point.key);
    }
    points.want(point.key, this.#next());
    link.push();
    return point;
  }

  detach(point: Point, link: PointLink): void {
    const { key } = point;
    if (this.#links.get(key) !== link) return;
    this.#links.delete(key);
    this.#leave(point);
    this.#options.points.disconnect(key);
  }

  #leave({ key, workloads }: Point): void {
    for (const workload of workloads) {
      const keys = this.#serving.get(workload);
      keys?.delete(key);
      if (keys === undefined || keys.size > 0) continue;
      this.#serving.delete(workload);
      this.#made.delete(workload);
    }
  }

  confirm(key: string, version: number): void {
    this.#options.points.confirm(key, version);
  }

  refuse(key: string, code: ErrorCode | 'nack', message: string): void {
    this.#options.points.refuse(key, code, message);
  }

  /** What a proxy is to enforce now. */
  stateOf(key: string): PointState {
    const point = this.#options.points.get(key);
    if (point === undefined) return { version: 0, workloads: [] };
    const { workloads, instance, cluster, wanted } = point;
    return {
      version: wanted,
      workloads: workloads.map((workload) =>
        this.#enforcement({ workload, instance, ...(cluster === undefined ? {} : { cluster }) }),
      ),
    };
  }

  /** The rollout of a workload is another one: its proxies are told. */
  changed(workload: SpiffeId): void {
    this.#made.delete(workload);
    this.#tell([...(this.#serving.get(workload) ?? [])]);
  }

  /** Releases are others: every proxy is told. */
  changedAll(): void {
    this.#made.clear();
    this.#tell([...this.#links.keys()]);
  }

  #tell(keys: readonly string[]): void {
    const version = this.#next();
    for (const key of keys) this.#options.points.want(key, version);
    for (const key of keys) this.#links.get(key)?.push();
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
      const bytes = Buffer.from(JSON.stringify(enforcement));
      state = { enforcement, bytes, digest: createHash('sha256').update(bytes).digest('hex').slice(0, 16) };
      made.set(kind, state);
    }
    return state;
  }
}
