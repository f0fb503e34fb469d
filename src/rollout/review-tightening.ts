import { type Access, HOUR_MS, type SpiffeId } from '../access/index.ts';
import { type AccessPolicy, compile, isOver, policiesAt, type Rule } from '../policy/index.ts';
import { replay } from './rehearse.ts';
import { reviewEvidence } from './review-evidence.ts';
import type { Change, Digest, Rejection } from './review-types.ts';

const DAY_MS = 24 * HOUR_MS;

/** What unused rules are found by. Times are milliseconds since 1970 UTC. */
export interface TighteningInput {
  readonly workload: SpiffeId;
  readonly target: readonly AccessPolicy[];
  readonly accesses: readonly Access[];
  /** Since when each rule is known to be in the target, by {@link ruleKey}. */
  readonly since: ReadonlyMap<string, number>;
  /** Days without a use after which a rule is unused. */
  readonly days: number;
  /** Hours since 1970 UTC that recordings of calls to the workload cover. */
  readonly covered: ReadonlySet<number>;
  readonly now: number;
  readonly rejected: ReadonlyMap<string, Rejection>;
  readonly digest: Digest;
}

/** One text for one rule of one policy, whatever it is said to rest on. */
export function ruleKey(policy: string, { name, from, to, when = '' }: Rule): string {
  return JSON.stringify([policy, name, from, to, when]);
}

/**
 * Rules of the target that nobody has used for so many days, each as a change that takes it away. A rule must have been
 * there for all of that time, and every hour of it must be recorded: what was not looked at was not unused. Any call that
 * a rule decides is a use, also one that failed or was denied. A rule with a condition is never said to be unused: what
 * conditions ask for is not recorded.
 */
export function unusedRules(input: TighteningInput): Change[] {
  const { workload, target, accesses, since, days, now, rejected, digest } = input;
  const start = now - days * DAY_MS;
  if (target.length === 0 || !isCovered(input.covered, start, now)) return [];
  const own = accessesByRule(workload, policiesAt(target, now), accesses);
  return target.flatMap(({ metadata, spec }) =>
    spec.rules.flatMap((rule) => {
      const key = ruleKey(metadata.name, rule);
      const noted = since.get(key) ?? now;
      const answered = rejected.get(`unused ${key}`)?.at ?? Number.NEGATIVE_INFINITY;
      const used = own.get(JSON.stringify([metadata.name, rule.name])) ?? [];
      const isOld = noted <= start && answered <= start;
      if (!isOld || (rule.when ?? '').trim() !== '' || used.some((access) => isUsedSince(access, start)))
        return [];
      // One that has ended allows nothing: there is nothing to tighten.
      if (isOver(rule, now)) return [];
      const { evidence: _, ...plain } = rule;
      return [
        {
          id: digest(JSON.stringify(['removed', key])),
          kind: 'removed' as const,
          rule: plain,
          of: { policy: metadata.name, rule: rule.name },
          grants: [`unused ${key}`],
          evidence: reviewEvidence(used),
          why: `nobody has used it for ${days} days`,
        },
      ];
    }),
  );
}

/** Every whole hour from a time on was recorded; the last one may not have come in yet. */
function isCovered(covered: ReadonlySet<number>, start: number, now: number): boolean {
  const last = Math.floor(now / HOUR_MS) - 1;
  for (let hour = Math.ceil(start / HOUR_MS); hour < last; hour++) if (!covered.has(hour)) return false;
  return true;
}

/** What each rule decides; what the target's deny rules take away is no longer any rule's. */
function accessesByRule(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  accesses: readonly Access[],
): Map<string, Access[]> {
  const set = compile(target);
  const own = new Map<string, Access[]>();
  for (const access of accesses) {
    if (access.evidence.counts.size === 0) continue;
    const { decidedBy, policy, rule } = replay(set, access, workload).verdict;
    if (decidedBy !== 'rule') continue;
    const key = JSON.stringify([policy, rule]);
    const known = own.get(key);
    if (known === undefined) own.set(key, [access]);
    else known.push(access);
  }
  return own;
}

/** In an hour that began before the window a call may be of either side: it counts as a use. */
function isUsedSince({ evidence }: Access, start: number): boolean {
  const first = Math.floor(start / HOUR_MS);
  for (const [key, n] of evidence.counts) if (n > 0 && key >> 2 >= first) return true;
  return false;
}
