import { keysOf, slotOf } from './fields.ts';

const LOOKED_AT = 100;
const KEYS = keysOf();
const TIME = slotOf('START_TIME');
/** Istio's names of the clusters that it makes itself. */
const ISTIO_CLUSTER = /^((in|out)bound(-vip|-pod)?\|\d+\||(Inbound)?PassthroughCluster|BlackHoleCluster)/;

/** The whole lines at the head of a recording; the last one may be cut off, and counts only where it is alone. */
export function headLines(head: string): string[] {
  const lines = head.split('\n', LOOKED_AT + 1);
  return (lines.length > 1 ? lines.slice(0, -1) : lines).map((line) => line.trim());
}

/** What the head of a recording holds: lines of an access log in JSON, and whether Istio's cluster names are in it. */
export function jsonLogLines(
  head: string,
  fields?: Readonly<Record<string, string>>,
): { found: boolean; istio: boolean } {
  const keys = fields === undefined ? KEYS : keysOf(fields);
  let found = false;
  for (const line of headLines(head)) {
    const object = line.startsWith('{') ? parsed(line) : undefined;
    if (object === undefined || !isEntry(object, keys)) continue;
    found = true;
    if (ISTIO_CLUSTER.test(String(object['upstream_cluster']))) return { found, istio: true };
  }
  return { found, istio: false };
}

/** An entry states its time, and two or more other things that an access log states. */
function isEntry(object: Readonly<Record<string, unknown>>, keys: typeof KEYS): boolean {
  const slots = new Set(Object.keys(object).map((key) => keys.get(key)));
  slots.delete(undefined);
  return slots.has(TIME) && slots.size >= 4 && !('flow' in object) && !('kind' in object);
}

function parsed(line: string): Record<string, unknown> | undefined {
  try {
    // A text that begins with a brace parses to an object, or not at all.
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
