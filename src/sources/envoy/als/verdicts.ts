import type { Verdict } from '../../../policy/index.ts';
import type { LogEntry, MetadataSlots } from './entry.ts';

/** One RBAC filter of a chain, as the engine renders it: what stands before the keys of its metadata. */
export interface VerdictFilter {
  readonly set: 'target' | 'enforced';
  readonly action: 'deny' | 'allow';
  readonly prefix: string;
}

/** What the sets said of one access. */
export interface LoggedVerdicts {
  /** Of the set in force; `no-policy` where none was asked. */
  readonly before: Verdict;
  /** Of the target; absent where it was not asked. */
  readonly after?: Verdict;
  /** The set in force denied it. */
  readonly refused: boolean;
}

/** Slots of one filter: its result, and the ID of the policy that decided. */
const SLOTS_OF_FILTER = 2;
const ORDER = ['target deny', 'target allow', 'enforced deny', 'enforced allow'];
const [TARGET_DENY, TARGET_ALLOW, ENFORCED_DENY, ENFORCED_ALLOW] = [0, 2, 4, 6] as const;

/** Envoy's keys: `shadow_` of rules that only report, `enforced_` of rules that bite. */
export function metadataSlots(filters: readonly VerdictFilter[]): MetadataSlots {
  return new Map(
    filters.flatMap(({ set, action, prefix }) => {
      const slot = ORDER.indexOf(`${set} ${action}`) * SLOTS_OF_FILTER;
      const kind = set === 'target' ? 'shadow' : 'enforced';
      return [
        [`${prefix}${kind}_engine_result`, slot] as const,
        [`${prefix}${kind}_effective_policy_id`, slot + 1] as const,
      ];
    }),
  );
}

const NO_POLICY: Verdict = { allowed: true, decidedBy: 'no-policy' };
const DENIED = /^rbac_access_denied_matched_policy\[(.*)\]$/s;
/** `ORDER/POLICY/RULE`, and the guard before all rules. */
const POLICY_ID = /^\d+\/([^/\p{Cc}]+)\/(\P{Cc}+)$/u;
const GUARD = /^0+$/;

/** The verdicts of an entry. `tcp`: the network filter leaves no metadata of what it enforces, but how a connection ended. */
export function verdictsOf(entry: LogEntry, tcp: boolean): LoggedVerdicts {
  const { verdicts } = entry;
  const after = toldBy(verdicts, TARGET_DENY, TARGET_ALLOW);
  const denied = DENIED.exec(tcp ? entry.termination : entry.details);
  let before = toldBy(verdicts, ENFORCED_DENY, ENFORCED_ALLOW);
  if (denied !== null && before?.allowed !== false) before = denialBy(denied[1] ?? '');
  return { before: before ?? NO_POLICY, ...(after === undefined ? {} : { after }), refused: denied !== null };
}

function toldBy(verdicts: LogEntry['verdicts'], deny: number, allow: number): Verdict | undefined {
  if (verdicts[deny] === 'denied') return denialBy(verdicts[deny + 1] ?? '');
  const result = verdicts[allow];
  if (result === 'denied') return { allowed: false, decidedBy: 'no-rule' };
  return result === 'allowed'
    ? { allowed: true, decidedBy: 'rule', ...ruleOf(verdicts[allow + 1] ?? '') }
    : undefined;
}

/** A denial by the policy with that ID: a rule that denies, the guard of paths, or none at all. */
function denialBy(id: string): Verdict {
  if (GUARD.test(id)) return { allowed: false, decidedBy: 'unsafe-path' };
  const rule = ruleOf(id);
  return { allowed: false, decidedBy: rule === undefined ? 'no-rule' : 'deny', ...rule };
}

function ruleOf(id: string): { policy: string; rule: string } | undefined {
  const [, policy, rule] = POLICY_ID.exec(id) ?? [];
  return policy === undefined || rule === undefined ? undefined : { policy, rule };
}
