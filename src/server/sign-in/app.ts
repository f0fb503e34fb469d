import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { isInterlockError } from '../../access/index.ts';
import { checked } from '../api/checked.ts';
import { readBody } from '../api/limits.ts';
import { retryAfterOf, tooMany } from '../api/retry-after.ts';
import { problemOf } from '../api/problem.ts';
import { Attempts } from '../attempts.ts';
import { leave, SESSION_COOKIE, welcome } from './browser-session.ts';
import { BEGIN_PATH, CALLBACK_PATH, ThroughProvider, type ThroughProviderParts } from './through-provider.ts';

/** Links that may fail in one minute, from one address and from all, before the answer is to wait. */
const MOST_FAILED = { each: 10, all: 200 } as const;
const linkBody = z.strictObject({ secret: z.string().max(200) });

/**
 * Signing in and out, for browsers. The page takes the secret from behind the "#" of a link and sends it with a POST: a
 * program that looks at a link before a person opens it uses none up.
 */
export function signInApp(parts: ThroughProviderParts): Hono {
  const { desk, cookies } = parts;
  const toProvider = new ThroughProvider(parts);
  const attempts = new Attempts(parts.timers, MOST_FAILED);
  const app = new Hono();
  app.onError((error, context) => problemAnswer(error, context, attempts, parts));
  app.get('/v1/sign-in', (context) => context.json(waysIn(parts), 200, { 'cache-control': 'no-store' }));
  app.get(BEGIN_PATH, (context) => toProvider.begin(context));
  app.get(CALLBACK_PATH, (context) => toProvider.arrive(context));
  app.post('/v1/sign-in/link', async (context) => {
    // What the schema gives is what its type says.
    const { secret } = checked(await readBody(context.req.raw), linkBody, 'body') as z.output<
      typeof linkBody
    >;
    const session = await desk.exchange(secret);
    await leave(parts, context);
    welcome(parts, context, session);
    return context.json({ until: session.until });
  });
  app.post('/v1/sign-out', async (context) => {
    await leave(parts, context);
    context.header('set-cookie', cookies.clear(SESSION_COOKIE));
    return context.json({ signedOut: true });
  });
  return app;
}

/** How one may sign in here: for the page and for the command line, before anybody is known. */
function waysIn({ people }: ThroughProviderParts) {
  if (people === undefined) return { link: true };
  const { issuer, name, cli } = people.provider.config;
  return {
    link: true,
    oidc: { issuer, name: name ?? new URL(issuer).host, begin: BEGIN_PATH },
    ...(cli === undefined ? {} : { cli: { issuer, clientId: cli.clientId, scopes: cli.scopes } }),
  };
}

function problemAnswer(
  error: unknown,
  context: Context,
  attempts: Attempts,
  { addressOf, onFault }: ThroughProviderParts,
) {
  if (!isInterlockError(error)) onFault(error);
  const headers = new Headers({ 'content-type': 'application/problem+json', 'cache-control': 'no-store' });
  let said = error;
  if (isInterlockError(error) && error.code === 'untrusted') {
    const seconds = attempts.failed(addressOf(context));
    if (seconds > 0) said = tooMany('sign-in', 'too many sign-ins have failed', seconds);
  }
  const seconds = retryAfterOf(said);
  if (seconds !== undefined) headers.set('retry-after', String(seconds));
  const problem = problemOf(said);
  return new Response(JSON.stringify(problem), { status: problem.status, headers });
}
