import { z } from 'zod';
import { isInterlockError, MAX_SPIFFE_ID_BYTES, parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { STAGES, TIERS } from '../../policy/index.ts';
import { MAX_PAGE } from '../words.ts';

/** What one route takes and gives. Every object is strict: an unknown field is an error, not a wish that is passed over. */
export interface RouteSchema {
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  readonly answer: z.ZodType;
}

/** A SPIFFE ID that a caller gives, in full. */
export const spiffeId = z
  .string()
  .max(MAX_SPIFFE_ID_BYTES)
  .transform(checked)
  .describe('A SPIFFE ID in full.');

/** A SPIFFE ID in a path: without `spiffe://`. */
export const idInPath = z
  .string()
  .max(MAX_SPIFFE_ID_BYTES)
  .transform((text, context) => checked(`spiffe://${text}`, context))
  .describe('A SPIFFE ID without "spiffe://", percent-encoded.');

function checked(text: string, context: z.core.$RefinementCtx): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (!isInterlockError(error)) throw error;
    context.addIssue({ code: 'custom', message: error.message, input: text });
    return z.NEVER;
  }
}

/** A SPIFFE ID that we give. */
export const id = z.string() as z.ZodType as z.ZodType<SpiffeId, SpiffeId>; // Checked before it came to be known here.

/** A number in a query, which is text. */
export const count = (least: number, most: number) => z.coerce.number().int().min(least).max(most);

/** How a long list is asked for: `after` is the `next` of the page before. */
export const page = { limit: count(1, MAX_PAGE).default(200), after: z.string().min(1).max(400).optional() };

/** Where the next page begins; absent on the last one. */
export const next = z
  .string()
  .optional()
  .describe('Give it as "after" for the next page; absent on the last one.');

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
/** Any JSON. A body is JSON before it is looked at, and not deep; `z.json()` would refer to itself in the OpenAPI document. */
export const json = z.unknown() as z.ZodType as z.ZodType<Json, Json>;

/** A moment: milliseconds since 1970 UTC. */
export const time = z.number().describe('Milliseconds since 1970 UTC.');
/** The same in a query. */
export const timeInQuery = z.coerce.number().min(0);

export const tier = z.enum(TIERS);
export const tierReason = z
  .string()
  .describe('Why that is stricter than what the policies say, where it is.');
export const stage = z.enum(STAGES);
export const reason = z.string().trim().min(1).max(1000);
export const name = z.string().min(1).max(253);
/** A share, 0 to 1. */
export const share = z.number().min(0).max(1);
/** The change that proxies confirm: `changes.get` follows it. */
export const change = z.string();
export const names = z.array(z.string());
export const ids = z.array(id);

/** Documents as text: YAML, and the file they are of for error messages. */
export const yamlBody = z.strictObject({ yaml: z.string(), file: z.string().max(4096).optional() });

const commit = z.string().regex(/^([0-9a-f]{40}|[0-9a-f]{64})$/);
/** Names a run of `interlock sync`, for as long as it has its turn. */
export const syncHolder = z.string().regex(/^[A-Za-z0-9._-]{8,100}$/);
/**
 * A name of the outside that is shown to others: no control characters, and none that turn the direction of what stands beside it
 * (Unicode UAX #9, explicit marks).
 */
export const shownName = (most: number) =>
  z
    .string()
    .min(1)
    .max(most)
    .regex(/^[^\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]*$/u, {
      error: 'it has characters that are not shown, or turn the direction of a text',
    });
/** Of documents that are kept elsewhere: a repository and the directory in it. */
export const sourceName = shownName(1024);
/** What was checked out. */
export const checkedOut = {
  commit: commit.optional().describe('The Git commit that was checked out.'),
  branch: shownName(255).optional().describe('The branch that was checked out.'),
};
/** Who has written something, as Git knows them: `git:` and an address. */
export const gitAuthors = z.array(z.string().regex(/^git:\P{C}{1,320}$/u)).max(100);

/** Where documents come from that a sync applies: for the audit log. */
export const syncSource = z.strictObject({
  name: sourceName.describe('The repository and the directory in it, as "host/repository//path".'),
  ...checkedOut,
  holder: syncHolder
    .optional()
    .describe('The run that has its turn (syncs.take): needed where another one could have it.'),
});

/** Where a document comes from that was synced. */
export const origin = z.strictObject({
  source: z.string().describe('The repository and the directory in it, as "host/repository//path".'),
  file: z.string().describe('The file, from there.'),
  commit: z.string().optional(),
  branch: z.string().optional(),
  authors: z.array(z.string()).describe('Who has written of it by the history of its file.'),
  authorsCut: z
    .literal(true)
    .optional()
    .describe('There may be more authors: the history in the checkout did not go as far.'),
  by: z.string().describe('Who has run the sync.'),
  at: time,
  changedSince: z
    .literal(true)
    .optional()
    .describe('What is here now is not what was synced: it was changed here since.'),
});

/** An AccessPolicy as we give it: its outer shape; the whole of it is docs/accesspolicy.schema.json. */
export const policyDocument = z.looseObject({
  apiVersion: z.string(),
  kind: z.literal('AccessPolicy'),
  metadata: z.looseObject({ name: z.string() }),
  spec: z.looseObject({
    protects: z.strictObject({ workload: z.string() }),
    tier,
    stage,
    rules: z.array(z.looseObject({ name: z.string() })),
    deny: z.array(z.looseObject({ name: z.string() })),
  }),
}) as z.ZodType as z.ZodType<AccessPolicy, AccessPolicy>; // Its inner shape was checked by `readPolicies`.

/** What a principal does. */
export const action = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('tcp'), port: z.int() }),
  z.strictObject({ kind: z.literal('http'), port: z.int(), method: z.string(), path: z.string() }),
  z.strictObject({ kind: z.literal('grpc'), port: z.int(), service: z.string(), method: z.string() }),
]);

/** Who acts: a workload, or what a caller without an identity is known by. */
export const principal = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('workload'), id }),
  z.strictObject({ kind: z.literal('unauthenticated'), from: z.string() }),
]);
/** Its one text form: the SPIFFE ID, or `unauthenticated:FROM`. */
export const principalText = z
  .string()
  .describe('A SPIFFE ID, or "unauthenticated:" and where the caller came from.');
