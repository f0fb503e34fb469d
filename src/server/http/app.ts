import { hash, timingSafeEqual } from 'node:crypto';
import { type Context, Hono } from 'hono';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Caller, mayCall } from '../../api/index.ts';
import { type ApiOptions, apiApp } from '../api/app.ts';
import type { ApiParts } from '../api/parts.ts';
import { problemOf } from '../api/problem.ts';
import { retryAfterHeader } from '../api/retry-after.ts';
import type { Access } from '../sign-in/access.ts';
import { signInApp } from '../sign-in/app.ts';
import { BearerGate } from '../sign-in/bearer-gate.ts';
import type { BegunSignIns } from '../sign-in/begun.ts';
import { SESSION_COOKIE } from '../sign-in/browser-session.ts';
import { Cookies } from '../sign-in/cookies.ts';
import type { SignInDesk } from '../sign-in/desk.ts';
import { CALLBACK_PATH } from '../sign-in/through-provider.ts';
import { observedCalls } from '../telemetry/http.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { ConsoleFiles } from './console-files.ts';
import { guard } from './guard.ts';
import { securityHeaders } from './headers.ts';
import type { Health } from './health.ts';
import type { Names } from './names.ts';
import { Packing } from './packing.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

export interface HttpAppParts {
  readonly api: ApiParts;
  readonly desk: SignInDesk;
  readonly names: Names;
  readonly port: number;
  readonly console: ConsoleFiles;
  readonly health: Health;
  readonly access: Access;
  /** Where a provider is set up. */
  readonly begun?: BegunSignIns | undefined;
  /** Who is believed when it says whom a call is from. */
  readonly proxies: TrustedProxies;
  readonly metrics: Metrics;
  readonly metricsToken?: string | undefined;
  readonly onRefused: (address: string, reason: string) => void;
  readonly options?: ApiOptions | undefined;
}

/** Asked by machines at whatever address they know: these say nothing that is secret, or want a token. */
const BY_ANY_NAME: ReadonlySet<string> = new Set(['/healthz', '/readyz', '/metrics']);
/** Where another site leads to on purpose: the provider, after a sign-in. */
const ARRIVALS: ReadonlySet<string> = new Set([CALLBACK_PATH]);

/** Everything behind the HTTP port: health, sign-in, the API, the console. */
export function httpApp(parts: HttpAppParts): Hono {
  const { api, desk, names, port, console, health, access } = parts;
  const addressOf = addressesOf(parts.proxies);
  const cookies = new Cookies(names.isHttps, port);
  const secretOf = (context: Context) => cookies.read(context.req.header('cookie'), SESSION_COOKIE);
  const sessionOf = async (context: Context): Promise<Caller | undefined> => {
    const secret = secretOf(context);
    return secret === undefined ? undefined : desk.meet(secret);
  };
  const gate = new BearerGate({ bearer: access.bearer, timers: api.timers });
  /** A token in the call counts alone: with it the browser's cookie says nothing. */
  const callerOf = (context: Context): Promise<Caller | undefined> => {
    const authorization = context.req.header('authorization');
    if (authorization === undefined) return sessionOf(context);
    const token = /^Bearer ([\w.~+/=-]+)$/i.exec(authorization)?.[1];
    if (token !== undefined) return gate.callerOf(token, addressOf(context));
    throw new InterlockError('untrusted', 'authorization', 'the header is written "Bearer TOKEN"');
  };
  const app = new Hono();
  app.onError((error, context) => {
    if (!isInterlockError(error)) api.onFault(error);
    const problem = problemOf(error);
    const seconds = retryAfterHeader(error);
    if (seconds !== undefined) context.header('retry-after', seconds);
    return context.body(JSON.stringify(problem), problem.status as 400, {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
    });
  });
  app.use('*', observedCalls(parts.metrics, api.timers));
  app.use('*', async (context, next) => {
    if (!BY_ANY_NAME.has(context.req.path)) {
      const hasCookie =
        context.req.header('cookie') !== undefined && context.req.header('authorization') === undefined;
      guard(context, names, { hasCookie, arrivals: ARRIVALS });
    }
    await next();
  });
  app.get('/metrics', async (context) => {
    if (!isScraper(context, parts.metricsToken)) {
      const caller = await callerOf(context);
      if (!mayCall('viewer', caller))
        throw new InterlockError(
          'untrusted',
          'metrics',
          'sign in, or send the token of --metrics-token-file',
        );
    }
    const { registry } = parts.metrics;
    return context.body(await registry.metrics(), 200, { ...NOT_KEPT, 'content-type': registry.contentType });
  });
  app.get('/healthz', (context) => context.json({ status: 'ok' }, 200, NOT_KEPT));
  app.get('/readyz', async (context) => {
    const { isReady, checks } = await health.look();
    return context.json({ status: isReady ? 'ready' : 'not ready', checks }, isReady ? 200 : 503, NOT_KEPT);
  });
  const { provider, roles } = access;
  const { begun } = parts;
  const signIn = signInApp({
    desk,
    cookies,
    origin: names.origin,
    people: provider && begun && { provider, begun, roles },
    timers: api.timers,
    addressOf,
    sessionOf,
    onRefused: parts.onRefused,
    onFault: api.onFault,
  });
  app.all('/v1/sign-in', (context) => signIn.fetch(context.req.raw, context.env));
  app.all('/v1/sign-in/*', (context) => signIn.fetch(context.req.raw, context.env));
  app.all('/v1/sign-out', (context) => signIn.fetch(context.req.raw, context.env));
  const apiPart = apiApp(api, callerOf, parts.options);
  const packing = new Packing();
  app.all('/v1/*', async (context) => {
    const { raw, url } = context.req;
    const { pathname, search } = new URL(url);
    return packing.packed(raw, pathname + search, await apiPart.fetch(raw, context.env));
  });
  app.get('*', (context) => {
    const found = console.answer(context.req.raw, context.req.path, names.isHttps);
    return found ?? context.text('there is nothing here\n', 404);
  });
  return withHeaders(app, names.isHttps);
}

const NOT_KEPT = { 'cache-control': 'no-store' };

/** Whether a caller shows the token of scrapers; both are hashed, so that the time tells nothing. */
function isScraper(context: Context, token: string | undefined): boolean {
  const shown = /^Bearer (.+)$/i.exec(context.req.header('authorization') ?? '')?.[1];
  if (token === undefined || shown === undefined) return false;
  const digest = (text: string) => hash('sha256', text, 'buffer');
  return timingSafeEqual(digest(shown), digest(token));
}

/** On every answer, also on those of a fault. */
function withHeaders(inner: Hono, isHttps: boolean): Hono {
  const headers = Object.entries(securityHeaders(isHttps));
  const app = new Hono();
  app.all('*', async (context) => {
    const answer = await inner.fetch(context.req.raw, context.env);
    for (const [name, value] of headers) if (!answer.headers.has(name)) answer.headers.set(name, value);
    return answer;
  });
  return app;
}

/** Whom a call comes from: the server's adapter hands over the connection. */
function addressesOf(proxies: TrustedProxies): (context: Context) => string {
  return (context) => {
    const env: unknown = context.env;
    if (typeof env !== 'object' || env === null || !('incoming' in env)) return '';
    // It is Node's own request.
    const incoming = env.incoming as { socket?: { remoteAddress?: string } };
    return proxies.callerOf(incoming.socket?.remoteAddress ?? '', {
      list: context.req.header('x-forwarded-for'),
      forwarded: context.req.header('forwarded'),
    });
  };
}
