import type { SpiffeId } from '../../access/index.ts';
import {
  type CanaryPlan,
  type CanaryStep,
  DEFAULT_CANARY,
  DEFAULT_GATES,
  type Gates,
  type GatesFile,
  isOfTarget,
} from '../../rollout/index.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Actor } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { Canaries } from './canaries.ts';
import { Changes } from './changes.ts';
import type { EvidenceIntake, SeenFlip } from './evidence/intake.ts';
import { WatchedHours } from './evidence/watched-hours.ts';
import { EnvoyDocuments } from './envoy/documents.ts';
import { Hub } from './hub.ts';
import { Points, type ReleasedHere } from './points.ts';
import { Releases } from './releases.ts';
import { Rollouts } from './rollouts.ts';

/** Callers that enforce for others: IDs, or all below one where it ends in `/*`. */
export type NodeProxies = readonly string[];

export interface EnforcingOptions {
  readonly state: string;
  readonly plane: ControlPlane;
  readonly timers: Timers;
  /** `isCurrent` tells whether a flip was judged by the target set of today. */
  readonly openEvidence: (isCurrent: (flip: SeenFlip) => boolean) => Promise<EvidenceIntake>;
  readonly nodeProxies?: NodeProxies | undefined;
  readonly canary?: CanaryPlan | undefined;
  /** What promotions need; the defaults where absent. */
  readonly gates?: Gates | undefined;
  readonly onStep: (workload: SpiffeId, step: CanaryStep) => void;
  readonly onFault: (error: unknown) => void;
}

/** What has changed of what is enforced. */
export type EnforcingChange =
  | { readonly what: 'rollout'; readonly workload: SpiffeId; readonly hasNewTarget: boolean }
  | { readonly what: 'release' };

/** What the control plane does about enforcement: rollouts, releases, and the points that they reach. */
export class Enforcing {
  readonly rollouts: Rollouts;
  readonly releases: Releases;
  readonly points: Points;
  readonly hub: Hub;
  readonly changes: Changes;
  readonly evidence: EvidenceIntake;
  readonly canaries: Canaries;
  readonly documents: EnvoyDocuments;
  /** What promotions are judged by, and how canaries widen. */
  readonly rules: GatesFile;
  readonly #nodeProxies: NodeProxies;
  readonly #watchedHours: WatchedHours;
  readonly #listeners = new Set<(change: EnforcingChange) => void>();
  readonly #timers: Timers;
  readonly #plane: ControlPlane;

  private constructor(
    options: EnforcingOptions,
    rollouts: Rollouts,
    evidence: EvidenceIntake,
    documents: EnvoyDocuments,
  ) {
    const { state, plane, timers, onFault } = options;
    this.rollouts = rollouts;
    this.evidence = evidence;
    this.documents = documents;
    this.rules = { gates: options.gates ?? DEFAULT_GATES, canary: options.canary ?? DEFAULT_CANARY };
    this.points = new Points(timers);
    this.changes = new Changes(this.points, timers);
    this.releases = new Releases({
      state,
      recorder: plane.recorder,
      timers,
      onChange: () => {
        this.hub.changedAll();
        this.#tell({ what: 'release' });
      },
      onFault,
    });
    this.hub = new Hub({ rollouts, releases: this.releases, points: this.points, timers });
    this.canaries = new Canaries({
      rollouts,
      points: this.points,
      releases: this.releases,
      evidence,
      timers,
      plan: this.rules.canary,
      onStep: options.onStep,
      onFault,
    });
    this.#watchedHours = new WatchedHours({ points: this.points, evidence, timers });
    this.#nodeProxies = options.nodeProxies ?? [];
    this.#timers = timers;
    this.#plane = plane;
  }

  static async open(options: EnforcingOptions): Promise<Enforcing> {
    const { plane, timers } = options;
    // The hub comes to be after the rollouts that it reads; nothing changes in between.
    let made: Enforcing | undefined;
    const onChange = (workload: SpiffeId, hasNewTarget: boolean) => {
      if (hasNewTarget) made?.evidence.settle(workload);
      made?.hub.changed(workload);
      if (made !== undefined) made.#tell({ what: 'rollout', workload, hasNewTarget });
    };
    const { store, recorder } = plane;
    const rollouts = await Rollouts.open({ store, recorder, timers, onChange, onFault: options.onFault });
    const documents = await EnvoyDocuments.open(plane.store, plane.recorder);
    const isCurrent = (flip: SeenFlip) => isOfTarget(flip, rollouts.all.get(flip.to));
    made = new Enforcing(options, rollouts, await options.openEvidence(isCurrent), documents);
    return made;
  }

  /** Calls `listener` with every rollout and release that has changed, until the function it gives back is called. */
  onChange(listener: (change: EnforcingChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(change: EnforcingChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  /** What is released by hand at a proxy is another now: shown, and kept in the audit log. */
  releasedHere(key: string, releases: readonly ReleasedHere[]): void {
    const point = this.points.get(key);
    if (point === undefined) return;
    const before = point.releasedHere ?? [];
    if (before.length === 0 && releases.length === 0) return;
    this.points.releaseHere(key, releases);
    this.releases.pressedThere(point, before, releases);
    this.#tell({ what: 'release' });
  }

  /** Forgets a proxy that is away: nothing waits for it any more. Throws `not_found`, `conflict` for one that is connected. */
  async forget(who: Actor, key: string): Promise<void> {
    this.points.checkAway(key);
    const { recorder } = this.#plane;
    await recorder.record([], recorder.entry(who, 'proxy.forget', key, {}));
    // It may have come back meanwhile.
    this.points.forget(key);
  }

  /** Whether an identity may enforce for a workload: its own, or as a node proxy. */
  mayServe(identity: SpiffeId, workload: SpiffeId): boolean {
    if (identity === workload) return true;
    return this.#nodeProxies.some((allowed) =>
      allowed.endsWith('/*') ? identity.startsWith(allowed.slice(0, -1)) : identity === allowed,
    );
  }

  /** Does something that changes what points enforce, and gives the name of the change to follow. */
  async following<T>(act: () => T | Promise<T>): Promise<{ done: T; change: string }> {
    const before = this.hub.version;
    // Proxies may confirm before this has come back: the time runs from the press of the button.
    const at = this.#timers.now();
    const done = await act();
    const concerned = [...this.points.all].filter(({ wanted }) => wanted > before);
    return {
      done,
      change: this.changes.follow(new Map(concerned.map(({ key, wanted }) => [key, wanted])), at),
    };
  }

  /** Sends every point its state over the way that a release takes, and waits for all of them at most `ms`. */
  async drill(who: Actor, ms: number) {
    const { change } = await this.following(() => this.hub.changedAll());
    let progress = this.changes.progress(change);
    const { confirmed, waiting } = progress;
    const all = confirmed.length + waiting.length;
    progress = await this.changes.wait(change, all, ms);
    // A drill proves the way to the proxies that are there: one that has left cannot take part in it.
    const here = progress.waiting.filter(({ point }) => point.connected).length;
    this.releases.drilled(who, progress.confirmed.length + here, progress.confirmed.length);
    return progress;
  }

  async close(): Promise<void> {
    this.canaries.stop();
    this.#watchedHours.stop();
    this.releases.close();
    await this.evidence.close();
  }
}
