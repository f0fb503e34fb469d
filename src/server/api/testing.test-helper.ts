import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hono } from 'hono';
import { type Caller, pathOf, type Role, type RouteName, ROUTES } from '../../api/index.ts';
import { DEFAULT_AUTHORITY_TTL } from '../identity/domain.ts';
import { initialise } from '../identity/initialise.ts';
import { type ServeOptions, serveIdentity, type Serving } from '../serve.ts';
import { realTimers } from '../timers.ts';
import { apiApp } from './app.ts';
import type { ApiParts } from './parts.ts';

/** A control plane with the API on top of it, without a socket in between. */
export interface TestApi {
  readonly state: string;
  readonly app: Hono;
  readonly serving: Serving;
  readonly faults: unknown[];
  /** Calls as whoever has these roles; `undefined` for nobody. */
  ask(who: Caller | undefined, method: string, path: string, init?: AskInit): Promise<Response>;
  close(): Promise<void>;
}

export interface AskInit {
  readonly body?: string | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export function callerWith(...roles: readonly Role[]): Caller {
  return { who: `user:${roles.join('+') || 'nobody'}`, roles: new Set(roles), isLocal: false };
}

export const LOCAL: Caller = { who: 'local:root', roles: new Set(), isLocal: true };
export const VIEWER = callerWith('viewer');
export const OPERATOR = callerWith('viewer', 'operator');

/** Starts one, whose answers are checked against their schemas. */
export async function testApi(
  over: Partial<ServeOptions> = {},
  extra: Partial<ApiParts> = {},
): Promise<TestApi> {
  const state = mkdtempSync(join(tmpdir(), 'interlock-api-'));
  const timers = over.timers ?? realTimers;
  const settings = {
    trustDomain: 'example.org',
    algorithm: 'ec-p256',
    authorityTtl: DEFAULT_AUTHORITY_TTL,
    root: 'self',
  } as const;
  await initialise(state, settings, 'local:test', timers);
  const faults: unknown[] = [];
  const nothing = () => {};
  const serving = await serveIdentity({
    state,
    listen: { host: '127.0.0.1', port: 0 },
    timers,
    log: { info: nothing, warn: nothing, error: ({ error }) => void faults.push(error) },
    version: 'test',
    ...over,
  });
  let caller: Caller | undefined;
  const parts = { ...serving.api, ...extra, onFault: (error: unknown) => void faults.push(error) };
  const app = apiApp(parts, () => caller, { checkAnswers: true });
  return {
    state,
    app,
    serving,
    faults,
    async ask(who, method, path, { body, headers = {}, signal } = {}) {
      caller = who;
      return app.request(path, {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
    },
    async close() {
      await serving.close();
      rmSync(state, { recursive: true, force: true });
    },
  };
}

/** A path of a route whose parameters name nothing that is there. */
export function somePath(name: RouteName): string {
  const params = Object.fromEntries(
    [...ROUTES[name].path.matchAll(/:(\w+)/g)].map(([, param = '']) => [param, 'example.org/none']),
  );
  return pathOf(name, params);
}
