import type { Context } from 'hono';
import type { z } from 'zod';
import { InterlockError } from '../../access/index.ts';

/** Data as its schema describes it. Throws `usage` with the field that is wrong. */
export function checked(data: unknown, schema: z.ZodType, what: string): unknown {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.map(String).join('.') ?? '';
  const where = (path === '' ? what : path).slice(0, 80);
  throw new InterlockError('usage', where, `"${where}": ${(issue?.message ?? 'not valid').slice(0, 500)}`);
}

/** The parameters of a path. */
export function paramsOf(context: Context, schema: z.ZodObject | undefined): unknown {
  return schema === undefined ? undefined : checked(context.req.param(), schema, 'path');
}

/** The query. One that names a field twice says two things: it is refused. */
export function queryOf(context: Context, schema: z.ZodObject | undefined): unknown {
  const given: Record<string, string> = Object.create(null);
  for (const [key, values] of Object.entries(context.req.queries())) {
    if (values.length !== 1)
      throw new InterlockError(
        'usage',
        key.slice(0, 80),
        `"${key.slice(0, 80)}" is given ${values.length} times`,
      );
    given[key] = values[0] ?? '';
  }
  if (schema !== undefined) return checked(given, schema, 'query');
  const [unknown] = Object.keys(given);
  if (unknown === undefined) return undefined;
  throw new InterlockError(
    'usage',
    unknown.slice(0, 80),
    `"${unknown.slice(0, 80)}": this route takes no query`,
  );
}
