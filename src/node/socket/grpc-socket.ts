import type { Socket } from 'node:net';
import { type Server, ServerCredentials, type ServerOptions } from '@grpc/grpc-js';
import { InterlockError } from '../../access/index.ts';
import { type Caller, listenUnix, type UnixListener, type UnixOptions } from './listen.ts';

/** Largest answer, 4 MiB: what gRPC's clients take without being told. */
export const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;
/** Largest request: an SDS request with many names and a proxy's whole node. Half a request is kept in memory for each call. */
export const MAX_REQUEST_BYTES = 256 * 1024;

/** Options for the servers of the agent's sockets: message size, streams of a connection, idle connections. */
export const SOCKET_SERVER_OPTIONS: ServerOptions = {
  'grpc.max_receive_message_length': MAX_REQUEST_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_concurrent_streams': 100,
  // Without a stream for five minutes; also a connection that never spoke.
  'grpc.max_connection_idle_ms': 300_000,
};

/** A gRPC server on a Unix socket that knows who calls. */
export interface GrpcSocket extends Omit<UnixListener, 'close'> {
  /** The process that makes the call. Throws `unavailable` when its connection has closed. */
  callerOf(call: { getPeer(): string }): Caller;
  /** Ends the streams politely, closes what is left after `graceMs`, and removes the socket. */
  close(graceMs?: number): Promise<void>;
}

/** Serves a gRPC server on a Unix socket. One server may be served on several. Throws as {@link listenUnix} does. */
export async function serveGrpc(
  path: string,
  server: Server,
  options: Omit<UnixOptions, 'onCaller'>,
): Promise<GrpcSocket> {
  const callers = new Map<string, Caller>();
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = await listenUnix(path, {
    ...options,
    onCaller(caller, socket) {
      callers.set(caller.key, caller);
      socket.once('close', () => callers.delete(caller.key));
      nameSocket(socket, caller.key);
      injector.injectConnection(socket);
    },
  }).catch((error: unknown) => {
    injector.destroy();
    throw error;
  });
  return {
    path,
    get connections() {
      return listener.connections;
    },
    callerOf(call) {
      const caller = callers.get(call.getPeer());
      if (caller !== undefined) return caller;
      throw new InterlockError('unavailable', 'caller', "the caller's connection has closed");
    },
    async close(graceMs = 0) {
      const closing = listener.close(graceMs);
      injector.drain(graceMs);
      await closing;
      injector.destroy();
    },
  };
}

/** Makes `call.getPeer()` give the key: grpc-js takes it from the socket, and a Unix socket has no address. */
function nameSocket(socket: Socket, key: string): void {
  Object.defineProperty(socket, 'remoteAddress', { value: key });
  Object.defineProperty(socket, 'remotePort', { value: undefined });
}
