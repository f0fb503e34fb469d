import { z } from 'zod';
import { InterlockError, parsePrincipal, parseSpiffeId } from '../../../access/index.ts';

export const POLICY_TEST_KIND = 'PolicyTest';

/** Cases and recordings of one document. */
const MAX_CASES = 10_000;
const MAX_RECORDINGS = 100;

/** Text that a reader of ours takes; its error is the reason. */
function read(reader: (text: string) => unknown, description: string) {
  return z
    .string()
    .max(4096)
    .superRefine((text, context) => {
      try {
        reader(text);
      } catch (error) {
        if (!(error instanceof InterlockError)) throw error;
        context.addIssue({ code: 'custom', message: error.message });
      }
    })
    .describe(description);
}

const name = z.string().trim().min(1).max(200);
const from = read(parsePrincipal, 'A SPIFFE ID, or "unauthenticated:" and where the caller comes from.');
const to = read(parseSpiffeId, 'The SPIFFE ID of the workload that is called.');
const port = z.int().min(1).max(65_535).describe("The callee's own port.");
const path = z
  .string()
  .startsWith('/')
  .max(8192)
  .describe('As it is sent, with its query where conditions look at it.');
const method = z.string().regex(/^[A-Z][A-Z0-9-]{0,31}$/, 'a method is written in upper case, as in GET');

const action = z
  .union([
    z.strictObject({ http: z.strictObject({ method, path }), port }),
    z.strictObject({ grpc: z.strictObject({ service: name, method: name }), port }),
    z.strictObject({ tcp: z.strictObject({}), port }),
  ])
  .describe('One request or connection.');

const policyCase = z.strictObject({
  name,
  from,
  to,
  action,
  expect: z.enum(['allow', 'deny']),
  by: name.optional().describe('The rule that decides: RULE, or POLICY/RULE.'),
  host: z.string().max(2048).optional(),
  headers: z.record(z.string().max(256), z.string().max(8192)).optional(),
  sourceAddress: z.string().max(128).optional().describe('ADDRESS:PORT, for conditions on it.'),
});

const except = z
  .strictObject({
    from: from.optional(),
    to: to.optional(),
    method: z.string().max(256).optional().describe('Of HTTP or gRPC.'),
    path: z.string().max(8192).optional().describe('As it was recorded; /Service/Method of gRPC.'),
    port: port.optional(),
    why: z.string().trim().min(1).max(1000),
  })
  .refine(
    ({ from: caller, to: callee }) => caller !== undefined || callee !== undefined,
    '"except" names a caller or a callee: all others would be excepted as well',
  );

const recording = z.strictObject({
  file: z
    .string()
    .min(1)
    .max(1024)
    .describe('What "interlock access --json" printed, from the directory of this file.'),
  except: z
    .array(except)
    .max(1000)
    .default([])
    .describe('What is denied on purpose. All else is to be allowed.'),
});

/** One PolicyTest document: what policies have to decide. */
export const policyTestSchema = z.strictObject({
  apiVersion: z.literal('interlock.dev/v1alpha1'),
  kind: z.literal(POLICY_TEST_KIND),
  metadata: z.strictObject({ name }),
  spec: z
    .strictObject({
      cases: z.array(policyCase).max(MAX_CASES).default([]),
      recordings: z.array(recording).max(MAX_RECORDINGS).default([]),
    })
    .refine(
      ({ cases, recordings }) => cases.length + recordings.length > 0,
      'there is neither a case nor a recording',
    ),
});

export type PolicyTest = z.output<typeof policyTestSchema>;
export type PolicyCase = PolicyTest['spec']['cases'][number];
export type RecordingToTest = PolicyTest['spec']['recordings'][number];
export type Exception = RecordingToTest['except'][number];

/** The JSON Schema (2020-12) of a PolicyTest document, for editors. It knows the shape, not the checks. */
export function policyTestJsonSchema(): Record<string, unknown> {
  return { ...z.toJSONSchema(policyTestSchema, { target: 'draft-2020-12', io: 'input' }) };
}
