import { chmodSync, existsSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { getRequestListener } from '@hono/node-server';
import { InterlockError } from '../../access/index.ts';
import { adminApi } from './api.ts';
import type { AdminParts } from './parts.ts';

/** Name of the API's socket inside the state directory. */
export const API_SOCKET = 'api.sock';

/**
 * Serves the API on a socket in the state directory, which its owner and root alone can enter. The caller holds the
 * lock of the state: a socket that is there is of a process that is gone. Throws `io`, or `state` for a directory that
 * is open to others.
 */
export async function listenAdmin(state: string, parts: AdminParts): Promise<{ close(): Promise<void> }> {
  const path = join(state, API_SOCKET);
  if ((statSync(state).mode & 0o077) !== 0) {
    throw new InterlockError(
      'state',
      state,
      `others may enter ${state}: make it yours alone (chmod 0700 ${state}), it holds keys and the API's socket`,
    );
  }
  if (existsSync(path)) rmSync(path);
  const server = createServer({ headersTimeout: 10_000 }, getRequestListener(adminApi(parts).fetch));
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
        server.close(() => resolve());
        server.closeIdleConnections();
      }),
  };
}
