import type { Tally } from '../../access/index.ts';
import {
  isOutgoing,
  maybeSameCall,
  mayBeAnswered,
  missingParentOf,
  unansweredOf,
  unknownCallerOf,
} from './blind.ts';
import { actionOf, destinationOf, endsOf, outcomeOf } from './call.ts';
import { isServing, KIND, type Span } from './span.ts';
import { Spots } from './spots.ts';

/** How many spans are held at once, and how many that still wait for their other side are kept for later. */
export interface Limits {
  readonly window: number;
  readonly waiting: number;
}

/**
 * A span takes about 320 bytes, so the window is 1.3 GB at most. Beyond it a span may miss a parent or child that
 * comes later, and one that is sent twice, that far apart, counts twice.
 */
export const LIMITS: Limits = { window: 4_000_000, waiting: 200_000 };

const LET_GO = 'span let go: its parent did not come within the limit of spans held at once';

/**
 * Finds the parent of every span, and so the calls between services. Nothing is decided before the end (or before
 * the window is full), so the order of the spans does not matter.
 */
export class Joiner {
  readonly spots: Spots;
  readonly #tally: Tally;
  readonly #limits: Limits;
  /** Spans of which nothing was decided yet, oldest first. */
  readonly #open = new Map<string, Span>();
  /** Spans told as blind spots, which a late span may still answer, oldest first. */
  readonly #waiting = new Map<string, Span>();

  constructor(tally: Tally, limits: Limits = LIMITS) {
    this.#tally = tally;
    this.#limits = limits;
    this.spots = new Spots(tally);
  }

  /** The span of this key, where it is held. */
  find(key: string): Span | undefined {
    return this.#open.get(key) ?? this.#waiting.get(key);
  }

  /** Takes a new span in. */
  add(span: Span): void {
    this.#open.set(span.key, span);
    if (this.#open.size >= this.#limits.window) this.#settle(Math.ceil(this.#limits.window / 4));
  }

  /** Takes back a span that an earlier command left waiting. */
  restore(span: Span): void {
    if (this.#waiting.size < this.#limits.waiting) this.#waiting.set(span.key, span);
  }

  /** Decides everything that is left, and writes the blind spots to the tally. */
  end(): void {
    this.#settle(this.#open.size);
    this.spots.flush();
  }

  /** After {@link end}: the spans that a later recording may answer. */
  waiting(): Iterable<Span> {
    return this.#waiting.values();
  }

  #settle(count: number): void {
    for (const span of this.#waiting.values()) this.#join(span);
    for (const span of this.#open.values()) this.#join(span);
    for (const span of this.#waiting.values()) if (isDone(span)) this.#waiting.delete(span.key);
    let left = count;
    for (const span of this.#open.values()) {
      if (left-- === 0) break;
      this.#open.delete(span.key);
      this.#tell(span);
      if (!isDone(span)) this.#wait(span);
    }
  }

  #wait(span: Span): void {
    this.#waiting.set(span.key, span);
    if (this.#waiting.size <= this.#limits.waiting) return;
    for (const oldest of this.#waiting.values()) {
      this.#waiting.delete(oldest.key);
      if (oldest.orphan !== undefined && !oldest.carried) {
        this.#tally.accepted--;
        this.#tally.skip(LET_GO, 0, oldest.said.name);
      }
      return;
    }
  }

  #join(span: Span): void {
    if (span.joined || span.parent === '') return;
    const parent = this.find(span.parent);
    if (parent === undefined) return;
    span.joined = true;
    for (const told of span.orphan ?? []) this.spots.add(told, span.at, -1);
    span.orphan = undefined;
    if (crosses(parent, span)) {
      this.#link(parent, span);
      this.#cover(parent);
    } else if (standsFor(span, parent)) this.#cover(parent);
  }

  /** Marks a span whose call is told by others, and those above it that tell of the same call. */
  #cover(first: Span): void {
    let span: Span | undefined = first;
    while (span !== undefined && !span.covered) {
      span.covered = true;
      if (span.blind !== undefined) this.spots.add(span.blind, span.at, -1);
      span.blind = undefined;
      const above: Span | undefined = span.joined ? this.find(span.parent) : undefined;
      span = above !== undefined && !crosses(above, span) && standsFor(span, above) ? above : undefined;
    }
  }

  #link(parent: Span, child: Span): void {
    const destination = destinationOf(parent, child);
    const [from, to] = endsOf(parent, child);
    if (destination !== undefined) {
      this.spots.add({ kind: 'messaging', from, to, what: destination }, child.at);
      return;
    }
    if (child.counted) return;
    const counter = this.#tally.access(from, to, actionOf(parent, child), 'callee');
    counter.add(child.at, outcomeOf(parent, child), parent.emitter.instance);
  }

  /** Tells what is missing around a span that is about to be let go. */
  #tell(span: Span): void {
    const orphan = span.parent !== '' && !span.joined;
    if (isServing(span.kind) && (orphan || span.parent === '')) {
      const { source } = span.said;
      if (source !== undefined && destinationOf(undefined, span) === undefined) {
        const to = span.emitter.endpoint;
        const counter = this.#tally.access({ spiffeId: source }, to, actionOf(undefined, span), 'callee');
        counter.add(span.at, outcomeOf(undefined, span));
        span.counted = true;
      } else span.orphan = [this.spots.add(unknownCallerOf(span, this.#tally), span.at)];
    }
    if (!orphan) span.orphan = undefined;
    else span.orphan = [...(span.orphan ?? []), this.spots.add(missingParentOf(span), span.at)];
    if (!span.covered && isOutgoing(span))
      span.blind = this.spots.add(unansweredOf(span, this.#tally), span.at);
  }
}

/** Whether nothing that comes later can change what was told of a span. */
function isDone(span: Span): boolean {
  return span.orphan === undefined && (span.blind === undefined || !mayBeAnswered(span));
}

/**
 * Whether the way from parent to child leads over the network: from one service to another, or from one instance
 * of a service to another one's server span. Two services of one pod share its network and its identity.
 */
function crosses(parent: Span, child: Span): boolean {
  const from = parent.emitter;
  const to = child.emitter;
  if (from === to || (from.pod !== undefined && from.pod === to.pod)) return false;
  if (from.service !== to.service) return true;
  const apart = from.instance !== undefined && to.instance !== undefined && from.instance !== to.instance;
  return apart && child.kind === KIND.server;
}

/**
 * Whether `below`, in the same service, answers the call that `above` made, or tells of it from nearer to the
 * network.
 */
function standsFor(below: Span, above: Span): boolean {
  // A server span of the same service answers the call, however short its way was.
  if (isServing(below.kind)) return isOutgoing(above);
  return isOutgoing(below) ? maybeSameCall(above, below) : below.covered;
}
