import type { SpiffeId } from '../access/index.ts';
import type { AccessPolicy, From, Rule } from './types.ts';

/** A rule with an end is an exception: after it, it is as if the rule were not there. */
export interface Exception {
  readonly workload: SpiffeId;
  readonly policy: string;
  readonly rule: string;
  readonly from: readonly From[];
  /** As the document says it, and in milliseconds since 1970 UTC. */
  readonly until: string;
  readonly ends: number;
  /** Why there is one, as the document says it. */
  readonly reason?: string;
}

/** How long before its end people are told of an exception, in days: once at each. */
export const NOTICE_DAYS = [7, 1] as const;

/** An exception that ends soon. */
export interface EndingException extends Exception {
  /** The shortest notice that is due: 7 or 1. */
  readonly noticeDays: (typeof NOTICE_DAYS)[number];
  /** Names this notice of this exception: renewed, it has another one. */
  readonly key: string;
}

const DAY_MS = 86_400_000;
const SHAPE = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,3}))?(?:Z|([+-])(\d\d):(\d\d))$/;
/** A slip in the year is no end: what ends beyond these years was meant otherwise. */
const [FIRST_YEAR, LAST_YEAR] = [2000, 2199];

export type ParsedUntil =
  | { readonly ok: true; readonly ends: number }
  | { readonly ok: false; readonly reason: string };

/** Reads a date-time of RFC 3339 with its zone, to the millisecond; a time without one is another moment at each reader. */
export function parseUntil(text: string): ParsedUntil {
  const match = SHAPE.exec(text);
  const shown = text.length > 40 ? `${text.slice(0, 37)}...` : text;
  if (match === null)
    return {
      ok: false,
      reason: `"${shown}" is no time with a zone (RFC 3339): write it as in 2026-12-31T00:00:00Z`,
    };
  const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [zoneHour, zoneMinute] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
  const local = Date.UTC(year, month - 1, day, hour, minute, second, Number((match[7] ?? '').padEnd(3, '0')));
  // A day that its month does not have, an hour 24 or a leap second come back as something else.
  const isReal =
    new Date(local).toISOString().startsWith(text.slice(0, 19)) && zoneHour < 24 && zoneMinute < 60;
  // -00:00 says that the zone is not known.
  if (!isReal || text.endsWith('-00:00')) return { ok: false, reason: `"${shown}" is no time that there is` };
  if (year < FIRST_YEAR || year > LAST_YEAR)
    return { ok: false, reason: `"${shown}" is not between the years ${FIRST_YEAR} and ${LAST_YEAR}` };
  const offset = (zoneHour * 60 + zoneMinute) * 60_000;
  return { ok: true, ends: match[8] === '-' ? local + offset : local - offset };
}

/** When a checked rule ends, milliseconds since 1970 UTC; `Infinity` for one without an end. */
export function endOf({ until }: Pick<Rule, 'until'>): number {
  if (until === undefined) return Number.POSITIVE_INFINITY;
  const parsed = parseUntil(until);
  // Checked before; a reason here would be a fault of ours.
  if (!parsed.ok) throw new TypeError(parsed.reason);
  return parsed.ends;
}

/** Whether a rule is over at a time; without a time (`Infinity`) every rule that has an end is. */
export function isOver(rule: Pick<Rule, 'until'>, at: number): boolean {
  return rule.until !== undefined && !(endOf(rule) > at);
}

/** Whether some rule has an end. */
export function hasEnds(policies: readonly AccessPolicy[]): boolean {
  return policies.some(({ spec }) => spec.rules.some(({ until }) => until !== undefined));
}

/** The policies without the rules that are over at a time; the same object where none is. */
export function rulesAt(policies: readonly AccessPolicy[], at: number): readonly AccessPolicy[] {
  return changed(policies, (rule) => (isOver(rule, at) ? undefined : rule));
}

/**
 * What the policies say at one moment, as if it lasted: rules that are over left out, the others without their end. The same
 * object where no rule has one.
 */
export function policiesAt(policies: readonly AccessPolicy[], at: number): readonly AccessPolicy[] {
  return changed(policies, (rule) => {
    const { until, ...lasting } = rule;
    if (until === undefined) return rule;
    return isOver(rule, at) ? undefined : lasting;
  });
}

function changed(
  policies: readonly AccessPolicy[],
  change: (rule: Rule) => Rule | undefined,
): readonly AccessPolicy[] {
  if (!hasEnds(policies)) return policies;
  let isSame = true;
  const next = policies.map((policy) => {
    const rules = policy.spec.rules.flatMap((rule) => change(rule) ?? []);
    if (rules.length === policy.spec.rules.length && rules.every((rule, i) => rule === policy.spec.rules[i]))
      return policy;
    isSame = false;
    return { ...policy, spec: { ...policy.spec, rules } };
  });
  return isSame ? policies : next;
}

/** The next end of a rule after a time, milliseconds since 1970 UTC; undefined where none is to come. */
export function nextEnd(policies: readonly AccessPolicy[], at: number): number | undefined {
  let next = Number.POSITIVE_INFINITY;
  for (const { spec } of policies) {
    for (const rule of spec.rules) {
      const end = rule.until === undefined ? next : endOf(rule);
      if (end > at && end < next) next = end;
    }
  }
  return Number.isFinite(next) ? next : undefined;
}

/** Every rule that has an end, over or not, the soonest first. */
export function exceptionsOf(policies: readonly AccessPolicy[]): Exception[] {
  return policies
    .flatMap(({ metadata, spec }) =>
      spec.rules.flatMap((rule): Exception[] => {
        const { name, from, until, reason } = rule;
        if (until === undefined) return [];
        const why = reason === undefined ? {} : { reason };
        const workload = spec.protects.workload;
        return [{ workload, policy: metadata.name, rule: name, from, until, ends: endOf(rule), ...why }];
      }),
    )
    .toSorted((a, b) => a.ends - b.ends);
}

/** The exceptions of which people are to be told now: they are not over, and end within the longest notice. The soonest first. */
export function exceptionsEnding(policies: readonly AccessPolicy[], now: number): EndingException[] {
  return exceptionsOf(policies).flatMap((exception) => {
    const { workload, policy, rule, ends } = exception;
    const due = NOTICE_DAYS.filter((days) => ends > now && ends - now <= days * DAY_MS);
    const noticeDays = due.at(-1);
    if (noticeDays === undefined) return [];
    return [{ ...exception, noticeDays, key: JSON.stringify([workload, policy, rule, ends, noticeDays]) }];
  });
}
