import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { InterlockError } from '../../access/index.ts';
import { type Clock, systemClock } from '../clock.ts';
import { type AtExpiry, Connections } from './connections.ts';
import { contextOptions } from './context.ts';
import { type MtlsPolicy, type Peer, provePeer } from './peer.ts';

/** How long reaching the peer and its handshake may take, in milliseconds. */
const CONNECT_TIMEOUT_MS = 10_000;

/** Where to, as `tls.connect` takes it: host and port, a Unix socket's path, or a stream that is connected already. */
export type Target =
  | { readonly host: string; readonly port: number }
  | { readonly path: string }
  | { readonly socket: Duplex };

/** How a connection is made. */
export interface ConnectOptions extends MtlsPolicy {
  /** A name for the peer's front to route by (SNI). It proves nothing, and nothing is checked against it. */
  readonly servername?: string | undefined;
  /** Application protocols wanted (ALPN), the preferred first. */
  readonly alpn?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** In milliseconds; 10 s where not said. */
  readonly timeout?: number | undefined;
  /** What happens to the connection when the peer's certificate ends; `close` where not said. */
  readonly atExpiry?: AtExpiry | undefined;
  readonly onCut?: ((error: InterlockError, peer: Peer) => void) | undefined;
  readonly clock?: Clock | undefined;
}

/** A connection whose peer is proven, and in which group the key was agreed ("X25519MLKEM768"), where that is known. */
export interface MtlsConnection {
  readonly socket: TLSSocket;
  readonly peer: Peer;
  readonly group: string | undefined;
}

/**
 * Connects with mutual TLS. Resolves only when the peer is proven and expected; until then nobody has the socket, so
 * nothing can be sent to a stranger. Rejects with `untrusted`, `invalid_certificate`, `forbidden` or `unavailable`.
 * In TLS 1.3 a client is done before the server has judged it: a refusal of this side shows when the socket is read.
 */
export function connectMtls(target: Target, options: ConnectOptions): Promise<MtlsConnection> {
  const { source, signal, timeout = CONNECT_TIMEOUT_MS, clock = systemClock } = options;
  const { svid } = source.state;
  const where = targetText(target);
  signal?.throwIfAborted();
  if (svid.expiresAt < clock.now()) return Promise.reject(ownExpired(svid.spiffeId, svid.expiresAt));
  return new Promise((resolve, reject) => {
    const socket = connect({
      ...target,
      ...contextOptions(svid),
      // Our verifier judges below, and a host's name proves nothing here. No session is ever offered again.
      rejectUnauthorized: false,
      checkServerIdentity: () => undefined,
      ...(options.servername === undefined ? {} : { servername: options.servername }),
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    });
    const timer = setTimeout(() => fail(unavailable(where, `no handshake within ${timeout} ms`)), timeout);
    const abort = () => fail(signal?.reason);
    const broke = (cause: unknown) => fail(unavailable(where, messageOf(cause), cause));
    const closed = () => fail(unavailable(where, 'the peer closed the connection during the handshake'));
    const settle = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      socket.off('error', broke).off('close', closed);
    };
    const fail = (error: unknown) => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(error);
    };
    signal?.addEventListener('abort', abort, { once: true });
    socket.once('error', broke).once('close', closed);
    socket.once('secureConnect', () => {
      try {
        const peer = provePeer(socket, options, clock.now());
        settle();
        watch(socket, peer, options, clock);
        resolve({ socket, peer, group: groupOf(socket) });
      } catch (error) {
        fail(error);
      }
    });
  });
}

/** Cuts this one connection when its peer is trusted no more. */
function watch(socket: TLSSocket, peer: Peer, options: ConnectOptions, clock: Clock): void {
  const connections = new Connections({
    policy: options,
    clock,
    atExpiry: options.atExpiry ?? 'close',
    onCut: (error, of) => options.onCut?.(error, of),
  });
  connections.add(socket, peer);
  socket.once('close', () => connections.close());
}

/** Node names the agreed group at the client's end only. */
function groupOf(socket: TLSSocket): string | undefined {
  const info = socket.getEphemeralKeyInfo();
  return info !== null && 'name' in info && typeof info.name === 'string' ? info.name : undefined;
}

function targetText(target: Target): string {
  if ('path' in target) return target.path;
  return 'host' in target ? `${target.host}:${target.port}` : 'the peer';
}

function ownExpired(spiffeId: string, expiresAt: number): InterlockError {
  const since = new Date(expiresAt).toISOString();
  return new InterlockError(
    'unavailable',
    spiffeId,
    `the own certificate of ${spiffeId} ended at ${since} and the agent has sent no newer one: see that it runs`,
  );
}

function unavailable(where: string, why: string, cause?: unknown): InterlockError {
  return new InterlockError('unavailable', where, `no mutual TLS with ${where}: ${why}`, { cause });
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
