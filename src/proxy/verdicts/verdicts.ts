import { type Action, InterlockError, type Principal, type SpiffeId } from '../../access/index.ts';
import type { RequestAttributes } from '../../policy/index.ts';
import type { AuthenticationStage, Enforcement } from '../../rollout/index.ts';
import type { Judge, Judgement } from '../types.ts';
import { UNGOVERNED, WorkloadJudge } from './workload-judge.ts';

/** Where no state speaks of a workload, plain text is refused: nothing says that it may be taken. */
const DEFAULT_AUTHENTICATION: AuthenticationStage = 'strict';

/** Told of what went wrong inside judging, which no caller sees. */
export type OnJudgeFault = (error: unknown) => void;

/**
 * The verdicts of one proxy, for all its workloads. A new state takes the place of the old one as a whole, between two
 * requests; where any of it cannot be used, none of it is, and the old one stays.
 */
export class Verdicts implements Judge {
  #judges: ReadonlyMap<SpiffeId, WorkloadJudge> = new Map();
  #version = 0;
  #faults = 0;
  readonly #onFault: OnJudgeFault;
  readonly #now: () => number;
  readonly #listeners = new Set<() => void>();

  /** `now` is what rules end by, milliseconds since 1970 UTC; without it every rule that has an end is over. */
  constructor(onFault: OnJudgeFault = () => {}, now: () => number = () => Number.POSITIVE_INFINITY) {
    this.#onFault = onFault;
    this.#now = now;
  }

  /** Grows with each state; what was judged under another version may be judged otherwise now. */
  get version(): number {
    return this.#version;
  }

  /** Judgements that failed from within; see {@link WorkloadJudge.judge} for what they came to. */
  get faults(): number {
    return this.#faults;
  }

  /** Takes a complete state: what it does not name is no longer governed. Throws `conflict` for a workload named twice,
   * and what `compile` throws; then the state before stays. */
  replace(enforcements: readonly Enforcement[]): void {
    const next = new Map<SpiffeId, WorkloadJudge>();
    for (const enforcement of enforcements) {
      const { workload } = enforcement;
      if (next.has(workload)) {
        throw new InterlockError('conflict', workload, `the state names ${workload} twice`);
      }
      // An unchanged workload keeps its indexes: a state of a thousand workloads often differs in one.
      const before = this.#judges.get(workload);
      next.set(
        workload,
        before !== undefined && before.enforcement === enforcement
          ? before
          : new WorkloadJudge(enforcement, (error) => this.#fault(error), this.#now),
      );
    }
    this.#judges = next;
    this.#version++;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` after each new state, until the function it gives back is called. */
  onReplace(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  judge(workload: SpiffeId, caller: Principal, action: Action, attributes?: RequestAttributes): Judgement {
    const judge = this.#judges.get(workload);
    return judge === undefined ? UNGOVERNED : judge.judge(caller, action, attributes);
  }

  /** How new connections to the workload are taken. */
  authenticationOf(workload: SpiffeId): AuthenticationStage {
    return this.#judges.get(workload)?.authentication ?? DEFAULT_AUTHENTICATION;
  }

  #fault(error: unknown): void {
    this.#faults++;
    this.#onFault(error);
  }
}
