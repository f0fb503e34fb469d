import type { Tier } from '../policy/index.ts';
import { DEFAULT_GATES, type TierGates } from './tier-gates.ts';
import type { TierVerdict } from './judge.ts';

/** The checks in the order in which they are shown. */
export const PREFLIGHT_CHECKS = [
  'policy',
  'identities',
  'bundles',
  'clocks',
  'proxies',
  'plaintext',
  'flips',
  'readiness',
  'losses',
  'drill',
] as const;
export type PreflightCheck = (typeof PREFLIGHT_CHECKS)[number];

/** What is known of a workload before a promotion. Times are milliseconds since 1970 UTC. */
export interface PreflightFacts {
  readonly now: number;
  readonly tier: Tier;
  /** Policies of the target set. */
  readonly policies: number;
  /** Live SVIDs of the workload, and of those the ones past three quarters of their life: nobody renews them. */
  readonly svids: { readonly live: number; readonly stale: number };
  /** Connected node agents that have not confirmed the newest bundles. */
  readonly agentsBehind: readonly string[];
  /** Proxies of the workload that are known. */
  readonly proxies: readonly {
    readonly key: string;
    readonly connected: boolean;
    readonly isUpToDate: boolean;
    /** How far its clock is from the control plane's, in milliseconds; absent where it did not say. */
    readonly clockOffset?: number;
    readonly fault?: string;
  }[];
  /** Callers without an identity in the last day. */
  readonly plaintextCallers: readonly {
    readonly from: string;
    readonly connections: number;
    readonly lastSeen: number;
  }[];
  /** Accesses allowed today that the target would deny, since it is the target, but for those that it denies on purpose. */
  readonly wouldDeny: readonly { readonly what: string; readonly count: number }[];
  /** The evidence, judged for the tier; absent where there is none. */
  readonly readiness?: TierVerdict;
  /** What the engine of a proxy cannot express so that more is allowed than written. */
  readonly widerLosses: readonly string[];
  /** When the last drill was that every proxy confirmed. */
  readonly lastDrill?: number;
}

/** One check: passed, or with what to do in words that a person can act on. */
export type CheckResult =
  | { readonly check: PreflightCheck; readonly state: 'passed'; readonly have: string }
  | {
      readonly check: PreflightCheck;
      readonly state: 'failed';
      readonly have: string;
      readonly what: string;
    };

/** Furthest that a clock may be off: certificates are back-dated by 10 s. Milliseconds. */
const CLOCK_MS = 5000;
const DAY_MS = 86_400_000;

type Check = (facts: PreflightFacts, gates: TierGates) => { have: string; what?: string | undefined };

const CHECKS: Readonly<Record<PreflightCheck, Check>> = {
  policy: ({ policies }) => ({
    have: policies === 0 ? 'none' : counted(policies, 'policy', 'policies'),
    what: unless(policies > 0, 'apply one that protects it: "interlock propose --out DIRECTORY" writes them'),
  }),
  identities: ({ svids: { live, stale } }) => ({
    have: `${live} live${stale > 0 ? `, ${stale} overdue for renewal` : ''}`,
    what:
      live === 0
        ? 'give the workload an identity: "interlock identity explain" says what it would get'
        : stale > 0
          ? 'see why its agents do not renew: "interlock authority agents"'
          : undefined,
  }),
  bundles: ({ agentsBehind }) => ({
    have: agentsBehind.length === 0 ? 'everywhere' : `${agentsBehind.length} behind`,
    what: unless(agentsBehind.length === 0, `see why these agents do not confirm: ${named(agentsBehind)}`),
  }),
  clocks: ({ proxies }) => {
    const off = proxies.filter(({ clockOffset = 0 }) => Math.abs(clockOffset) > CLOCK_MS);
    return {
      have: off.length === 0 ? 'together' : `${off.length} more than ${CLOCK_MS / 1000} s off`,
      what: unless(off.length === 0, `set the clocks of ${named(off.map(({ key }) => key))}`),
    };
  },
  proxies: ({ proxies }) => {
    const away = proxies.filter(({ connected }) => !connected);
    const behind = proxies.filter(({ connected, isUpToDate }) => connected && !isUpToDate);
    const why = behind.map(({ key, fault }) => (fault === undefined ? key : `${key} (${fault})`));
    return {
      have: `${proxies.length - away.length} connected, ${behind.length} behind, ${away.length} away`,
      what:
        proxies.length === 0
          ? 'put a proxy before the workload: nothing enforces there'
          : behind.length > 0
            ? `see why they do not have the newest state: ${named(why)}`
            : unless(
                away.length === 0,
                `start them; who stays away is forgotten after a day: ${named(away.map(({ key }) => key))}`,
              ),
    };
  },
  plaintext: ({ plaintextCallers }) => ({
    have:
      plaintextCallers.length === 0 ? 'none in the last day' : `${plaintextCallers.length} in the last day`,
    what: unless(
      plaintextCallers.length === 0,
      `give them identities, or rules where plain text stays: ${named(plaintextCallers.map(({ from, connections }) => `${from} (${connections})`))}`,
    ),
  }),
  flips: ({ wouldDeny }) => ({
    have:
      wouldDeny.length === 0 ? 'none' : `${counted(wouldDeny.length, 'access', 'accesses')} would be denied`,
    what: unless(
      wouldDeny.length === 0,
      `allow each by a rule, or deny it on purpose by a "deny" rule: ${named(wouldDeny.map(({ what, count }) => `${what} (${count})`))}`,
    ),
  }),
  readiness: ({ readiness, tier }) => {
    const missing = readiness?.gates.filter(({ state }) => state === 'missing') ?? [];
    return {
      have:
        readiness === undefined
          ? 'no evidence'
          : missing.length === 0
            ? `ready for ${tier}`
            : `${counted(missing.length, 'gate', 'gates')} missing`,
      what:
        readiness === undefined
          ? 'let its proxies report, or record: "interlock readiness" says what is missing'
          : unless(
              missing.length === 0,
              `pass the gates ${missing.map(({ gate }) => gate).join(', ')}: "interlock readiness --to ID" says how`,
            ),
    };
  },
  losses: ({ widerLosses }) => ({
    have: widerLosses.length === 0 ? 'none' : `${widerLosses.length} wider than written`,
    what: unless(
      widerLosses.length === 0,
      `write the rules so that the engine can carry them: ${named(widerLosses)}`,
    ),
  }),
  drill: ({ lastDrill, now }, { drillDays }) => {
    const days = lastDrill === undefined ? undefined : Math.floor((now - lastDrill) / DAY_MS);
    return {
      have:
        days === undefined ? 'never passed' : days === 0 ? 'today' : `${counted(days, 'day', 'days')} ago`,
      what: unless(
        drillDays === 0 || (days !== undefined && days < drillDays),
        `prove the button: interlock release --drill (within ${drillDays} days)`,
      ),
    };
  },
};

/** The checks that only matter where enforcement is meant. */
const FOR_STRICT: ReadonlySet<PreflightCheck> = new Set([
  'identities',
  'bundles',
  'clocks',
  'proxies',
  'plaintext',
]);

/** Every check before a promotion to enforcement (`enforce`), or before plain text is refused (`strict`), in their order. */
export function preflight(
  facts: PreflightFacts,
  what: 'enforce' | 'strict',
  gates: Readonly<Record<Tier, TierGates>> = DEFAULT_GATES,
): CheckResult[] {
  return PREFLIGHT_CHECKS.filter((check) => what === 'enforce' || FOR_STRICT.has(check)).map((check) => {
    const { have, what: todo } = CHECKS[check](facts, gates[facts.tier]);
    return todo === undefined
      ? { check, state: 'passed', have }
      : { check, state: 'failed', have, what: todo };
  });
}

function unless(passed: boolean, what: string): string | undefined {
  return passed ? undefined : what;
}

function counted(count: number, one: string, more: string): string {
  return `${count} ${count === 1 ? one : more}`;
}

/** The first few names, and how many more there are. */
function named(names: readonly string[]): string {
  const shown = names.slice(0, 5).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
