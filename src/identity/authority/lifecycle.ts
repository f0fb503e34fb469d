import { InterlockError } from '../../access/index.ts';

/** The life of an authority: it is published, then signs, then only is trusted until what it signed has ended. */
export const AUTHORITY_STATES = ['prepared', 'active', 'old'] as const;
export type AuthorityState = (typeof AUTHORITY_STATES)[number];

/** What the rules of the life of an authority look at. Times are milliseconds since 1970. */
export interface AuthoritySlot {
  /** Its key ID. */
  readonly id: string;
  /** Which of the named authorities it serves. */
  readonly name: string;
  readonly state: AuthorityState;
  readonly notBefore: number;
  /** When the first certificate on the way to its root ends. */
  readonly notAfter: number;
  /** The first version of the bundles that holds its root. */
  readonly publishedIn: number;
  /** When the last of what it has signed ends; absent where that is not known. */
  readonly lastSignedEnds?: number;
  readonly taintedAt?: number;
  readonly revokedAt?: number;
}

/** Which bundles the connected agents and their workloads have. */
export interface Confirmations {
  /** The oldest version that a connected agent has confirmed; undefined where none is connected. */
  readonly oldest: number | undefined;
  /** Agents that are behind the newest version. */
  readonly behind: readonly string[];
  /** Since when agents could connect: right after a start the first ones speak for nobody else. */
  readonly since: number;
}

/** A new authority is prepared at this part of the active one's life, and takes over with this part left. */
export const PREPARE_AT: number = 1 / 2;
export const ACTIVATE_WITH_LEFT: number = 1 / 6;
/**
 * Which part of the time that is then left agents have to confirm it, where no other time is set. One that is connected
 * and does not answer must not let everybody's authority end.
 */
export const PATIENCE: number = 1 / 2;
/** How long agents have to come back after a start of the control plane before their absence means anything. */
export const SETTLE_MS = 60_000;

/** What is to be done now. */
export type AuthorityStep =
  | { readonly step: 'prepare'; readonly name: string }
  /** `unconfirmed`: agents had their time, and it goes on without those that have not confirmed it. */
  | { readonly step: 'activate'; readonly id: string; readonly unconfirmed?: true }
  | { readonly step: 'prune'; readonly id: string }
  | {
      readonly step: 'warn';
      readonly id: string;
      readonly warning: AuthorityWarning;
      readonly message: string;
    };

/** Why a person must look: nothing of it is ever done silently. */
export const AUTHORITY_WARNINGS = ['unconfirmed', 'not prepared', 'expired'] as const;
export type AuthorityWarning = (typeof AUTHORITY_WARNINGS)[number];

/**
 * Everything that is due for these authorities: the same for the same arguments, safe to be asked for at any time.
 * `patience`: how long a takeover that is due waits for agents, milliseconds; {@link PATIENCE} where absent.
 */
export function nextSteps(
  slots: readonly AuthoritySlot[],
  now: number,
  confirmations: Confirmations,
  patience?: number,
): AuthorityStep[] {
  const steps: AuthorityStep[] = [];
  for (const name of [...new Set(slots.map((slot) => slot.name))].sort()) {
    const own = slots.filter((slot) => slot.name === name);
    steps.push(...takeOver(name, own, now, confirmations, patience));
    for (const slot of own) if (isOver(slot, now)) steps.push({ step: 'prune', id: slot.id });
  }
  return steps;
}

function takeOver(
  name: string,
  slots: readonly AuthoritySlot[],
  now: number,
  confirmations: Confirmations,
  patience: number | undefined,
): AuthorityStep[] {
  const active = slots.find((slot) => slot.state === 'active');
  const prepared = slots.find((slot) => canTakeOver(slot, now));
  if (active === undefined) {
    if (prepared === undefined) return [{ step: 'prepare', name }];
    return isConfirmed(prepared, now, confirmations) ? [{ step: 'activate', id: prepared.id }] : [];
  }
  const life = active.notAfter - active.notBefore;
  const left = life * ACTIVATE_WITH_LEFT;
  const isDue = now >= active.notAfter - left;
  if (prepared !== undefined) {
    if (!isDue) return [];
    if (isConfirmed(prepared, now, confirmations)) return [{ step: 'activate', id: prepared.id }];
    const waited = now - Math.max(active.notAfter - left, confirmations.since);
    if (waited >= Math.max(SETTLE_MS, Math.min(patience ?? left * PATIENCE, left)))
      return [{ step: 'activate', id: prepared.id, unconfirmed: true }];
    return [unconfirmed(active, prepared, now, confirmations)];
  }
  if (now < active.notBefore + life * PREPARE_AT) return [];
  const steps: AuthorityStep[] = [{ step: 'prepare', name }];
  if (isDue) steps.push(warning(active, 'not prepared', now, 'no other one is prepared'));
  return steps;
}

/** Loud, and nothing more for a while: what an authority signs is refused wherever it is not in the bundle. */
function unconfirmed(
  active: AuthoritySlot,
  prepared: AuthoritySlot,
  now: number,
  { behind, since }: Confirmations,
): AuthorityStep {
  const who =
    behind.length > 0
      ? namesOf(behind, prepared.id)
      : now < since + SETTLE_MS
        ? 'agents are still coming back after the start'
        : `${prepared.id} is not confirmed`;
  return warning(active, 'unconfirmed', now, who);
}

function warning(slot: AuthoritySlot, kind: AuthorityWarning, now: number, why: string): AuthorityStep {
  const isOver = now >= slot.notAfter;
  const end = new Date(slot.notAfter).toISOString();
  const message = isOver
    ? `authority ${slot.id} ("${slot.name}") expired at ${end} and nothing more is signed: ${why}`
    : `authority ${slot.id} ("${slot.name}") ends at ${end} and is not replaced: ${why}`;
  return { step: 'warn', id: slot.id, warning: isOver ? 'expired' : kind, message };
}

function canTakeOver(slot: AuthoritySlot, now: number): boolean {
  return (
    slot.state === 'prepared' &&
    slot.taintedAt === undefined &&
    slot.revokedAt === undefined &&
    now < slot.notAfter
  );
}

/** Whether a slot is of no more use: everything it signed has ended, or it has itself. */
function isOver(slot: AuthoritySlot, now: number): boolean {
  if (slot.state === 'active') return false;
  if (slot.state === 'prepared') return now > slot.notAfter;
  return now > Math.min(slot.lastSignedEnds ?? slot.notAfter, slot.notAfter);
}

/** Whether every connected agent has the bundle that holds the slot's root, and all had time to connect. */
export function isConfirmed(
  slot: Pick<AuthoritySlot, 'publishedIn'>,
  now: number,
  { oldest, since }: Confirmations,
): boolean {
  return now >= since + SETTLE_MS && (oldest === undefined || oldest >= slot.publishedIn);
}

/** Who has not confirmed an authority: their number, and the first of them. */
function namesOf(behind: readonly string[], what: string): string {
  const who = `${behind.slice(0, 5).join(', ')}${behind.length > 5 ? ', ...' : ''}`;
  return `${behind.length} ${behind.length === 1 ? 'agent has' : 'agents have'} not confirmed ${what}: ${who}`;
}

/** How an authority is made active by hand: as it should be, or although agents have not confirmed it. */
export interface ActivateOptions {
  readonly now: number;
  readonly confirmations: Confirmations;
  /** Activates without the confirmations; a person has said so by name. */
  readonly force?: boolean;
}

/** The slots after a prepared one took over. Throws `conflict` where it may not, `not_found`. */
export function activated<T extends AuthoritySlot>(
  slots: readonly T[],
  id: string,
  { now, confirmations, force = false }: ActivateOptions,
): T[] {
  const slot = slotOf(slots, id);
  if (slot.state !== 'prepared') throw conflict(id, `it is ${slot.state}, not prepared`);
  if (slot.taintedAt !== undefined || slot.revokedAt !== undefined) throw conflict(id, 'it is tainted');
  if (now >= slot.notAfter) throw conflict(id, 'it has expired');
  if (!force && !isConfirmed(slot, now, confirmations)) {
    const { behind } = confirmations;
    const who = behind.length === 0 ? 'agents are still coming back' : namesOf(behind, 'it');
    throw conflict(id, `${who}: its SVIDs would be refused there. Wait, or force it`);
  }
  return slots.map((each) => {
    if (each.id === id) return { ...each, state: 'active' };
    return each.name === slot.name && each.state === 'active' ? { ...each, state: 'old' } : each;
  });
}

/**
 * The slots after one is not to be relied on any more; what it signed is then replaced. The active one gives way to a
 * prepared one that is confirmed. Throws `conflict` where there is none, `not_found`.
 */
export function tainted<T extends AuthoritySlot>(
  slots: readonly T[],
  id: string,
  options: Omit<ActivateOptions, 'force'>,
): T[] {
  const slot = slotOf(slots, id);
  const { now } = options;
  if (slot.taintedAt !== undefined) return [...slots];
  let after: readonly T[] = slots;
  if (slot.state === 'active') {
    const next = slots.find((each) => each.name === slot.name && canTakeOver(each, now));
    if (next === undefined)
      throw conflict(id, 'it is the one that signs, and no other one is prepared: prepare one first');
    after = activated(slots, next.id, options);
  }
  return after.map((each) => (each.id === id ? { ...each, taintedAt: now } : each));
}

/** The slots after a tainted one is trusted no more: its root leaves the bundle. Throws `conflict`, `not_found`. */
export function revoked<T extends AuthoritySlot>(slots: readonly T[], id: string, now: number): T[] {
  const slot = slotOf(slots, id);
  if (slot.taintedAt === undefined)
    throw conflict(id, 'it is not tainted: taint it first, so that what it signed is replaced');
  return slots.map((each) => (each.id === id ? { ...each, revokedAt: each.revokedAt ?? now } : each));
}

/** The slots whose roots stand in the bundle. */
export function trusted<T extends AuthoritySlot>(slots: readonly T[], now: number): T[] {
  return slots.filter((slot) => slot.revokedAt === undefined && now < slot.notAfter);
}

function slotOf<T extends AuthoritySlot>(slots: readonly T[], id: string): T {
  const slot = slots.find((each) => each.id === id);
  if (slot !== undefined) return slot;
  throw new InterlockError('not_found', id, `there is no authority ${id}`);
}

function conflict(id: string, reason: string): InterlockError {
  return new InterlockError('conflict', id, `authority ${id}: ${reason}`);
}
