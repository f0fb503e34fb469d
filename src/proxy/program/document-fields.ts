import { z } from 'zod';
import { parse } from 'yaml';
import { InterlockError, isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { DEFAULT_TIMEOUTS, type Timeouts } from '../settings.ts';
import { type Address, PROTOCOLS } from '../types.ts';

const MAX_TEXT = 1024 * 1024;
export const MAX_ROUTES = 1000;

/** HOST:PORT or [IPv6]:PORT, split; undefined for anything else. */
export function addressOf(text: string): Address | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host === undefined || !(port <= 65_535) ? undefined : { host, port };
}

/** A field that is HOST:PORT. */
export const address = z.string().transform((text, context) => {
  const split = addressOf(text);
  if (split !== undefined) return split;
  context.addIssue({ code: 'custom', message: `"${text.slice(0, 60)}" is no address: HOST:PORT` });
  return z.NEVER;
});
/** A field that is a SPIFFE ID. */
export const workload = z.string().transform((text, context) => {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    context.addIssue({ code: 'custom', message: isInterlockError(error) ? error.message : String(error) });
    return z.NEVER;
  }
});
/** Versions of the PROXY header. */
export const header = z.enum(['v1', 'v2']);
export const protocol = z.enum(PROTOCOLS).default('http');
const milliseconds = z.int().min(1).max(86_400_000);

export const port = z.int().min(1).max(65_535);

/** Whose PROXY headers are believed. */
export const trustProxyHeader = z.strictObject({
  addresses: z.array(z.string().max(64)).default([]),
  workloads: z.array(workload).default([]),
});

/** Users of this machine, by name or number, or "any". */
export const outboundUsers = z.union([
  z.literal('any'),
  z.array(z.union([z.string().min(1).max(256), z.int().min(0).max(4_294_967_294)])).max(256),
]);

export const timeouts = z
  .strictObject(
    // The keys of the defaults are those of the type.
    Object.fromEntries(
      Object.keys(DEFAULT_TIMEOUTS).map((name) => [name, milliseconds.exactOptional()]),
    ) as Record<keyof Timeouts, z.ZodExactOptional<typeof milliseconds>>,
  )
  .default({});

/** Reads one document, YAML or JSON. Throws `invalid_document` naming the field, `limit`. */
export function readDocument<T>(text: string, file: string, kind: string, schema: z.ZodType<T>): T {
  if (text.length > MAX_TEXT)
    throw new InterlockError('limit', file, `${file} is larger than ${MAX_TEXT} characters`);
  let data: unknown;
  try {
    data = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    // The parser's first line names the place; the rest draws it.
    const [why = ''] = (cause instanceof Error ? cause.message : String(cause)).split('\n');
    const words = why.replace(/:$/, '').slice(0, 200);
    throw new InterlockError('invalid_document', file, `${file} is no YAML: ${words}`, { cause });
  }
  const parsed = schema.safeParse(data);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where =
      issue === undefined || issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `;
    throw new InterlockError(
      'invalid_document',
      file,
      `${file} is no ${kind}: ${where}${issue?.message ?? ''}`,
    );
  }
  return parsed.data;
}
