import { z } from 'zod';
import { id, name, names, next, page, principalText, type RouteSchema, time } from './common.ts';

/** Rules that end by themselves. */
export const exceptions = {
  'exceptions.list': {
    query: z.strictObject(page),
    answer: z.strictObject({
      exceptions: z
        .array(
          z.strictObject({
            workload: id,
            policy: name,
            rule: name,
            from: z.array(principalText).describe('Whom the rule is about.'),
            until: z.string().describe('As the document says it.'),
            ends: time,
            over: z.boolean().describe('It has ended: it allows nothing any more.'),
            reason: z.string().exactOptional(),
            owners: names.describe('Who owns the workload.'),
            sets: z.array(z.enum(['target', 'enforced'])).describe('The sets that the rule is in.'),
          }),
        )
        .describe('The first to end first.'),
      next,
    }),
  },
} as const satisfies Readonly<Record<string, RouteSchema>>;
