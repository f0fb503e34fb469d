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
  'replica',
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

/** What a notification is about. */
export const NOTICE_TYPES = [
  /** Rules to add or widen wait for a decision; rules that nobody uses; accesses that a target in shadow would deny. */
  'proposal',
  'tightening',
  'question',
  /** Somebody asks the owners of a workload. */
  'comment',
  /** An access was seen for the first time whose verdict the target set would change. */
  'flip',
  /** A target has come to canary or enforced; was taken back by a person; fell back by itself. */
  'promotion',
  'demotion',
  'fallback',
  /** The red button, and its end. */
  'release',
  'arm',
  /** Authorities were made, took over, were tainted or revoked; one ends, and none takes over. */
  'authority',
  'authority-expiring',
  /** An identity or an agent may enter no more. */
  'revocation',
  /** A rule with an end is about to end. */
  'exception-ending',
  /** Somebody tries whether a channel works. */
  'test',
] as const;
export type NoticeType = (typeof NOTICE_TYPES)[number];
