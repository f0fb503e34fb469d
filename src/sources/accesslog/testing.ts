import {
  actionText,
  type Attribution,
  type Endpoint,
  endpointKey,
  outcomesOf,
  Tally,
} from '../../access/index.ts';
import type { Source, SourceOptions } from '../source.ts';

/** The time that tests of access logs take for now: 2026-10-15, noon UTC. */
export const NOON: number = Date.UTC(2026, 9, 15, 12);

/** What a test sees of one access: `callee web -> cart GET /a :8080 { ok: 1 }`, without outcomes that did not come. */
export interface Seen {
  readonly side: string;
  readonly from: string;
  readonly to: string;
  readonly action: string;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly mutual: number;
  readonly plaintext: number;
  readonly instances: readonly string[];
}

/** Options of {@link readLines}. */
export interface Reading extends Partial<SourceOptions> {
  readonly attribution?: Attribution;
}

/** Reads lines (objects are written as JSON) into a tally. */
export function readLines(
  source: Source,
  lines: readonly (string | Buffer | object)[],
  { attribution, ...options }: Reading = {},
): Tally {
  const tally = new Tally(source.format, attribution);
  const reader = source.open(tally, { now: NOON, ...options });
  for (const [i, line] of lines.entries()) {
    const text = typeof line === 'string' || Buffer.isBuffer(line) ? line : JSON.stringify(line);
    reader.line(Buffer.from(text), i + 1);
  }
  reader.end();
  return tally;
}

/** The accesses of a tally. */
export function seen(tally: Tally): Seen[] {
  return [...tally.accesses()].map(({ side, from, to, action, evidence }) => ({
    side,
    from: short(from),
    to: short(to),
    action: actionText(action),
    outcomes: Object.fromEntries(Object.entries(outcomesOf(evidence)).filter(([, n]) => n > 0)),
    mutual: evidence.mutual,
    plaintext: evidence.plaintext,
    instances: [...evidence.instances].sort(),
  }));
}

/** Reasons for which lines were skipped, and how many. */
export function skipped(tally: Tally): Record<string, number> {
  return Object.fromEntries([...tally.skips()].map(({ reason, count }) => [reason, count]));
}

function short(end: Endpoint): string {
  return endpointKey(end).replace('spiffe://example.org/ns/shop/sa/', '');
}
