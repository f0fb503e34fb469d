import { z } from 'zod';
import { InterlockError, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, compile, STAGES, type Stage, TIERS } from '../../policy/index.ts';
import {
  authenticate,
  AUTHENTICATION_STAGES,
  type AuthenticationStage,
  moveTo,
  newRollout,
  retarget,
  type WorkloadRollout,
} from '../../rollout/index.ts';
import type { Change, IdentityStore, Json } from '../../store/index.ts';
import { type Actor, type Recorder, STORE_WAIT_MS } from '../identity/recorder.ts';
import { type Timers, within } from '../timers.ts';

/** Policies of the estate. */
const MAX_WORKLOADS = 20_000;

// Of the policies only the outer shape: `compile` checks them as it checks every document.
const policies = z.array(z.custom<AccessPolicy>((value) => typeof value === 'object' && value !== null));
const schema = z.strictObject({
  workload: z.string().transform((id) => parseSpiffeId(id)),
  tier: z.enum(TIERS),
  stage: z.enum(STAGES),
  target: policies,
  targetVersion: z.number().exactOptional(),
  authors: z.array(z.string()).exactOptional(),
  enforced: policies.optional(),
  share: z.number().min(0).max(1),
  authentication: z.enum(AUTHENTICATION_STAGES),
  since: z.number(),
  by: z.string(),
});

/** What applying policies has changed: the workloads whose target is another one now, and policies by name. */
export interface AppliedPolicies {
  readonly workloads: readonly SpiffeId[];
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly unchanged: readonly string[];
}

export interface MoveOrder {
  /** 0 to 1, for a canary. */
  readonly share?: number | undefined;
  /** For the audit log. */
  readonly why?: string | undefined;
  /** Why it is moved though checks fail, and which do: for the audit log. */
  readonly anyway?: { readonly reason: string; readonly missing: readonly string[] } | undefined;
  /** The rollout that the decision was made on: where it is another one now, nothing is moved. */
  readonly decidedOn?: WorkloadRollout | undefined;
}

/** Another target set, decided on by a person who has looked at what there was. */
export interface RetargetOrder {
  readonly target: readonly AccessPolicy[];
  /** As `Move` says. */
  readonly isLearned?: true | undefined;
  /** The rollout that was looked at; undefined where there was none. */
  readonly decidedOn: WorkloadRollout | undefined;
  /** For the audit log. */
  readonly act: string;
  readonly details: { readonly [key: string]: Json };
  /** Made together with it, or neither is. */
  readonly also: readonly Change[];
  /** Called once all of it is durable. */
  readonly onKept: () => void;
}

export interface RolloutsOptions {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  /**
   * `hasNewTarget`: what was seen of the old target says nothing of this one, and its room can be had. Whether it is shown
   * does not depend on this call: flips carry the version of their target, which is kept with the rollout.
   */
  readonly onChange: (workload: SpiffeId, hasNewTarget: boolean) => void;
  /** Something of another replica that cannot be followed. */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/** How far every workload has come: the single writer of that. A step is durable before it is in force. */
export class Rollouts {
  readonly #options: RolloutsOptions;
  readonly #all: Map<SpiffeId, WorkloadRollout>;
  /** Of the documents in the store, by their names: a change that another replica made first is a `conflict`. */
  readonly #versions: Map<string, number>;
  /** Names of documents that cannot be read, each with the reason: they enforce nothing. */
  readonly unreadable: ReadonlyMap<string, string>;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    options: RolloutsOptions,
    all: Map<SpiffeId, WorkloadRollout>,
    versions: Map<string, number>,
    unreadable: ReadonlyMap<string, string>,
  ) {
    this.#options = options;
    this.#all = all;
    this.#versions = versions;
    this.unreadable = unreadable;
  }

  static async open(options: RolloutsOptions): Promise<Rollouts> {
    const all = new Map<SpiffeId, WorkloadRollout>();
    const versions = new Map<string, number>();
    const unreadable = new Map<string, string>();
    let made: Rollouts | undefined;
    await options.store.watch(({ own, missed, touched }) => {
      const concerns = missed === true || (!own && touched.some(({ kind }) => kind === 'rollout'));
      if (concerns) made?.follow().catch(options.onFault ?? (() => {}));
    });
    for (const { name, version, data } of await options.store.documents('rollout')) {
      versions.set(name, version);
      try {
        const rollout = rolloutOf(data);
        all.set(rollout.workload, rollout);
      } catch (error) {
        unreadable.set(name, error instanceof Error ? error.message : String(error));
      }
    }
    made = new Rollouts(options, all, versions, unreadable);
    return made;
  }

  /** Takes over what other replicas have changed. What cannot be read stays as it was. */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const { store, onChange, onFault } = this.#options;
      for (const { name, version, data } of await store.documents('rollout')) {
        if (version === this.#versions.get(name)) continue;
        this.#versions.set(name, version);
        try {
          const rollout = rolloutOf(data);
          const before = this.#all.get(rollout.workload);
          this.#all.set(rollout.workload, rollout);
          onChange(rollout.workload, before?.targetVersion !== rollout.targetVersion);
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
            ? newRollout(workload, policies, this.#move(who))
            : retarget(before, policies, this.#move(who)),
        );
      }
      const added = next.filter(({ workload }) => !this.#all.has(workload)).length;
      if (this.#all.size + added > MAX_WORKLOADS) throw tooMany();
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
    { decidedOn }: Pick<MoveOrder, 'decidedOn'> = {},
  ): Promise<WorkloadRollout> {
    return this.#one(who, 'policy.remove', workload, (rollout) => {
      checkSame(rollout, decidedOn);
      const target = rollout.target.filter(({ metadata }) => metadata.name !== name);
      if (target.length === rollout.target.length)
        throw new InterlockError('not_found', name, `${workload} has no policy "${name}"`);
      return retarget(rollout, target, this.#move(who));
    });
  }

  /** Gives a workload another target set. Throws `conflict` where the rollout is not what was decided on, `invalid_document`. */
  retarget(who: Actor, workload: SpiffeId, order: RetargetOrder): Promise<WorkloadRollout> {
    return this.#inTurn(async () => {
      const { target, isLearned, decidedOn, act, details, also, onKept } = order;
      const before = this.#all.get(workload);
      if (before !== decidedOn)
        throw new InterlockError('conflict', workload, `${workload} was changed meanwhile: look again`);
      compile(target);
      const move = { ...this.#move(who), ...(isLearned === true ? { isLearned } : {}) };
      const next = before === undefined ? newRollout(workload, target, move) : retarget(before, target, move);
      if (before === undefined && this.#all.size >= MAX_WORKLOADS) throw tooMany();
      await this.#keep(who, act, [next], { workload, ...details }, also);
      onKept();
      return next;
    });
  }

  /** Moves the target to a stage. Throws `not_found`, `conflict`, `usage`. */
  move(who: Actor, workload: SpiffeId, to: Stage, order: MoveOrder = {}): Promise<WorkloadRollout> {
    const step = (rollout: WorkloadRollout) => {
      checkSame(rollout, order.decidedOn);
      return moveTo(rollout, to, this.#move(who), order.share);
    };
    return this.#one(who, `rollout.${to}`, workload, step, order);
  }

  /** Changes how a workload takes connections; it need not have a policy. */
  authenticate(
    who: Actor,
    workload: SpiffeId,
    stage: AuthenticationStage,
    { decidedOn }: Pick<MoveOrder, 'decidedOn'> = {},
  ): Promise<WorkloadRollout> {
    const act = `authentication.${stage}`;
    const step = (rollout: WorkloadRollout) => {
      checkSame(rollout, decidedOn);
      return authenticate(rollout, stage, this.#move(who));
    };
    return this.#one(who, act, workload, step, undefined, newRollout(workload, [], this.#move(who)));
  }

  #one(
    who: Actor,
    act: string,
    workload: SpiffeId,
    step: (rollout: WorkloadRollout) => WorkloadRollout,
    { why, anyway }: Pick<MoveOrder, 'why' | 'anyway'> = {},
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
        ...(why === undefined ? {} : { why }),
        ...(anyway === undefined ? {} : { anyway: anyway.reason, missing: [...anyway.missing] }),
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
    for (const [workload, hasNewTarget] of changed) onChange(workload, hasNewTarget);
  }

  #move(by: Actor) {
    return { by, now: this.#options.timers.now() };
  }

  /**
   * One step after the other: each sees what the one before has kept. A database that hangs makes the caller come back later,
   * but the step is waited for: one that is durable is in force, now and not only after a restart.
   */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const done = this.#last.then(step, step);
    this.#last = done.catch(() => {});
    return within(done, STORE_WAIT_MS, this.#options.timers, () => {
      const text = `the database did not answer within ${STORE_WAIT_MS / 1000} s: the change is made as soon as it does; look at the disk of the control plane, and at "interlock policy list" before you try again`;
      return new InterlockError('unavailable', 'database', text);
    });
  }
}

/** Throws `conflict` where a decision was made on another state of the rollout. */
function checkSame(rollout: WorkloadRollout, decidedOn: WorkloadRollout | undefined): void {
  if (decidedOn === undefined || rollout === decidedOn) return;
  throw new InterlockError(
    'conflict',
    rollout.workload,
    `${rollout.workload} was moved meanwhile: look again`,
  );
}

function tooMany(): InterlockError {
  return new InterlockError('limit', 'policies', `policies protect at most ${MAX_WORKLOADS} workloads`);
}

function rolloutOf(data: Json): WorkloadRollout {
  const { enforced, ...rest } = schema.parse(data);
  compile(rest.target);
  if (enforced !== undefined) compile(enforced);
  return { ...rest, ...(enforced === undefined ? {} : { enforced }) };
}

function isEqual(a: AccessPolicy, b: AccessPolicy): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
