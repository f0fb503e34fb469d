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
import type { Board } from '../../store/index.ts';
import { Canaries } from './canaries.ts';
import { Changes } from './changes.ts';
import type { EvidenceIntake, SeenFlip } from './evidence/intake.ts';
import { WatchedHours } from './evidence/watched-hours.ts';
import { Ends } from './ends.ts';
import { EnvoyDocuments } from './envoy/documents.ts';
import { Fleet } from './fleet.ts';
import { type Concerns, Hub } from './hub.ts';
import { Points, type ReleasedHere } from './points.ts';
import { Releases } from './releases.ts';
import { Rollouts } from './rollouts.ts';

/** How long the answer to a release waits for the database, milliseconds. */
const TOLD_MS = 250;

/** Callers that enforce for others: IDs, or all below one where it ends in `/*`. */
export type NodeProxies = readonly string[];

export interface EnforcingOptions {
  readonly state: string;
  readonly plane: ControlPlane;
  readonly timers: Timers;
  /** `isCurrent` tells whether a flip was judged by the target set of today. */
  readonly openEvidence: (
    isCurrent: (flip: SeenFlip) => boolean,
    /** Takes over the targets that other control planes have changed. */
    catchUp: () => Promise<void>,
  ) => Promise<EvidenceIntake>;
  /** Where the control planes of one database tell each other what they do; absent where there is only this one. */
  readonly board?: Board | undefined;
  readonly nodeProxies?: NodeProxies | undefined;
  readonly canary?: CanaryPlan | undefined;
  /** What promotions need; the defaults where absent. */
  readonly gates?: Gates | undefined;
  /** Of several control planes on one database the one that moves workloads by itself; always where absent. */
  readonly isLeader?: (() => boolean) | undefined;
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
  /** The proxies of all control planes, and those connected to this one. */
  readonly points: Fleet;
  readonly own: Points;
  readonly hub: Hub;
  readonly changes: Changes;
  readonly evidence: EvidenceIntake;
  readonly canaries: Canaries;
  readonly documents: EnvoyDocuments;
  /** What promotions are judged by, and how canaries widen. */
  readonly rules: GatesFile;
  readonly #nodeProxies: NodeProxies;
  readonly #watchedHours: WatchedHours;
  readonly #ends: Ends;
  readonly #listeners = new Set<(change: EnforcingChange) => void>();
  readonly #timers: Timers;
  readonly #plane: ControlPlane;
  readonly #board: Board | undefined;
  readonly #onFault: (error: unknown) => void;

  private constructor(
    options: EnforcingOptions,
    rollouts: Rollouts,
    evidence: EvidenceIntake,
    documents: EnvoyDocuments,
  ) {
    const { state, plane, timers, board, onFault } = options;
    this.rollouts = rollouts;
    this.evidence = evidence;
    this.documents = documents;
    this.rules = { gates: options.gates ?? DEFAULT_GATES, canary: options.canary ?? DEFAULT_CANARY };
    this.own = new Points(timers);
    this.points = new Fleet(this.own, timers, board);
    this.changes = new Changes({
      fleet: this.points,
      timers,
      board,
      catchUp: (isDrill) => this.#catchUp(isDrill),
    });
    this.releases = new Releases({
      state,
      store: plane.store,
      recorder: plane.recorder,
      timers,
      onChange: () => {
        this.hub.changedAll();
        this.#tell({ what: 'release' });
      },
      onFault,
    });
    this.hub = new Hub({
      rollouts,
      releases: this.releases,
      points: this.own,
      timers,
      isShared: board !== undefined,
    });
    this.canaries = new Canaries({
      rollouts,
      points: this.points,
      releases: this.releases,
      evidence,
      timers,
      plan: this.rules.canary,
      isLeader: options.isLeader,
      onStep: options.onStep,
      onFault,
    });
    this.#watchedHours = new WatchedHours({ points: this.own, evidence, timers });
    this.#ends = new Ends({
      rollouts,
      timers,
      onEnd: (workload) => {
        this.hub.changed(workload);
        this.#tell({ what: 'rollout', workload, hasNewTarget: false });
      },
      onFault,
    });
    this.#nodeProxies = options.nodeProxies ?? [];
    this.#timers = timers;
    this.#plane = plane;
    this.#board = board;
    this.#onFault = onFault;
  }

  static async open(options: EnforcingOptions): Promise<Enforcing> {
    const { plane, timers } = options;
    // The hub comes to be after the rollouts that it reads; nothing changes in between.
    let made: Enforcing | undefined;
    const onChange = (workload: SpiffeId, hasNewTarget: boolean, isOwn: boolean) => {
      const target = made?.rollouts.all.get(workload)?.targetVersion;
      if (hasNewTarget) made?.evidence.settle(workload, { isOwn, target });
      made?.hub.changed(workload);
      if (made !== undefined) made.#tell({ what: 'rollout', workload, hasNewTarget });
      if (made !== undefined) made.#ends.changed(workload);
    };
    const { store, recorder } = plane;
    const rollouts = await Rollouts.open({ store, recorder, timers, onChange, onFault: options.onFault });
    const documents = await EnvoyDocuments.open({ store, recorder, timers, onFault: options.onFault });
    const isCurrent = (flip: SeenFlip) => isOfTarget(flip, rollouts.all.get(flip.to));
    const evidence = await options.openEvidence(isCurrent, () => rollouts.follow());
    made = new Enforcing(options, rollouts, evidence, documents);
    await made.releases.start();
    await made.#followOthers();
    return made;
  }

  async #followOthers(): Promise<void> {
    const { points, changes } = this;
    await this.#board?.follow({
      said: (replica, notices, isWhole) => {
        points.said(replica, notices, isWhole);
        changes.said(replica, notices);
      },
      left: (replica, how) => points.left(replica, how),
      fault: this.#onFault,
    });
  }

  /** What another control plane has announced is in the database: from then on this one has it as well. */
  async #catchUp(isDrill: boolean): Promise<void> {
    await Promise.all([this.rollouts.follow(), this.releases.follow(), this.documents.follow()]);
    if (isDrill) this.hub.changedAll();
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
    this.own.releaseHere(key, releases);
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
  async following<T>(
    act: () => T | Promise<T>,
    isDrill = false,
  ): Promise<{ readonly done: T; readonly change: string }> {
    const before = this.hub.version;
    // Proxies may confirm before this has come back: the time runs from the press of the button.
    const at = this.#timers.now();
    const { concerns, stop } = this.hub.gather();
    let done: T;
    try {
      done = await act();
    } finally {
      stop();
    }
    return { done, change: await this.#follow(before, at, concerns(), isDrill) };
  }

  async #follow(before: number, at: number, concerns: Concerns, isDrill: boolean): Promise<string> {
    const own = [...this.own.all].filter(({ wanted }) => wanted > before);
    const change = this.changes.follow(new Map(own.map(({ key, wanted }) => [key, wanted])), at, concerns);
    if (this.#board === undefined || (concerns !== 'all' && concerns.size === 0)) return change;
    // The others find in the database what they are told of.
    const told = this.releases.kept().then(() => this.changes.announce(change, { concerns, isDrill }));
    // A release is in force here by now; who pressed it is answered when it is with the others, or when that takes long.
    const late = Promise.withResolvers<void>();
    const cancel = this.#timers.after(TOLD_MS, late.resolve);
    await Promise.race([told, late.promise]);
    cancel();
    return change;
  }

  /** Sends every point its state over the way that a release takes, and waits for all of them at most `ms`. */
  async drill(who: Actor, ms: number) {
    const { change } = await this.following(() => this.hub.changedAll(), true);
    let progress = this.changes.progress(change);
    const { confirmed, waiting } = progress;
    const all = confirmed.length + waiting.length;
    progress = await this.changes.wait(change, all, ms);
    // A drill proves the way to the proxies that are there: one that has left cannot take part in it. One whose control plane
    // is silent may be there, and was not reached.
    const here = progress.waiting.filter(({ point }) => point.connected || point.unheard === true).length;
    this.releases.drilled(who, progress.confirmed.length + here, progress.confirmed.length);
    return progress;
  }

  async close(): Promise<void> {
    this.canaries.stop();
    this.#ends.stop();
    this.#watchedHours.stop();
    this.rollouts.close();
    this.releases.close();
    this.documents.close();
    this.points.close();
    await this.evidence.close();
    await this.#board?.close();
  }
}
