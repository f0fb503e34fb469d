import type { Context } from 'hono';
import type { z } from 'zod';
import { InterlockError } from '../../access/index.ts';

/** The body of a request as its schema describes it. Throws `usage` with the field that is wrong. */
export async function bodyOf<Schema extends z.ZodType>(
  context: Context,
  schema: Schema,
): Promise<z.output<Schema>> {
  let data: unknown;
  try {
    data = await context.req.json();
  } catch (cause) {
    throw new InterlockError('usage', 'body', 'the body is not JSON', { cause });
  }
  return checked(data, schema, 'body');
}

/** The query of a request as its schema describes it. Throws `usage`. */
export function queryOf<Schema extends z.ZodType>(context: Context, schema: Schema): z.output<Schema> {
  return checked(context.req.query(), schema, 'query');
}

function checked<Schema extends z.ZodType>(data: unknown, schema: Schema, what: string): z.output<Schema> {
  const parsed = schema.safeParse(data);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? what : issue.path.map(String).join('.');
  throw new InterlockError(
    'usage',
    where.slice(0, 80),
    `"${where.slice(0, 80)}": ${issue?.message ?? 'not valid'}`,
  );
}
