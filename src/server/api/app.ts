import { hash } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Caller, mayCall, ROUTE_NAMES, type RouteName, ROUTES } from '../../api/index.ts';
import { type RouteSchema, SCHEMAS } from '../../api/schemas/index.ts';
import { checked, paramsOf, queryOf } from './checked.ts';
import { type Call, type Handler, type Handlers, type PlainRoute, Prepared } from './handler.ts';
import { handlersOf } from './handlers.ts';
import { readBody } from './limits.ts';
import type { ApiParts } from './parts.ts';
import { problemOf } from './problem.ts';
import { retryAfterHeader } from './retry-after.ts';
import { entityTags, matchesWeakly } from './tags.ts';

/** Who calls, or undefined for nobody in particular. Throws `untrusted` for credentials that prove nothing. */
export type CallerOf = (context: Context) => Caller | undefined | Promise<Caller | undefined>;

export interface ApiOptions {
  /** An answer that its schema does not describe is a fault: for tests. */
  readonly checkAnswers?: boolean | undefined;
}

/** Routes that change documents with a version: the others refuse "If-Match" instead of passing over it. */
const TAKES_IF_MATCH: ReadonlySet<RouteName> = new Set([
  'policies.remove',
  'rollouts.move',
  'rollouts.authenticate',
  'rules.apply',
  'rules.remove',
]);

/**
 * The HTTP API, made from the table of routes. In this order a call is asked: who it is of (401), whether its role
 * may do that (403) before anything is read, the size and depth of its body (413), its schema (400 with the field).
 */
export function apiApp(parts: ApiParts, callerOf: CallerOf, options: ApiOptions = {}): Hono {
  const api = new Hono();
  api.onError((error, context) => {
    if (!isInterlockError(error)) parts.onFault(error);
    // What says what is missing is no matter of another version.
    const isStale =
      isInterlockError(error) &&
      error.code === 'conflict' &&
      error.details === undefined &&
      context.req.header('if-match') !== undefined;
    return answerProblem(context, error, isStale ? 412 : undefined);
  });
  api.notFound((context) =>
    answerProblem(context, new InterlockError('not_found', context.req.path, 'there is nothing here')),
  );
  const handlers: Handlers<PlainRoute> = handlersOf(parts);
  for (const name of ROUTE_NAMES) {
    const { method, path, need } = ROUTES[name];
    api.on(method, path, async (context) => {
      const caller = await callerOf(context);
      if (!mayCall(need, caller)) throw refused(name, caller);
      if (name === 'events.stream') return parts.events.answer(context.req.raw, caller);
      const call = await readCall(name, context, caller);
      // The table says that the parts are those of this very route.
      const handler = handlers[name] as unknown as Handler<PlainRoute>;
      return answer(name, context, call, await handler(call), options);
    });
  }
  return api;
}

function refused(name: RouteName, caller: Caller | undefined): InterlockError {
  const { need } = ROUTES[name];
  if (caller === undefined)
    return new InterlockError('untrusted', name, 'sign in first: nobody is known here');
  return new InterlockError(
    'forbidden',
    name,
    need === 'local'
      ? `${caller.who} may not do this from here: only the owner of the state directory may, on its machine`
      : `${caller.who} may not do this: it needs the role ${need}`,
  );
}

/** Characters of an answer that are hashed for its tag, where it has a name as well: hashing 10 MB takes 20 ms. */
const MOST_HASHED = 256 * 1024;

interface ReadCall extends Call<PlainRoute> {
  /** Of the document that is answered. */
  readonly version: { text: string | undefined };
}

async function readCall(name: PlainRoute, context: Context, caller: Caller | undefined): Promise<ReadCall> {
  const schema: RouteSchema = SCHEMAS[name];
  const ifMatch = entityTags(context.req.header('if-match'));
  if (ifMatch !== undefined && !TAKES_IF_MATCH.has(name))
    throw new InterlockError(
      'usage',
      'if-match',
      `${name} changes no document with a version: no "If-Match"`,
    );
  const data = await readBody(context.req.raw, name);
  if (data !== undefined && schema.body === undefined)
    throw new InterlockError('usage', 'body', `${name} takes no body`);
  const version: { text: string | undefined } = { text: undefined };
  return {
    // What a schema gives is what the types derived from it say.
    params: paramsOf(context, schema.params) as never,
    query: queryOf(context, schema.query) as never,
    body: (schema.body === undefined ? undefined : checked(data ?? {}, schema.body, 'body')) as never,
    caller,
    who: caller?.who ?? 'anonymous',
    ifMatch,
    version,
    setVersion(text) {
      version.text = text;
    },
  };
}

function answer(
  name: PlainRoute,
  context: Context,
  { version }: ReadCall,
  given: unknown,
  options: ApiOptions,
): Response {
  const json = given instanceof Prepared ? given.json : JSON.stringify(given);
  if (options.checkAnswers === true) checkAnswer(name, json);
  const headers = new Headers({ 'content-type': 'application/json' });
  const next = given instanceof Prepared ? given.next : nextOf(given);
  if (next !== undefined) headers.set('link', nextLink(context.req.url, next));
  if (ROUTES[name].method !== 'GET') {
    headers.set('cache-control', 'no-store');
    return new Response(json, { headers });
  }
  const named = given instanceof Prepared && json.length > MOST_HASHED ? given.name : json;
  const tag =
    version.text === undefined
      ? `W/"${hash('sha256', named, 'base64url').slice(0, 27)}"`
      : `"${version.text}"`;
  headers.set('etag', tag);
  // Kept by the browser alone, and asked for again each time.
  headers.set('cache-control', 'private, no-cache');
  if (matchesWeakly(context.req.header('if-none-match'), tag)) {
    headers.delete('content-type');
    return new Response(null, { status: 304, headers });
  }
  return new Response(json, { headers });
}

function checkAnswer(name: PlainRoute, json: Prepared['json']): void {
  const schema: RouteSchema = SCHEMAS[name];
  const fits = schema.answer.safeParse(
    JSON.parse(typeof json === 'string' ? json : new TextDecoder().decode(json)),
  );
  if (!fits.success)
    throw new TypeError(`the answer of ${name} is not what its schema says: ${fits.error.message}`);
}

function nextOf(given: unknown): string | undefined {
  const next = typeof given === 'object' && given !== null && 'next' in given ? given.next : undefined;
  return typeof next === 'string' ? next : undefined;
}

/** RFC 8288. The path alone: behind a reverse proxy the host is another one. */
function nextLink(url: string, next: string): string {
  const { pathname, searchParams } = new URL(url);
  searchParams.set('after', next);
  return `<${pathname}?${searchParams.toString()}>; rel="next"`;
}

function answerProblem(context: Context, error: unknown, status?: number): Response {
  const problem = problemOf(error, status);
  const headers = new Headers({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' });
  // RFC 9110, section 11.6.1: a 401 says how to do better.
  if (problem.status === 401) headers.set('www-authenticate', 'Bearer realm="interlock"');
  const seconds = retryAfterHeader(error);
  if (seconds !== undefined) headers.set('retry-after', seconds);
  // What a caller still sends of a refused body is not read.
  if (problem.status === 413 && context.req.method !== 'GET') headers.set('connection', 'close');
  return new Response(JSON.stringify(problem), { status: problem.status, headers });
}
