import type { SpiffeId } from '../access/index.ts';
import type { AccessPolicy, Stage, Tier } from '../policy/index.ts';

/**
 * How a workload takes connections: `plaintext` only in plain text, `permissive` both on one port, `strict` only with
 * mutual TLS.
 */
export const AUTHENTICATION_STAGES = ['plaintext', 'permissive', 'strict'] as const;
export type AuthenticationStage = (typeof AUTHENTICATION_STAGES)[number];

/** What is released: enforcement becomes shadow there, authentication stays. */
export type ReleaseScope =
  | { readonly kind: 'all' }
  | { readonly kind: 'cluster'; readonly cluster: string }
  | { readonly kind: 'namespace'; readonly namespace: string }
  | { readonly kind: 'workload'; readonly workload: SpiffeId }
  /** Every workload that the policy protects, wholly: without one of its policies a workload would deny more, not less. */
  | { readonly kind: 'policy'; readonly policy: string };

/** The red button pressed. Times are milliseconds since 1970 UTC. */
export interface Release {
  readonly id: string;
  readonly scope: ReleaseScope;
  readonly reason: string;
  readonly by: string;
  readonly at: number;
  /** When it ends by itself; absent where only `arm` ends it. */
  readonly until?: number;
  /** Proves the way to every enforcement point and changes no verdict. */
  readonly drill?: true;
}

/** How far one workload has come. `target` is its complete target set; what is promoted is always all of it. */
export interface WorkloadRollout {
  readonly workload: SpiffeId;
  readonly tier: Tier;
  /** Of the target: `draft` is shipped to nobody. */
  readonly stage: Stage;
  readonly target: readonly AccessPolicy[];
  /** Of the target: grows with each other one. Absent of a target that an earlier program kept. */
  readonly targetVersion?: number;
  /** Who has written of the target since it was last in force: what was learned and only approved has no author. */
  readonly authors?: readonly string[];
  /** The set in force everywhere (in a canary: on the proxies outside the share); absent before the first promotion. */
  readonly enforced?: readonly AccessPolicy[];
  /** 0 to 1: the share of proxies that enforce the target, in a canary. */
  readonly share: number;
  readonly authentication: AuthenticationStage;
  /** Milliseconds since 1970 UTC, and by whom, of the last move. */
  readonly since: number;
  readonly by: string;
  /** Since when the target is judged in shadow; absent in draft, and of a rollout that an earlier program kept. */
  readonly shadowSince?: number;
  /** Since when some proxies enforce the target, in a canary; absent of one that an earlier program began. */
  readonly canarySince?: number;
  /** It moves forward by itself no more until a person moves it or says so: who has said that, when, and why. */
  readonly held?: Held;
  /**
   * The strictest tier that a promotion was asked for since a target last came into force by all its gates: no later target is
   * asked for less. Absent where the target itself says no less.
   */
  readonly floor?: Tier;
  /** By which gates the canary, or what is in force, was judged last; absent of the steps that an earlier program made. */
  readonly judged?: Judged;
}

/** By the gates of which tier a step up was judged. */
export interface Judged {
  readonly tier: Tier;
  /** What was not passed: it went on all the same. */
  readonly missing?: readonly string[];
}

/** Why a workload does not move forward by itself. `at` is milliseconds since 1970 UTC. */
export interface Held {
  readonly by: string;
  readonly at: number;
  readonly why: string;
}

/** An enforcement point: one proxy, and one of the workloads that it serves. */
export interface EnforcementPoint {
  readonly workload: SpiffeId;
  /** Which of the proxies of that workload: stable over restarts. */
  readonly instance: string;
  /** The cluster it runs in; absent where there is only one. */
  readonly cluster?: string;
}

/** What an enforcement point does for one workload: complete, and plain data. */
export interface Enforcement {
  readonly workload: SpiffeId;
  readonly authentication: AuthenticationStage;
  readonly stage: Stage;
  /** The policies that bite here; absent: nothing is denied (draft, shadow, outside a first canary's share, released). */
  readonly enforced?: readonly AccessPolicy[];
  /** The complete target set, whose verdicts are reported; absent in `draft`. */
  readonly target?: readonly AccessPolicy[];
  /** Its version: what the target said is reported with it. */
  readonly targetVersion?: number;
  /** The release that keeps `enforced` away. */
  readonly released?: { readonly id: string; readonly until?: number };
}
