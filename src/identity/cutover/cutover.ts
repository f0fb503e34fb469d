import { createHash } from 'node:crypto';
import { InterlockError, type SpiffeId } from '../../access/index.ts';

/** `waiting` for bundles; `back`: workloads return; `done`: it is over, and `to` has everybody. */
export const CUTOVER_STATES = ['waiting', 'running', 'paused', 'back', 'done'] as const;
export type CutoverState = (typeof CUTOVER_STATES)[number];

/** Workloads move from one named authority to another, a share at a time, each at its next renewal. */
export interface Cutover {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  /** Which part of the workloads is to be with `to`, 0 to 1. */
  readonly share: number;
  readonly state: CutoverState;
  /** The first version of the bundles that holds the root of `to`. */
  readonly publishedIn: number;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/** What may be done in which state. */
const ALLOWED: Readonly<
  Record<'start' | 'raise' | 'pause' | 'resume' | 'back' | 'finish', readonly CutoverState[]>
> = {
  start: ['waiting'],
  raise: ['running'],
  pause: ['running'],
  resume: ['paused', 'back'],
  back: ['waiting', 'running', 'paused', 'back'],
  finish: ['running', 'back'],
};

/** A cutover that waits for the bundles. Throws `conflict` where another one that is not over moves the same workloads. */
export function createCutover(
  options: Pick<Cutover, 'id' | 'from' | 'to' | 'share' | 'publishedIn'>,
  others: readonly Cutover[],
  now: number,
): Cutover {
  const { id, from, to, share } = options;
  checkShare(id, share);
  if (from === to) throw conflict(id, 'it moves nobody: both authorities are the same');
  if (others.some((other) => other.id === id)) throw conflict(id, 'there is one of this name');
  const open = others.find(
    (each) => each.state !== 'done' && (each.from === from || each.to === from || each.from === to),
  );
  if (open !== undefined)
    throw conflict(
      id,
      `"${open.id}" (${open.from} to ${open.to}) is not over, and would move the same workloads`,
    );
  const end = endOf(from, others);
  if (end !== from) throw conflict(id, `${from} was moved to ${end} before: begin from ${end}`);
  return { ...options, state: 'waiting', changedAt: now };
}

/** Where cutovers that are done lead from an authority. */
function endOf(from: string, cutovers: readonly Cutover[]): string {
  let authority = from;
  for (const each of inOrder(cutovers)) {
    if (each.state === 'done' && each.from === authority) authority = each.to;
  }
  return authority;
}

/** Those that are done in the order in which they ended, then the others: these never follow each other. */
function inOrder(cutovers: readonly Cutover[]): readonly Cutover[] {
  if (cutovers.length < 2) return cutovers;
  const at = ({ state, changedAt }: Cutover) => (state === 'done' ? changedAt : Number.POSITIVE_INFINITY);
  return cutovers.toSorted((a, b) => (at(a) === at(b) ? 0 : at(a) - at(b)));
}

/**
 * Begins to move workloads. `oldest`: the oldest version of the bundles that a connected agent has confirmed, undefined
 * where none is connected. Throws `conflict` while an agent does not have the bundle with the root of `to`.
 */
export function startCutover(cutover: Cutover, oldest: number | undefined, now: number): Cutover {
  check(cutover, 'start');
  requireBundles(cutover, oldest);
  return { ...cutover, state: 'running', changedAt: now };
}

/** Sets a larger share: nobody who moved moves back. Throws `conflict`. */
export function raiseShare(cutover: Cutover, share: number, now: number): Cutover {
  check(cutover, 'raise');
  checkShare(cutover.id, share);
  if (share < cutover.share)
    throw conflict(
      cutover.id,
      `${percent(share)} is less than ${percent(cutover.share)}: turn it back to make it smaller`,
    );
  return { ...cutover, share, changedAt: now };
}

/** Everybody stays where they are. Throws `conflict`. */
export function pauseCutover(cutover: Cutover, now: number): Cutover {
  check(cutover, 'pause');
  return { ...cutover, state: 'paused', changedAt: now };
}

/** Goes on after a pause, or forward again after a turn, with the share given. Throws `conflict` as `startCutover`. */
export function resumeCutover(
  cutover: Cutover,
  oldest: number | undefined,
  now: number,
  share: number = cutover.share,
): Cutover {
  check(cutover, 'resume');
  checkShare(cutover.id, share);
  requireBundles(cutover, oldest);
  return { ...cutover, state: 'running', share, changedAt: now };
}

/** Workloads return, those first that came last, until only `share` of them are left with `to`. Throws `conflict`. */
export function turnBack(cutover: Cutover, now: number, share = 0): Cutover {
  check(cutover, 'back');
  checkShare(cutover.id, share);
  if (share > cutover.share) throw conflict(cutover.id, `only ${percent(cutover.share)} have moved`);
  return { ...cutover, state: 'back', share, changedAt: now };
}

/**
 * Ends it: once everybody has moved, `to` signs from now on for whoever is given `from`; once everybody has returned,
 * it is undefined, to be forgotten. Throws `conflict` while anybody is on the other side.
 */
export function finishCutover(cutover: Cutover, progress: CutoverProgress, now: number): Cutover | undefined {
  const { id, from, to, share, state } = cutover;
  check(cutover, 'finish');
  const isForward = state === 'running';
  if (share !== (isForward ? 1 : 0))
    throw conflict(id, `its share is ${percent(share)}, not ${isForward ? '100 %' : '0 %'}`);
  const left = isForward ? progress.atFrom : progress.atTo;
  if (left > 0) throw conflict(id, `${left} SVIDs are still of ${isForward ? from : to}`);
  return isForward ? { ...cutover, state: 'done', changedAt: now } : undefined;
}

/** Where an ID stands on the way from 0 to 1: it moves when the share passes it. Even, stable, different by cutover. */
export function positionOf(cutoverId: string, id: SpiffeId): number {
  const digest = createHash('sha256').update(`${cutoverId}\n${id}`).digest();
  // 52 bits: what a double holds exactly.
  return (digest.readUIntBE(0, 6) * 16 + ((digest[6] ?? 0) >> 4)) / 2 ** 52;
}

/** Why an ID stays with `from`, or returns there, although it is its turn. */
export const STAY_REASONS = ['agent', 'prefixes', 'target'] as const;
/**
 * `agent`: the agent is of an earlier version, which takes no ID of another trust domain. `prefixes`: the target may
 * not speak for this path. `target`: it cannot sign now, or nothing that it signs is trusted.
 */
export type StayReason = (typeof STAY_REASONS)[number];

/** What is known of an ID beside its cutovers. */
export interface Situation {
  /** The authority that signed what it has now; absent where it has nothing: a pause keeps everybody where they are. */
  readonly current?: string | undefined;
  /** Why an authority cannot sign for it, or undefined where it can. Absent: all of them can. */
  readonly fault?: ((authority: string) => StayReason | undefined) | undefined;
}

/**
 * The authority that signs for an ID at its next renewal. `given`: the one its rule names. Who cannot be with a target
 * is with the authority before it: nobody loses an identity because a target is gone.
 */
export function authorityFor(
  id: SpiffeId,
  given: string,
  cutovers: readonly Cutover[],
  { current, fault }: Situation = {},
): string {
  let authority = given;
  // Cutovers follow each other (a to b, later b to c); each is taken once, so that none runs in a circle.
  for (const cutover of inOrder(cutovers)) {
    if (cutover.from !== authority) continue;
    const next = side(cutover, id, current);
    if (next === cutover.from || fault?.(next) === undefined) authority = next;
  }
  return authority;
}

function side(
  { id: name, from, to, share, state }: Cutover,
  id: SpiffeId,
  current: string | undefined,
): string {
  if (state === 'waiting') return from;
  if (state === 'done') return to;
  if (state === 'paused' && (current === from || current === to)) return current;
  return positionOf(name, id) < share ? to : from;
}

/** Where the workloads of a cutover are, counted over the SVIDs that are live. */
export interface CutoverProgress {
  readonly atFrom: number;
  readonly atTo: number;
  /** SVIDs that move to `to`, or return to `from`, at their next renewal. */
  readonly willMove: number;
  readonly willReturn: number;
  /** SVIDs whose turn it is and that stay with `from`, by why; with the first few IDs of each. */
  readonly staying: Readonly<
    Partial<Record<StayReason, { readonly count: number; readonly ids: SpiffeId[] }>>
  >;
}

/** IDs of one reason that are named. */
const MAX_NAMED = 5;

/** One live SVID, with the name of the authority that signed it. */
export interface LiveSvid {
  readonly spiffeId: SpiffeId;
  readonly authority: string;
  /** The authority that its rule names, where that is not the cutover's `from`: it is then not counted. */
  readonly given?: string;
  /** Why it cannot be with `to`; absent where it can. */
  readonly fault?: StayReason | undefined;
}

/** How far a cutover has come. */
export function progressOf(cutover: Cutover, live: Iterable<LiveSvid>): CutoverProgress {
  const staying: Partial<Record<StayReason, { count: number; ids: SpiffeId[] }>> = {};
  const progress = { atFrom: 0, atTo: 0, willMove: 0, willReturn: 0, staying };
  for (const { spiffeId, authority, given = cutover.from, fault } of live) {
    if (given !== cutover.from) continue;
    const isFrom = authority === cutover.from;
    if (!isFrom && authority !== cutover.to) continue;
    if (isFrom) progress.atFrom++;
    else progress.atTo++;
    const wanted = side(cutover, spiffeId, authority);
    const next = wanted === cutover.to && fault !== undefined ? cutover.from : wanted;
    if (next !== wanted && fault !== undefined) {
      const those = (staying[fault] ??= { count: 0, ids: [] });
      those.count++;
      if (those.ids.length < MAX_NAMED) those.ids.push(spiffeId);
    }
    if (next === authority) continue;
    if (isFrom) progress.willMove++;
    else progress.willReturn++;
  }
  return progress;
}

function requireBundles({ id, to, publishedIn }: Cutover, oldest: number | undefined): void {
  if (oldest !== undefined && oldest < publishedIn)
    throw conflict(id, `not every connected agent has confirmed the bundle with the root of ${to}: it waits`);
}

function check({ id, state }: Cutover, act: keyof typeof ALLOWED): void {
  if (!ALLOWED[act].includes(state))
    throw conflict(id, `it is ${state}: it can ${act} only when it is ${ALLOWED[act].join(' or ')}`);
}

function checkShare(id: string, share: number): void {
  if (!(share >= 0 && share <= 1))
    throw new InterlockError('usage', id, `cutover "${id}": a share is from 0 to 1`);
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`;
}

function conflict(id: string, reason: string): InterlockError {
  return new InterlockError('conflict', id, `cutover "${id}": ${reason}`);
}
