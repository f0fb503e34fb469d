import {
  emptyEvidence,
  HOUR_MS,
  hourOfWeek,
  hoursOf,
  isEntity,
  mergeEvidence,
  pathOf,
  type Principal,
  principalText,
  shortNameOf,
} from '../../access/index.ts';
import type { From, Rule, RuleEvidence, To } from '../../policy/index.ts';
import { nameless } from '../templates/index.ts';
import { reachedSpan } from './doubts.ts';
import { shortHash } from './hash.ts';
import type { Unit } from './units.ts';

/** Longest name of a proposed rule; what is cut off is replaced by a hash. */
const LONGEST_NAME = 80;

/** Units that one rule allows: the same caller, port, and path or service. */
function ruleKey({ from, action, reached }: Unit): string {
  const what = action.kind === 'http' ? nameless(action.path) : action.kind === 'grpc' ? action.service : '';
  return `${principalText(from)}\n${action.kind} ${action.port}\n${what}\n${reached === 0 ? 'declared' : ''}`;
}

/** The rules that allow exactly these units, one for each caller, port and path or service, sorted by name. */
export function rulesOf(units: readonly Unit[]): Rule[] {
  const groups = new Map<string, Unit[]>();
  for (const unit of units) {
    const key = ruleKey(unit);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [unit]);
    else group.push(unit);
  }
  const names = namesOf(groups);
  return [...groups]
    .map(([key, group]) => ruleOf(names.get(key) ?? key, group))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * Who a rule lets in, or undefined where a policy cannot name the caller: a host name is no address, and a trust
 * domain's own ID no workload.
 */
export function fromOf(principal: Principal): From | undefined {
  if (principal.kind === 'workload') {
    return pathOf(principal.id) === '' ? undefined : { workload: principal.id };
  }
  const { from } = principal;
  if (isEntity(from)) return { unauthenticated: { from } };
  if (isIpv4(from)) return { unauthenticated: { from: `${from}/32` } };
  return isIpv6(from) ? { unauthenticated: { from: `${from}/128` } } : undefined;
}

function isIpv4(text: string): boolean {
  return (
    /^(?:(?:0|[1-9]\d{0,2})\.){3}(?:0|[1-9]\d{0,2})$/.test(text) &&
    text.split('.').every((n) => Number(n) < 256)
  );
}

function isIpv6(text: string): boolean {
  return /^[0-9a-f:]*:[0-9a-f:]*$/i.test(text) && URL.canParse(`http://[${text}]/`);
}

function ruleOf(name: string, units: readonly Unit[]): Rule {
  const [first] = units;
  const from = first === undefined ? undefined : fromOf(first.from);
  return {
    name,
    from: from === undefined ? [] : [from],
    to: first === undefined ? [] : [toOf(first, units)],
    evidence: evidenceOf(units),
  };
}

function toOf({ action }: Unit, units: readonly Unit[]): To {
  const ports = action.port === 0 ? {} : { ports: [action.port] };
  const methods = [
    ...new Set(units.flatMap((u) => (u.action.kind === 'tcp' ? [] : [u.action.method]))),
  ].sort();
  switch (action.kind) {
    case 'tcp':
      return { tcp: {}, ...ports };
    case 'http': {
      // Methods are learned apart and may name the parameters of one path differently.
      const paths = units.flatMap((u) => (u.action.kind === 'http' ? [u.action.path] : [])).sort();
      return { http: { methods, paths: paths.slice(0, 1) }, ...ports };
    }
    case 'grpc':
      return { grpc: { service: action.service, methods }, ...ports };
  }
}

/** What a reviewer is shown of the units behind a rule. */
export function evidenceOf(units: readonly Unit[]): RuleEvidence {
  const all = emptyEvidence();
  for (const { evidence } of units) mergeEvidence(all, evidence);
  const hours = hoursOf(all);
  const count = units.reduce((sum, { reached }) => sum + reached, 0);
  const declared = [...new Set(units.flatMap((unit) => unit.declared))].sort();
  const { first, last } = reachedSpan(all);
  return {
    views: [
      ...(count > 0 ? ['observed' as const] : []),
      ...(declared.length > 0 ? ['declared' as const] : []),
    ],
    count,
    ...(count > 0
      ? { firstSeen: new Date(first).toISOString(), lastSeen: new Date(last).toISOString() }
      : {}),
    days: new Set(hours.map((hour) => Math.floor((hour * HOUR_MS) / 86_400_000))).size,
    hoursOfWeek: new Set(hours.map(hourOfWeek)).size,
    instances: all.instances.size,
    sources: [...all.sources].sort(),
    ...(declared.length > 0 ? { declared } : {}),
  };
}

/** Names of the rules: the caller's short name, with the path or service where the caller has several rules. */
function namesOf(groups: ReadonlyMap<string, readonly Unit[]>): Map<string, string> {
  const callers = callerNames([...groups.values()].flat());
  const rulesPerCaller = new Map<string, number>();
  for (const [unit] of groups.values()) {
    if (unit === undefined) continue;
    const from = principalText(unit.from);
    rulesPerCaller.set(from, (rulesPerCaller.get(from) ?? 0) + 1);
  }
  const wanted = new Map<string, string>();
  for (const [key, [unit]] of groups) {
    if (unit === undefined) continue;
    const from = principalText(unit.from);
    const caller = callers.get(from) ?? 'caller';
    const several = (rulesPerCaller.get(from) ?? 0) > 1;
    wanted.set(key, nameOf([caller, several ? slugOf(unit) : '', unit.reached === 0 ? 'declared' : '']));
  }
  return withoutClashes(
    withoutClashes(wanted, (key) => portOf(groups.get(key))),
    shortHash,
  );
}

function portOf(units: readonly Unit[] | undefined): string {
  return `${units?.[0]?.action.port ?? 0}`;
}

/** Appends to every name that stands twice what tells its bearers apart; `-declared` stays last. */
function withoutClashes(
  names: ReadonlyMap<string, string>,
  suffix: (key: string) => string,
): Map<string, string> {
  const times = new Map<string, number>();
  for (const name of names.values()) times.set(name, (times.get(name) ?? 0) + 1);
  return new Map(
    [...names].map(([key, name]) => {
      if (times.get(name) === 1) return [key, name];
      const declared = name.endsWith('-declared');
      const base = declared ? name.slice(0, -'-declared'.length) : name;
      return [key, nameOf([base, suffix(key), declared ? 'declared' : ''])];
    }),
  );
}

/** Short names of callers; two with the same short name get more of their ID. */
function callerNames(units: readonly Unit[]): Map<string, string> {
  const short = new Map<string, string>();
  for (const { from } of units) {
    short.set(principalText(from), slug(from.kind === 'workload' ? shortNameOf(from.id) : from.from));
  }
  return withoutClashes(short, (text) =>
    slug(text.replace(/^spiffe:\/\//, '').replace(/\/(?:ns|sa)(?=\/)/g, '')),
  );
}

function slugOf({ action }: Unit): string {
  switch (action.kind) {
    case 'tcp':
      return `tcp-${action.port}`;
    case 'http':
      return slug(action.path) || 'root';
    case 'grpc':
      return slug(action.service.slice(action.service.lastIndexOf('.') + 1));
  }
}

function slug(text: string): string {
  return text
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');
}

function nameOf(parts: readonly string[]): string {
  const name = parts.filter((part) => part !== '').join('-') || 'rule';
  if (name.length <= LONGEST_NAME) return name;
  const declared = name.endsWith('-declared') ? '-declared' : '';
  const kept = name.slice(0, LONGEST_NAME - 12 - declared.length).replace(/-$/, '');
  return `${kept}-${shortHash(name)}${declared}`;
}
