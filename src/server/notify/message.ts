import { randomBytes } from 'node:crypto';
import { z } from 'zod';
import { NOTICE_TYPES, type NoticeType } from '../../api/index.ts';
import type { Json } from '../../store/index.ts';
import { type Notice, pageOf } from './notice.ts';

/** Notices that are named one by one in a message; of the rest the number is told. */
const MOST_ITEMS = 20;

const item = z.strictObject({
  at: z.number(),
  subject: z.string(),
  summary: z.string(),
  details: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  page: z.string(),
});
const schema = z.strictObject({
  id: z.string(),
  channel: z.string(),
  type: z.enum(NOTICE_TYPES),
  count: z.int(),
  at: z.number(),
  lastAt: z.number(),
  items: z.array(item),
  attempts: z.int(),
  notBefore: z.number(),
});

export type MessageItem = z.output<typeof item>;

/** What is sent to one channel at once: one notice, or many of one type. Times are milliseconds since 1970 UTC. */
export interface Message {
  /** Stays the same however often it is sent: a receiver knows by it what it has taken already. */
  readonly id: string;
  readonly channel: string;
  readonly type: NoticeType;
  /** How many notices it stands for. */
  readonly count: number;
  /** Of its first notice, and of its last. */
  readonly at: number;
  readonly lastAt: number;
  readonly items: readonly MessageItem[];
  /** Attempts that were begun. From the first on nothing is added to it: its ID and its content belong together. */
  readonly attempts: number;
  /** It is not sent before. */
  readonly notBefore: number;
}

export function newMessage(channel: string, notice: Notice, notBefore: number): Message {
  return {
    id: `msg_${randomBytes(16).toString('hex')}`,
    channel,
    type: notice.type,
    count: 1,
    at: notice.at,
    lastAt: notice.at,
    items: [itemOf(notice)],
    attempts: 0,
    notBefore,
  };
}

/** The message with one notice more. */
export function withNotice(message: Message, notice: Notice): Message {
  const { items, count, at, lastAt } = message;
  return {
    ...message,
    count: count + 1,
    at: Math.min(at, notice.at),
    lastAt: Math.max(lastAt, notice.at),
    items: items.length < MOST_ITEMS ? [...items, itemOf(notice)] : items,
  };
}

function itemOf(notice: Notice): MessageItem {
  const { at, subject, summary, details } = notice;
  return { at, subject, summary, details: { ...details }, page: pageOf(notice) };
}

/** A message is plain data. */
export function messageJson(message: Message): Json {
  return { ...message };
}

/** Throws for what is no message. */
export function messageOf(data: Json): Message {
  return schema.parse(data);
}
