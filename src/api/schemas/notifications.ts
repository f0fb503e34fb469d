import { z } from 'zod';
import { NOTICE_TYPES } from '../words.ts';
import { names, type RouteSchema, tier, time } from './common.ts';

const noticeType = z.enum(NOTICE_TYPES);
const fault = z.string().optional().describe('Why the last attempt came to nothing.');
const channel = z.strictObject({
  name: z.string(),
  kind: z.enum(['webhook', 'slack']),
  host: z.string().describe('Where it sends to; the rest of the address is kept back.'),
  on: z.array(noticeType),
  only: z.strictObject({
    namespaces: names.optional(),
    tiers: z.array(tier).optional(),
    owners: names.optional(),
  }),
  waiting: z.int().describe('Notifications that were not delivered yet.'),
  sent: z.int(),
  dropped: z.int().describe('Had to make room for others.'),
  gaveUp: z.int().describe('Could not be delivered for seven days, or were refused for good.'),
  failures: z.int().describe('Attempts that failed since the last one that went well.'),
  notBefore: time,
  lastSentAt: time.optional(),
  failingSince: time.optional(),
  fault,
});
const message = z.strictObject({
  id: z.string(),
  channel: z.string(),
  type: noticeType,
  count: z.int(),
  at: time,
  attempts: z.int(),
  notBefore: time,
  summary: z.string(),
});

/** Channels of notifications. */
export const notifications = {
  'notifications.list': {
    answer: z.strictObject({
      channels: z.array(channel),
      messages: z.array(message).describe('What waits, the oldest first; 200 at most.'),
    }),
  },
  'notifications.test': {
    params: z.strictObject({ channel: z.string().max(64) }),
    answer: z.strictObject({ channel: z.string(), isDelivered: z.boolean(), fault }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
