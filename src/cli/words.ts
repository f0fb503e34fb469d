import {
  type Access,
  type AccessGraph,
  type Action,
  actionText,
  callsThatReached,
  type Evidence,
  HOUR_MS,
  hourOfWeek,
  hoursOf,
  type InterlockError,
  kubernetesNameOf,
  outcomesOf,
  type Principal,
  principalText,
  type SpiffeId,
  trustDomainOf,
} from '../access/index.ts';

/** A principal as people read it: `shop/cart` for /ns/shop/sa/cart of the estate's own domain, else in full. */
export function nameOf(principal: Principal, trustDomain: string): string {
  return principal.kind === 'workload' ? idName(principal.id, trustDomain) : `? ${principal.from}`;
}

/** The short form of a SPIFFE ID of the estate's own domain, else the ID. */
export function idName(id: SpiffeId, trustDomain: string): string {
  const name = trustDomainOf(id) === trustDomain ? kubernetesNameOf(id) : undefined;
  return name === undefined ? id : `${name.namespace}/${name.serviceAccount}`;
}

/** What is wrong, with the file and line where it is. */
export function faultText({ message, place }: InterlockError): string {
  const { file, line } = place ?? {};
  if (file === undefined || message.startsWith(file)) return message;
  return `${file}${line === undefined ? '' : `:${line}`}: ${message}`;
}

/** Day and minute in UTC, or "-" where there is no time. */
export function timeText(ms: number): string {
  return Number.isFinite(ms) ? `${new Date(ms).toISOString().slice(0, 16).replace('T', ' ')}Z` : '-';
}

/** The day in UTC, or "-" where there is no time. */
export function dayText(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString().slice(0, 10) : '-';
}

/** A count with its thousands apart. */
export function countText(n: number): string {
  return n.toLocaleString('en-US');
}

/** "1 rule", "3 rules". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${countText(n)} ${n === 1 ? one : many}`;
}

/** Evidence as it is printed with --json: the fields that the documents name. Times are ISO 8601, UTC. */
export function evidenceJson(evidence: Evidence, lost: number): Record<string, unknown> {
  const hours = hoursOf(evidence);
  const iso = (ms: number) => (Number.isFinite(ms) ? new Date(ms).toISOString() : null);
  return {
    count: callsThatReached(evidence),
    firstSeen: iso(evidence.firstSeen),
    lastSeen: iso(evidence.lastSeen),
    days: new Set(hours.map((hour) => Math.floor(hour / 24))).size,
    hoursOfWeek: [...new Set(hours.map(hourOfWeek))].toSorted((a, b) => a - b),
    instances: [...evidence.instances].toSorted(),
    sources: [...evidence.sources].toSorted(),
    outcomes: outcomesOf(evidence),
    mutual: evidence.mutual,
    plaintext: evidence.plaintext,
    lost,
  };
}

/** Events that the recordings which name the callee are known to have lost. */
function lostOf({ to }: Access, { coverage }: AccessGraph): number {
  if (to.kind !== 'workload' || coverage.byWorkload === undefined) return coverage.lost;
  return coverage.byWorkload.get(to.id)?.lost ?? 0;
}

/** An access as it is printed with --json. */
export function accessJson(access: Access, graph: AccessGraph): Record<string, unknown> {
  return {
    from: principalText(access.from),
    to: principalText(access.to),
    action: access.action,
    views: access.views,
    evidence: evidenceJson(access.evidence, lostOf(access, graph)),
    ...(access.declared.length === 0 ? {} : { declared: access.declared }),
    ...(access.collapsed ? { collapsed: true } : {}),
  };
}

/** An action in one column. */
export function actionCell(action: Action): string {
  return action.kind === 'tcp' && action.port === 0 ? 'tcp, port unknown' : actionText(action);
}

/** How long a span of time is, in the largest unit that fits. */
export function spanText(ms: number): string {
  if (!Number.isFinite(ms) || ms <= 0) return 'no time';
  if (ms < 2 * HOUR_MS) return plural(Math.max(1, Math.round(ms / 60_000)), 'minute');
  if (ms < 48 * HOUR_MS) return `${(ms / HOUR_MS).toFixed(1)} hours`;
  return `${(ms / HOUR_MS / 24).toFixed(1)} days`;
}
