import { z } from 'zod';
import { checkedOut, reason, type RouteSchema, shownName, sourceName, syncHolder, time } from './common.ts';

const kind = z.enum(['once', 'watch']).describe('A single run, or one that keeps the source in step.');

const shown = z.strictObject({
  source: z.string(),
  kind,
  by: z.string().describe('Who runs it, or ran it last.'),
  host: z.string().optional().describe('Where it runs, as it says.'),
  commit: z.string().optional(),
  branch: z.string().optional(),
  since: time.describe('Since when it has its turn.'),
  at: time.describe('When it was heard of last.'),
  until: time.describe('When its turn ends unless it is heard of again; in the past where it is over.'),
  fault: z.string().optional().describe('Why it applies nothing now, in its own words.'),
});

export const syncs = {
  'syncs.list': { answer: z.strictObject({ syncs: z.array(shown) }) },
  'syncs.take': {
    body: z.strictObject({
      source: sourceName,
      holder: syncHolder,
      kind,
      host: shownName(253).optional(),
      ...checkedOut,
      forMs: z
        .int()
        .min(0)
        .max(600_000)
        .describe('How long the turn lasts unless it is taken again; 0 gives it back.'),
      fault: reason.optional(),
    }),
    answer: z.strictObject({ until: time }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
