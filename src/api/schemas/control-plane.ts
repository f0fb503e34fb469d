import { z } from 'zod';
import { ROLES } from '../roles.ts';
import { EVENT_TYPES } from '../words.ts';
import { count, json, next, page, principalText, type RouteSchema, time } from './common.ts';

const nothing = z.strictObject({});
const session = z.strictObject({
  id: z.string().describe('Names the session; it is not its secret.'),
  who: z.string(),
  roles: z.array(z.enum(ROLES)),
  at: time,
  lastSeen: time,
  until: time,
  isThis: z.boolean(),
});
const entry = z.strictObject({
  seq: z.int(),
  at: time,
  who: z.string(),
  act: z.string(),
  what: z.string(),
  details: json,
  previous: z.string(),
  hash: z.string(),
});

/** One server-sent event: its `data`. `id` is what has changed: a workload, a proxy, a release; "" for many at once. */
export const event = z.strictObject({ type: z.enum(EVENT_TYPES), id: z.string(), at: time });

export const controlPlane = {
  'status.get': {
    answer: z.strictObject({
      version: z.string(),
      startedAt: time,
      trustDomain: z.string(),
      port: z.int(),
      agents: z.int(),
      connected: z.int(),
      rules: z.int(),
      live: z.int(),
      revoked: z.int(),
    }),
  },
  'openapi.get': { answer: z.looseObject({ openapi: z.string() }) },
  'me.get': {
    answer: z.strictObject({
      who: z.string(),
      roles: z.array(z.enum(ROLES)),
      isLocal: z.boolean(),
      trustDomain: z.string().describe("The control plane's own."),
    }),
  },
  'sessions.list': { answer: z.strictObject({ sessions: z.array(session) }) },
  'sessions.end': {
    params: z.strictObject({ id: z.string().max(128) }),
    answer: z.strictObject({ ended: z.string() }),
  },
  'sign-in-links.make': {
    body: nothing,
    answer: z.strictObject({ url: z.string(), until: time }),
  },
  'bundle.get': { answer: z.strictObject({ document: z.string(), pem: z.string() }) },
  'events.stream': { answer: event },
  'audit.list': {
    query: z.strictObject({
      limit: page.limit,
      after: count(0, Number.MAX_SAFE_INTEGER)
        .default(0)
        .describe('Entries after this one in the order; 0 from the first, or the newest, on.'),
      order: z.enum(['oldest', 'newest']).default('oldest').describe('Which entries come first.'),
      who: principalText.max(400).optional().describe('Who did it, or its beginning where it ends in "*".'),
      act: z.string().max(100).optional().describe('An act, or its beginning where it ends in "*".'),
      what: z
        .string()
        .max(2200)
        .optional()
        .describe('What it was done to; its beginning before a "*", or a part of it between two.'),
    }),
    answer: z.strictObject({ entries: z.array(entry), next }),
  },
  'audit.verify': {
    query: z.strictObject({ from: count(1, Number.MAX_SAFE_INTEGER).default(1) }),
    answer: z.strictObject({
      isWhole: z.boolean(),
      fault: z
        .strictObject({ seq: z.int(), reason: z.enum(['changed', 'missing', 'unreadable']) })
        .optional(),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
