import { chmodSync, existsSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import type { Context } from 'hono';
import { InterlockError } from '../../access/index.ts';
import { type Caller, ROLES } from '../../api/index.ts';
import { type ApiOptions, apiApp } from './app.ts';
import { SERVER_LIMITS } from './limits.ts';
import type { ApiParts } from './parts.ts';

/** Name of the API's socket inside the state directory. */
export const API_SOCKET = 'api.sock';
/** The name of a caller's user, as the command line says it. Whoever may use the socket is the owner or root. */
export const USER_HEADER = 'x-interlock-user';

/** Who calls over the socket: its owner or root, who may do everything. */
export function localCaller(context: Context): Caller {
  const user = context.req.header(USER_HEADER) ?? '';
  const who = /^[A-Za-z0-9._-]{1,64}$/.test(user) ? `local:${user}` : 'local';
  return { who, roles: new Set(ROLES), isLocal: true };
}

/**
 * Serves the API on a socket in the state directory, which its owner and root alone can enter. The caller holds the
 * lock of the state: a socket that is there is of a process that is gone. Throws `io`, or `state` for a directory that
 * is open to others.
 */
export async function listenLocal(
  state: string,
  parts: ApiParts,
  options?: ApiOptions,
): Promise<{ close(): Promise<void> }> {
  const path = join(state, API_SOCKET);
  if ((statSync(state).mode & 0o077) !== 0) {
    throw new InterlockError(
      'state',
      state,
      `others may enter ${state}: make it yours alone (chmod 0700 ${state}), it holds keys and the API's socket`,
    );
  }
  if (existsSync(path)) rmSync(path);
  const app = apiApp(parts, localCaller, options);
  const server = createServer(SERVER_LIMITS, getRequestListener(app.fetch));
  const opened = Promise.withResolvers<void>();
  server.once('error', opened.reject);
  server.listen(path, opened.resolve);
  try {
    await opened.promise;
  } catch (cause) {
    throw new InterlockError(
      'io',
      path,
      `the API cannot listen on ${path}: choose a state directory with a shorter path`,
      {
        cause,
      },
    );
  }
  chmodSync(path, 0o600);
  return {
    close: () =>
      new Promise((resolve) => {
        // A stream that is open would keep the server open.
        parts.events.close();
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}
