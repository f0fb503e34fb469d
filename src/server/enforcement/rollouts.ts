import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, type Stage, type Tier } from '../../policy/index.ts';
import {
  authenticate,
  type AuthenticationStage,
  hold,
  moveTo,
  newRollout,
  retarget,
  withFloor,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { Change, IdentityStore, Json } from '../../store/index.ts';
import { Following } from '../identity/following.ts';
import type { Actor, Recorder } from '../identity/recorder.ts';
import { inTime } from '../in-time.ts';
import type { Timers } from '../timers.ts';
import { checkSame, isEqual, ROLLOUTS, rolloutOf, rolloutsOf, tooMany } from './rollout-document.ts';
import type { AppliedPolicies, DecidedOn, Details, MoveOrder, RetargetOrder } from './rollout-orders.ts';
import { Unreadable } from './unreadable.ts';

/** Policies of the estate. */
const MAX_WORKLOADS = 20_000;

export interface RolloutsOptions {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /**
   * `hasNewTarget`: what was seen of the old target says nothing of this one, and its room can be had. Whether it is shown
   * does not depend on this call: flips carry the version of their target, which is kept with the rollout. `isOwn`: this
   * control plane has changed it, and not another one.
   */
  readonly onChange: (workload: SpiffeId, hasNewTarget: boolean, isOwn: boolean) => void;
  /** Something of another replica that cannot be followed. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/** How far every workload has come: the single writer of that. A step is durable before it is in force. */
export class Rollouts {
  readonly #options: RolloutsOptions;
  readonly #all: Map<SpiffeId, WorkloadRollout>;
  /** Of the documents in the store, by their names: a change that another replica made first is a `conflict`. */
  readonly #versions: Map<string, number>;
  readonly #unreadable: Unreadable;
  readonly #following: Following;
  #markOf: (workload: SpiffeId) => Tier | undefined = () => undefined;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    options: RolloutsOptions,
    all: Map<SpiffeId, WorkloadRollout>,
    versions: Map<string, number>,
  ) {
    this.#options = options;
    this.#all = all;
    this.#versions = versions;
    const { timers, onFault = () => {} } = options;
    this.#unreadable = new Unreadable(ROLLOUTS, onFault);
    this.#following = new Following(timers, onFault);
  }

  /** Throws `state` where a document cannot be read: what it enforces would be enforced no more. */
  static async open(options: RolloutsOptions): Promise<Rollouts> {
    const { all, versions } = rolloutsOf(await options.store.documents('rollout'));
    const made = new Rollouts(options, all, versions);
    // Own ones as well: one whose answer was lost may have been made after all.
    made.#following.on(['rollout'], (names) => made.follow(names), { alsoOwn: true });
    await made.#following.start(options.store);
    return made;
  }

  close(): void {
    this.#following.stop();
  }

  /** Who knows the tier that workloads are marked with: it is asked at each change. */
  markedBy(markOf: (workload: SpiffeId) => Tier | undefined): void {
    this.#markOf = markOf;
  }

  /** Throws `unavailable` where a workload has a document that cannot be read: what is in force for it is not known here. */
  checkReadable(workload: SpiffeId): void {
    this.#unreadable.check(workload);
  }

  /** Throws `unavailable` where the document of some workload cannot be read. */
  checkAllReadable(): void {
    this.#unreadable.checkAll();
  }

  /** Takes over what other replicas have changed, of these workloads or of all. What cannot be read stays as it was. */
  follow(names?: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      const { store, onChange, onFault } = this.#options;
      for (const document of await store.documents('rollout', names)) {
        const { name, version } = document;
        if (version === this.#versions.get(name)) continue;
        let rollout: WorkloadRollout;
        try {
          rollout = rolloutOf(document);
        } catch (error) {
          this.#unreadable.add(document, error);
          continue;
        }
        // Only now: what is decided here on what was before must not write over what cannot be read.
        this.#versions.set(name, version);
        this.#unreadable.delete(name);
        const before = this.#all.get(rollout.workload);
        this.#all.set(rollout.workload, rollout);
        try {
          onChange(rollout.workload, before?.targetVersion !== rollout.targetVersion, false);
        } catch (error) {
          onFault?.(error);
        }
      }
    });
  }

  get all(): ReadonlyMap<SpiffeId, WorkloadRollout> {
    return this.#all;
  }

  /** Throws `not_found`. */
  get(workload: SpiffeId): WorkloadRollout {
    const found = this.#all.get(workload);
    if (found !== undefined) return found;
    throw new InterlockError('not_found', workload, `no policy protects ${workload}: apply one first`);
  }

  /**
   * Adds policies to the target sets, or replaces those of the same name; all of them or none. What is in force stays
   * in force until it is promoted. Throws `invalid_document`, `limit`.
   */
  apply(who: Actor, documents: readonly AccessPolicy[]): Promise<AppliedPolicies> {
    return this.#inTurn(async () => {
      const created: string[] = [];
      const changed: string[] = [];
      const unchanged: string[] = [];
      const next: WorkloadRollout[] = [];
      for (const [workload, own] of Map.groupBy(documents, ({ spec }) => spec.protects.workload)) {
        const before = this.#all.get(workload);
        const target = new Map(before?.target.map((policy) => [policy.metadata.name, policy]));
        let isSame = true;
        for (const policy of own) {
          const known = target.get(policy.metadata.name);
          const list = known === undefined ? created : isEqual(known, policy) ? unchanged : changed;
          list.push(policy.metadata.name);
          if (list === unchanged) continue;
          isSame = false;
          target.set(policy.metadata.name, policy);
        }
        if (isSame) continue;
        const policies = [...target.values()];
        compile(policies);
        next.push(
          before === undefined
            ? newRollout(workload, policies, this.#move(who, workload))
            : retarget(before, policies, this.#move(who, workload)),
        );
      }
      const added = next.filter(({ workload }) => !this.#all.has(workload)).length;
      if (this.#all.size + added > MAX_WORKLOADS) throw tooMany(MAX_WORKLOADS);
      const workloads = next.map(({ workload }) => workload);
      await this.#keep(who, 'policy.apply', next, { created, changed, workloads });
      return { workloads: next.map(({ workload }) => workload), created, changed, unchanged };
    });
  }

  /** Takes a policy out of the target of its workload. What is in force stays until that is promoted. Throws `not_found`. */
  remove(
    who: Actor,
    workload: SpiffeId,
    name: string,
    { decidedOn }: DecidedOn = {},
  ): Promise<WorkloadRollout> {
    return this.#one(who, 'policy.remove', workload, (rollout) => {
      checkSame(rollout, decidedOn);
      const target = rollout.target.filter(({ metadata }) => metadata.name !== name);
      if (target.length === rollout.target.length)
        throw new InterlockError('not_found', name, `${workload} has no policy "${name}"`);
      return retarget(rollout, target, this.#move(who, workload));
    });
  }

  /** Gives a workload another target set. Throws `conflict` where the rollout is not what was decided on, `invalid_document`. */
  retarget(who: Actor, workload: SpiffeId, order: RetargetOrder): Promise<WorkloadRollout> {
    return this.#inTurn(async () => {
      const { target, isLearned, alsoBy, decidedOn, act, details, also, onKept } = order;
      const before = this.#all.get(workload);
      if (before !== decidedOn)
        throw new InterlockError('conflict', workload, `${workload} was changed meanwhile: look again`);
      compile(target);
      const move = { ...this.#move(who, workload), alsoBy, ...(isLearned === true ? { isLearned } : {}) };
      const next = before === undefined ? newRollout(workload, target, move) : retarget(before, target, move);
      if (before === undefined && this.#all.size >= MAX_WORKLOADS) throw tooMany(MAX_WORKLOADS);
      await this.#keep(who, act, [next], { workload, ...details }, also);
      onKept();
      return next;
    });
  }

  /**
   * Moves the target to a stage; `guard` of the order judges in the same turn whether it may. Throws `not_found`,
   * `conflict`, `usage`, and what the guard throws.
   */
  move(who: Actor, workload: SpiffeId, to: Stage, order: MoveOrder = {}): Promise<WorkloadRollout> {
    const { share, why, decidedOn, guard, note } = order;
    const details: Record<string, Json> = { ...(why === undefined ? {} : { why }), ...note };
    const step = (rollout: WorkloadRollout) => {
      checkSame(rollout, decidedOn);
      const move = { ...this.#move(who, workload), why };
      // A step that there is none of is refused for that, whatever the checks say.
      moveTo(rollout, to, move, share);
      const guarded = guard?.(rollout);
      Object.assign(details, guarded?.note);
      return moveTo(rollout, to, { ...move, judged: guarded?.judged }, share);
    };
    return this.#one(who, `rollout.${to}`, workload, step, details);
  }

  /** Keeps a workload from moving forward by itself, or lets it again where there is no reason. Throws `not_found`. */
  hold(who: Actor, workload: SpiffeId, why: string | undefined): Promise<WorkloadRollout> {
    const held = why === undefined ? undefined : { by: who, at: this.#options.timers.now(), why };
    const act = held === undefined ? 'rollout.go-on' : 'rollout.hold';
    return this.#one(who, act, workload, (rollout) => hold(rollout, held), why === undefined ? {} : { why });
  }

  /** Keeps the tier that a workload is marked with, so that it stays when the mark goes. Throws `not_found`. */
  noteMark(workload: SpiffeId): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.get(workload);
      const mark = this.#markOf(workload);
      const next = withFloor(before, mark);
      if (next === before) return;
      const details = { workload, tier: next.floor ?? null, mark: mark ?? null };
      await this.#keep('system', 'rollout.tier', [next], details);
    });
  }

  /** Changes how a workload takes connections; it need not have a policy. */
  authenticate(
    who: Actor,
    workload: SpiffeId,
    stage: AuthenticationStage,
    { decidedOn }: DecidedOn = {},
  ): Promise<WorkloadRollout> {
    const act = `authentication.${stage}`;
    const step = (rollout: WorkloadRollout) => {
      checkSame(rollout, decidedOn);
      return authenticate(rollout, stage, this.#move(who, workload));
    };
    const instead = newRollout(workload, [], this.#move(who, workload));
    return this.#one(who, act, workload, step, {}, instead);
  }

  #one(
    who: Actor,
    act: string,
    workload: SpiffeId,
    step: (rollout: WorkloadRollout) => WorkloadRollout,
    more: Details = {},
    instead?: WorkloadRollout,
  ): Promise<WorkloadRollout> {
    return this.#inTurn(async () => {
      const next = step(this.#all.get(workload) ?? instead ?? this.get(workload));
      const { stage, share, authentication } = next;
      await this.#keep(who, act, [next], {
        workload,
        stage,
        share,
        authentication,
        ...more,
      });
      return next;
    });
  }

  async #keep(
    who: Actor,
    act: string,
    next: readonly WorkloadRollout[],
    details: Json,
    also: readonly Change[] = [],
  ): Promise<void> {
    if (next.length === 0) return;
    const { recorder, onChange } = this.#options;
    const what = next.length === 1 ? (next[0]?.workload ?? '') : `${next.length} workloads`;
    await recorder.record(
      // A rollout is plain data.
      [
        ...next.map((rollout) => ({
          change: 'put' as const,
          kind: 'rollout' as const,
          name: rollout.workload,
          data: { ...rollout } as unknown as Json,
          expect: this.#versions.get(rollout.workload) ?? 0,
        })),
        ...also,
      ],
      recorder.entry(who, act, what, details),
    );
    const changed = next.map(
      ({ workload, target }) => [workload, this.#all.get(workload)?.target !== target] as const,
    );
    for (const rollout of next) {
      this.#all.set(rollout.workload, rollout);
      this.#versions.set(rollout.workload, (this.#versions.get(rollout.workload) ?? 0) + 1);
    }
    for (const [workload, hasNewTarget] of changed) onChange(workload, hasNewTarget, true);
  }

  #move(by: Actor, workload: SpiffeId) {
    return { by, now: this.#options.timers.now(), mark: this.#markOf(workload) };
  }

  /**
   * One step after the other: each sees what the one before has kept. A database that hangs makes the caller come back later,
   * but a step that has begun is waited for: one that is durable is in force, now and not only after a restart.
   */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const take = (turn: () => Promise<T>) => {
      const done = this.#last.then(turn, turn);
      this.#last = done.catch(() => {});
      return done;
    };
    return inTime(take, step, this.#options.timers);
  }
}
