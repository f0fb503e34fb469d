import type { Endpoint } from '../endpoint.ts';
import { canonicalIp } from './ip.ts';

/**
 * Kubernetes writes times in whole seconds, so an end at 12:00:05 lies anywhere within that second: until it is
 * over, both the old and the next holder of an address are possible.
 */
const TIME_RESOLUTION_MS = 1000;

/** One holder's claim on an address. Claims of the same `by` never contradict each other. */
export interface Claim {
  readonly by: string;
  /** What the address means while this is its only claim; absent where it is known to be unsure. */
  readonly holder?: Endpoint;
  /** Milliseconds since 1970 UTC. No start: it may have been held at any time before the end. */
  readonly start?: number;
  /** No end: until another claim with a known start begins. `forever` is not ended by that. */
  readonly end?: number;
  readonly forever?: boolean;
}

interface Segment {
  readonly start: number;
  /** Exclusive. */
  end: number;
  readonly holder: Endpoint | undefined;
}

/** Who held which address, and when. An address that two might have held at a time is nobody's at that time. */
export class AddressBook {
  readonly #claims = new Map<string, Claim[]>();
  readonly #segments = new Map<string, Segment[]>();

  /** Adds a claim; text that is no IP address is left out. All claims come before the first question. */
  claim(ip: string, claim: Claim): void {
    const address = canonicalIp(ip);
    if (address === undefined) return;
    const claims = this.#claims.get(address);
    if (claims === undefined) this.#claims.set(address, [claim]);
    else claims.push(claim);
  }

  /** Whether anything at all is known of the address. */
  knows(ip: string): boolean {
    return this.#claims.has(canonicalIp(ip) ?? ip);
  }

  /** The only holder that the address can have had at any time in [from, to], when it had it all that time. */
  holder(ip: string, from: number, to: number): Endpoint | undefined {
    const segments = this.#segmentsOf(canonicalIp(ip) ?? ip);
    let low = 0;
    let high = segments.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((segments[middle] as Segment).end > from) high = middle;
      else low = middle + 1;
    }
    const segment = segments[low];
    // A span that is not a span (NaN, from after to) falls through the comparisons.
    return segment !== undefined && segment.start <= from && from <= to && to < segment.end
      ? segment.holder
      : undefined;
  }

  #segmentsOf(address: string): readonly Segment[] {
    const known = this.#segments.get(address);
    if (known !== undefined) return known;
    const claims = this.#claims.get(address);
    if (claims === undefined) return [];
    const segments = sweep(spansOf(claims));
    this.#segments.set(address, segments);
    return segments;
  }
}

interface Span {
  readonly claim: Claim;
  readonly start: number;
  readonly end: number;
}

function spansOf(claims: readonly Claim[]): Span[] {
  const starts = claims
    .filter((claim) => claim.start !== undefined)
    .map((claim) => ({ by: claim.by, at: claim.start as number }))
    .sort((a, b) => a.at - b.at);
  return claims.map((claim) => {
    const start = claim.start ?? Number.NEGATIVE_INFINITY;
    let { end } = claim;
    if (end === undefined && !claim.forever) end = nextStart(starts, claim.by, start);
    return {
      claim,
      start,
      end:
        end === undefined ? Number.POSITIVE_INFINITY : Math.max(end, claim.start ?? end) + TIME_RESOLUTION_MS,
    };
  });
}

function nextStart(
  starts: readonly { by: string; at: number }[],
  by: string,
  after: number,
): number | undefined {
  let low = 0;
  let high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((starts[middle]?.at ?? 0) > after) high = middle;
    else low = middle + 1;
  }
  for (let i = low; i < starts.length; i++) if (starts[i]?.by !== by) return starts[i]?.at;
  return undefined;
}

/** Cuts overlapping spans into segments of one holder, or of doubt, in order of time. */
function sweep(spans: readonly Span[]): Segment[] {
  const events = spans.flatMap((span) => [
    { at: span.start, span, opens: true },
    { at: span.end, span, opens: false },
  ]);
  events.sort((a, b) => a.at - b.at);
  const open = new Map<string, { claim: Claim; n: number }>();
  const segments: Segment[] = [];
  for (let i = 0; i < events.length; ) {
    const at = (events[i] as (typeof events)[number]).at;
    for (; i < events.length && events[i]?.at === at; i++) {
      const { span, opens } = events[i] as (typeof events)[number];
      count(open, span.claim, opens ? 1 : -1);
    }
    const end = events[i]?.at;
    if (open.size === 0 || end === undefined) continue;
    const sole = open.size === 1 ? [...open.values()][0] : undefined;
    const holder = sole?.claim.holder;
    const last = segments.at(-1);
    if (last !== undefined && last.end === at && holder !== undefined && last.holder === holder)
      last.end = end;
    else segments.push({ start: at, end, holder });
  }
  return segments;
}

function count(open: Map<string, { claim: Claim; n: number }>, claim: Claim, by: 1 | -1): void {
  const known = open.get(claim.by);
  if (known === undefined) open.set(claim.by, { claim, n: by });
  else if (known.n + by === 0) open.delete(claim.by);
  else known.n += by;
}
