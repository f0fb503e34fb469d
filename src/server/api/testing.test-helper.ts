import { type Hono } from 'hono';
import { type Caller, pathOf, type Role, type RouteName, ROUTES } from '../../api/index.ts';
import type { ServeOptions } from '../serve-options.ts';
import { type TestServing, testServing } from '../serving.test-helper.ts';
import { apiApp } from './app.ts';
import type { ApiParts } from './parts.ts';

/** A control plane with the API on top of it, without a socket in between. */
export interface TestApi extends TestServing {
  readonly app: Hono;
  /** Calls as whoever has these roles; `undefined` for nobody. */
  ask(who: Caller | undefined, method: string, path: string, init?: AskInit): Promise<Response>;
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
  const plane = await testServing(over);
  const { serving, faults } = plane;
  let caller: Caller | undefined;
  const parts = { ...serving.api, ...extra, onFault: (error: unknown) => void faults.push(error) };
  const app = apiApp(parts, () => caller, { checkAnswers: true });
  return {
    ...plane,
    app,
    async ask(who, method, path, { body, headers = {}, signal } = {}) {
      caller = who;
      return app.request(path, {
        method,
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
      });
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
