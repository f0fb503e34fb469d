/** Longest cell. */
const MOST = 400;
/** The checks that say most of what a promotion rests on; the audit log has all of them. */
const TOLD = ['surprises', 'calendar', 'doubts', 'shadow', 'approvals', 'drill'];
/** Said by the act itself, or by another field. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  'workload',
  'workloads',
  'stage',
  'share',
  'authentication',
  'target',
  'tier',
]);

/** Why something was done to a workload and what it rests on, in one cell. */
export function historyText(act: string, details: unknown): string {
  if (typeof details !== 'object' || details === null) return '';
  const fields: readonly [string, unknown][] = Object.entries(details);
  const isMove = act.startsWith('rollout.') || act.startsWith('authentication.');
  const told = fields.flatMap(([key, value]) => {
    if (key === 'workload' || key === 'workloads' || (isMove && LEFT_OUT.has(key))) return [];
    if (key === 'checks' && isRecord(value)) return [`on: ${checksText(value)}`];
    if (key === 'canary' && isRecord(value)) return [canaryText(value)];
    if (key === 'missing' && Array.isArray(value)) return [`not passed: ${value.join(', ')}`];
    return [`${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`];
  });
  return told.join('; ').slice(0, MOST);
}

function checksText(checks: Readonly<Record<string, unknown>>): string {
  return TOLD.flatMap((name) => (name in checks ? [`${name} ${String(checks[name])}`] : [])).join(', ');
}

function canaryText(seen: Readonly<Record<string, unknown>>): string {
  const of = (name: string) => (typeof seen[name] === 'number' ? String(seen[name]) : '?');
  return `${of('points')} of ${of('allPoints')} proxies, ${of('requests')} requests judged, ${of('deniedGood')} known-good refused`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
