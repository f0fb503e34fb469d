// Words and limits of the API that its callers need without its schemas.

/** What an event is about. */
export const EVENT_TYPES = [
  'rollout',
  'release',
  'point',
  'flip',
  'access',
  'identity',
  'proposal',
  'audit',
  /** The events since the one named are not known any more: everything has to be read again. */
  'reset',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/**
 * How an access stands: no policy protects its callee (`open`); today's set and the target set agree (`allowed`,
 * `denied`); the target would change it (`would-deny`, `would-allow`); a rule allows it and nobody has used it (`unused`).
 */
export const ACCESS_STATES = ['open', 'allowed', 'denied', 'would-deny', 'would-allow', 'unused'] as const;
export type AccessState = (typeof ACCESS_STATES)[number];

/** How the calls of an access were authenticated: all by both ends, some in plain text, or it is not known. */
export const ACCESS_AUTHENTICATION = ['mutual', 'plaintext', 'unknown'] as const;

/** Longest page of each list. */
export const MAX_PAGE = 10_000;

/** Longest time that a caller may wait for confirmations in one call. */
export const MAX_WAIT_MS = 30_000;
