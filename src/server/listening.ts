import type { Server } from 'node:net';
import { InterlockError } from '../access/index.ts';

/** Starts to listen and gives the port. Throws `io`. */
export async function listenAt(
  server: Server,
  { host, port, backlog }: { readonly host: string; readonly port: number; readonly backlog?: number },
): Promise<number> {
  const opened = Promise.withResolvers<void>();
  server.once('error', opened.reject);
  server.listen({ host, port, ...(backlog === undefined ? {} : { backlog }) }, opened.resolve);
  try {
    await opened.promise;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InterlockError('io', `${host}:${port}`, `cannot listen on ${host}:${port}: ${why}`, { cause });
  }
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : port;
}
