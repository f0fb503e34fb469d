import type { SpiffeId } from '../access/index.ts';

export const API_VERSION = 'interlock.dev/v1alpha1';
export const POLICY_KIND = 'AccessPolicy';

/** How much evidence and how many approvals a promotion needs. */
export const TIERS = ['critical', 'standard', 'experimental'] as const;
export type Tier = (typeof TIERS)[number];

/** How far a policy has come. `released` overlays any of them and is never written in a document. */
export const STAGES = ['draft', 'shadow', 'canary', 'enforced'] as const;
export type Stage = (typeof STAGES)[number];

/**
 * Whom a rule is about. `workload` is a SPIFFE ID, or one with a trailing `/*` for everything below that path.
 * `unauthenticated.from` is a CIDR, or the name of an entity (`world`, `host`, ...).
 */
export type From =
  | { readonly workload: string }
  | { readonly trustDomain: string }
  | { readonly user: { readonly issuer: string; readonly subject: string } }
  | { readonly group: string }
  | { readonly unauthenticated: { readonly from: string } };

/** What a rule is about. Absent `ports`, `methods` or `paths` mean any; empty lists are refused. */
export type To =
  | { readonly tcp: Readonly<Record<string, never>>; readonly ports?: readonly number[] }
  | {
      readonly http: { readonly methods?: readonly string[]; readonly paths?: readonly string[] };
      readonly ports?: readonly number[];
    }
  | {
      readonly grpc: { readonly service: string; readonly methods?: readonly string[] };
      readonly ports?: readonly number[];
    };

/** What a proposed rule rests on, for the reviewer. It never changes a verdict. */
export interface RuleEvidence {
  readonly views: readonly ('observed' | 'declared')[];
  /** Calls that reached the callee. */
  readonly count: number;
  /** ISO 8601, UTC. Absent where nothing was observed. */
  readonly firstSeen?: string;
  readonly lastSeen?: string;
  readonly days: number;
  readonly hoursOfWeek: number;
  /** Caller instances; 16 means 16 or more. */
  readonly instances: number;
  readonly sources: readonly string[];
  /** Where it is declared: `env REDIS_ADDR of container server in Deployment cartservice`. */
  readonly declared?: readonly string[];
}

export interface Rule {
  readonly name: string;
  readonly from: readonly From[];
  readonly to: readonly To[];
  /** CEL over the request; absent or "" means always. */
  readonly when?: string;
  /**
   * When the rule ends by itself (RFC 3339 with a zone): from then on it is as if it were not there. Only of `rules`: a
   * rule that denies has no end, because its end would allow what nobody has approved.
   */
  readonly until?: string;
  /** Why there is an exception, for people. */
  readonly reason?: string;
  readonly evidence?: RuleEvidence;
}

/** One policy document: what may be done to one workload. What no rule allows is denied once enforced. */
export interface AccessPolicy {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: typeof POLICY_KIND;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly protects: { readonly workload: SpiffeId };
    readonly tier: Tier;
    readonly stage: Stage;
    readonly rules: readonly Rule[];
    /** Same shape as `rules`; wins over them. */
    readonly deny: readonly Rule[];
    /** How long an open connection stays that the policy, once it changes, no longer allows: `30s`, `10m`. */
    readonly connectionGrace?: string;
  };
}
