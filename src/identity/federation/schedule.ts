import type { ErrorCode } from '../../access/index.ts';
import { type Bundle, newerBundle, wentBack } from '../bundle/index.ts';

/** Seconds between two looks where a bundle gives no hint: SPIFFE_Federation.md section 4.1. */
export const DEFAULT_REFRESH = 300;
/** A hint never makes us look more often than this many seconds, nor more seldom than once a day. */
export const MIN_REFRESH = 60;
export const MAX_REFRESH = 24 * 60 * 60;
/**
 * Seconds to the first look after a failed one; each further one doubles it. While there is no bundle nothing of the
 * peer is accepted, so the first is worth a hurry; later a failure waits a minute, so as not to burden the endpoint
 * (section 6.2).
 */
const FIRST_RETRY = { withoutBundle: 5, withBundle: MIN_REFRESH };
/** Longest wait in seconds after failures, whatever the hint: an endpoint that is back is noticed within the hour. */
const MAX_RETRY = 60 * 60;
/** Publishers announce keys 3 to 5 refreshes ahead (section 4.1): a bundle older than 3 may lack one already in use. */
const STALE_AFTER = 3;

/** The last thing that went wrong with a peer. */
export interface FederationFault {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** What is known of one peer. Every function below gives a new state; times are in milliseconds since 1970. */
export interface PeerState {
  readonly trustDomain: string;
  readonly bundle?: Bundle | undefined;
  /** When the endpoint last confirmed the bundle; undefined for one that was given by hand or from a store. */
  readonly fetchedAt?: number | undefined;
  /** When to look next. */
  readonly nextAt: number;
  /** Failed looks in a row. */
  readonly failures: number;
  /** Kept after a success, so that what happened can be seen. */
  readonly lastFault?: FederationFault | undefined;
}

/** A number from 0 up to, not including, 1. */
export type Random = () => number;

/** A peer that was just configured or read from the store: it is looked at within five seconds, not all at once. */
export function startPeer(
  trustDomain: string,
  known: { readonly bundle?: Bundle | undefined; readonly fetchedAt?: number | undefined },
  now: number,
  random: Random,
): PeerState {
  const nextAt = now + Math.floor(random() * FIRST_RETRY.withoutBundle * 1000);
  return { trustDomain, bundle: known.bundle, fetchedAt: known.fetchedAt, nextAt, failures: 0 };
}

/** The endpoint answered with a bundle. One from before the held one counts as a failure, and the held one stays. */
export function fetched(state: PeerState, offered: Bundle, now: number, random: Random): PeerState {
  const held = state.bundle;
  if (held !== undefined && wentBack(held, offered)) {
    const message =
      `${state.trustDomain} offers sequence ${offered.sequence} after ${held.sequence}: an old bundle; ` +
      'if the trust domain was set up anew, set its bundle by hand';
    return failed(state, { at: now, code: 'conflict', message }, random);
  }
  const bundle = newerBundle(held, offered);
  // Never later than the hint says; up to a tenth sooner, so that peers spread out.
  const wait = Math.max(MIN_REFRESH, refreshOf(bundle) * (1 - random() / 10));
  return { ...state, bundle, fetchedAt: now, nextAt: now + Math.floor(wait * 1000), failures: 0 };
}

/** The look failed: the bundle stays, and the next look comes after a growing time. */
export function failed(state: PeerState, fault: FederationFault, random: Random): PeerState {
  const failures = state.failures + 1;
  const first = state.bundle === undefined ? FIRST_RETRY.withoutBundle : FIRST_RETRY.withBundle;
  const longest = Math.min(refreshOf(state.bundle), MAX_RETRY);
  const backoff = Math.min(first * 2 ** Math.min(failures - 1, 20), longest);
  // The upper half at random: peers that failed together do not come back together.
  const wait = backoff * (0.5 + random() / 2);
  return { ...state, failures, lastFault: fault, nextAt: fault.at + Math.floor(wait * 1000) };
}

/** Seconds between two looks. */
export function refreshOf(bundle: Bundle | undefined): number {
  return Math.min(Math.max(bundle?.refreshHint || DEFAULT_REFRESH, MIN_REFRESH), MAX_REFRESH);
}

/** True where the bundle may lack keys that its domain uses by now: it missed three refreshes or was never fetched. */
export function isStale(state: PeerState, now: number): boolean {
  if (state.bundle === undefined) return false;
  if (state.fetchedAt === undefined) return true;
  return now - state.fetchedAt > STALE_AFTER * refreshOf(state.bundle) * 1000;
}
