import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import type { Caller } from '../../api/index.ts';
import { checked } from '../api/checked.ts';
import { readBody } from '../api/limits.ts';
import { retryAfterOf, tooMany } from '../api/retry-after.ts';
import { problemOf } from '../api/problem.ts';
import type { Timers } from '../timers.ts';
import type { Attempts } from './attempts.ts';
import type { Cookies } from './cookies.ts';
import { SIGN_IN_PAGE, type SignInDesk } from './desk.ts';
import { known, whoOf } from './bearer.ts';
import type { Begun, Provider } from './provider.ts';
import { returnPath } from './return-path.ts';
import type { RoleMap } from './roles.ts';

/** Names of our cookies, behind the server's prefix: the session's, and that of a sign-in that is under way. */
export const SESSION_COOKIE = 'session';
const BEGUN_COOKIE = 'oidc';
const BEGUN_SECONDS = 600;
/** Where the provider leads back to. */
export const CALLBACK_PATH = '/v1/sign-in/oidc/callback';
const BEGIN_PATH = '/v1/sign-in/oidc';

export interface SignInAppParts {
  readonly desk: SignInDesk;
  readonly cookies: Cookies;
  readonly attempts: Attempts;
  /** The address of this server for browsers. */
  readonly origin: string;
  readonly provider: Provider | undefined;
  readonly roles: RoleMap | undefined;
  readonly timers: Timers;
  /** The address at the other end of the connection. */
  readonly addressOf: (context: Context) => string;
  /** Who the browser's cookie is of, if anybody. */
  readonly sessionOf: (context: Context) => Promise<Caller | undefined>;
  readonly onRefused: (address: string, reason: string) => void;
  readonly onFault: (error: unknown) => void;
}

/** Why a sign-in through the provider came to nothing: the page for signing in says it in words. */
export const SIGN_IN_FAULTS = ['refused', 'expired', 'no-role', 'provider-away', 'fault'] as const;
type SignInFault = (typeof SIGN_IN_FAULTS)[number];

const begunCookie = z.strictObject({
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  to: z.string(),
});
const linkBody = z.strictObject({ secret: z.string().max(200) });

/**
 * Signing in and out, for browsers. The page takes the secret from behind the "#" of a link and sends it with a POST: a
 * program that looks at a link before a person opens it uses none up.
 */
export function signInApp(parts: SignInAppParts): Hono {
  const { desk, cookies } = parts;
  const app = new Hono();
  app.onError((error, context) => problemAnswer(error, context, parts));
  app.get('/v1/sign-in', (context) => context.json(waysIn(parts), 200, { 'cache-control': 'no-store' }));
  app.get(BEGIN_PATH, (context) => begin(parts, context));
  app.get(CALLBACK_PATH, (context) => arrive(parts, context));
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
function waysIn({ provider }: SignInAppParts) {
  if (provider === undefined) return { link: true };
  const { issuer, name, cli } = provider.config;
  return {
    link: true,
    oidc: { issuer, name: name ?? new URL(issuer).host, begin: BEGIN_PATH },
    ...(cli === undefined ? {} : { cli: { issuer, clientId: cli.clientId, scopes: cli.scopes } }),
  };
}

/** Sends the browser to the provider, with what it has to bring back. */
async function begin(parts: SignInAppParts, context: Context): Promise<Response> {
  const { provider, cookies, origin } = parts;
  if (provider === undefined)
    throw new InterlockError('not_found', 'oidc', 'no provider is set up here: sign in with a link');
  const to = returnPath(context.req.query('to'));
  try {
    const { url, begun } = await provider.begin(`${origin}${CALLBACK_PATH}`);
    const value = Buffer.from(JSON.stringify({ ...begun, to })).toString('base64url');
    // Lax: the way back begins at the provider's site. It is good for nothing but this one sign-in.
    context.header(
      'set-cookie',
      cookies.set(BEGUN_COOKIE, value, { seconds: BEGUN_SECONDS, isStrict: false }),
    );
    context.header('cache-control', 'no-store');
    return context.redirect(url.href, 303);
  } catch (error) {
    return refuse(parts, context, error);
  }
}

/** Takes in who comes back from the provider. */
async function arrive(parts: SignInAppParts, context: Context): Promise<Response> {
  const { provider, roles, cookies, origin, desk } = parts;
  if (provider === undefined || roles === undefined)
    throw new InterlockError('not_found', 'oidc', 'no provider is set up here: sign in with a link');
  const begun = begunOf(cookies.read(context.req.header('cookie'), BEGUN_COOKIE));
  context.header('set-cookie', cookies.clear(BEGUN_COOKIE), { append: true });
  if (begun === undefined)
    return failed(parts, context, 'expired', 'the browser brings no sign-in that it began');
  try {
    const { search } = new URL(context.req.url);
    const person = await provider.finish(new URL(`${CALLBACK_PATH}${search}`, origin), begun);
    const who = whoOf(person.issuer, person.subject);
    const { roles: given } = known(who, roles.rolesOf(person));
    const session = await desk.admit(who, [...given], person.issuer);
    await leave(parts, context);
    welcome(parts, context, session);
    return context.redirect(returnPath(begun.to), 303);
  } catch (error) {
    return refuse(parts, context, error);
  }
}

function begunOf(cookie: string | undefined): (Begun & { readonly to: string }) | undefined {
  if (cookie === undefined || cookie.length > 8192) return undefined;
  try {
    return begunCookie.parse(JSON.parse(Buffer.from(cookie, 'base64url').toString()));
  } catch {
    return undefined;
  }
}

function refuse(parts: SignInAppParts, context: Context, error: unknown): Response {
  if (!isInterlockError(error)) {
    parts.onFault(error);
    return failed(parts, context, 'fault', 'a fault');
  }
  const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
  const why = `${error.message}${cause}`;
  if (error.code === 'forbidden') return failed(parts, context, 'no-role', why);
  return failed(parts, context, error.code === 'unavailable' ? 'provider-away' : 'refused', why);
}

/** The page for signing in says what happened in its own words: nothing of an error stands in an address. */
function failed(parts: SignInAppParts, context: Context, fault: SignInFault, why: string): Response {
  const address = parts.addressOf(context);
  parts.attempts.failed(address);
  parts.onRefused(address, why);
  context.header('cache-control', 'no-store');
  return context.redirect(`${SIGN_IN_PAGE}?fault=${fault}`, 303);
}

/** Gives the browser its new session. */
function welcome(
  { cookies, timers }: SignInAppParts,
  context: Context,
  { secret, until }: { secret: string; until: number },
): void {
  const seconds = (until - timers.now()) / 1000;
  context.header('set-cookie', cookies.set(SESSION_COOKIE, secret, { seconds, isStrict: true }), {
    append: true,
  });
  context.header('cache-control', 'no-store');
}

/** Ends the session that the browser had: who signs in anew or out leaves none behind. */
async function leave({ desk, sessionOf }: SignInAppParts, context: Context): Promise<void> {
  const caller = await sessionOf(context);
  if (caller?.session === undefined) return;
  try {
    await desk.end(caller, caller.session, caller.who);
  } catch (error) {
    // It ended at the same moment by another way.
    if (!isInterlockError(error) || error.code !== 'not_found') throw error;
  }
}

function problemAnswer(error: unknown, context: Context, { attempts, addressOf, onFault }: SignInAppParts) {
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
