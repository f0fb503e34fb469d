import { z } from 'zod';
import { count, principalText, type RouteSchema, time, timeInQuery } from './common.ts';

const calls = z.int().describe('Calls on TLS connections; plain text is not among them.');
const end = z.strictObject({
  principal: principalText,
  postQuantum: z.int(),
  classical: z.int(),
  unknown: z.int(),
  lastClassical: time.exactOptional(),
  lastPostQuantum: time.exactOptional(),
});

/** In which groups connections agree their keys: who still cannot do so with a post-quantum one. */
export const handshakes = {
  'handshakes.get': {
    query: z.strictObject({
      since: timeInQuery.optional().describe('Only pairs whose group was seen since.'),
      limit: count(1, 10_000).default(1000).describe('Callers and callees that are listed at most, each.'),
    }),
    answer: z.strictObject({
      calls,
      postQuantum: z.int(),
      unknown: z.int().describe('Of handshakes whose group nobody said: an Envoy does not log it.'),
      groups: z.array(
        z.strictObject({
          group: z.string().describe('As OpenSSL names it, such as "X25519MLKEM768"; or "unknown".'),
          isPostQuantum: z.boolean(),
          calls: z.int(),
          pairs: z.int(),
          lastSeen: time,
        }),
      ),
      callers: z.array(end).describe('Those with the most calls without a post-quantum key first.'),
      callees: z.array(end),
      isCut: z.boolean(),
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
