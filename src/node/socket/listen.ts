import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import {
  type LiveProcess,
  type PeerCredentials,
  peerCredentials,
  peerProcess,
  socketFd,
} from '../../system/index.ts';
import { claimSocket, type SocketClaim } from './claim.ts';
import { tenantOf } from './tenant.ts';

/** Connections of one tenant (a pod, a container, or a user outside of them), and in all. Each costs two descriptors. */
export const DEFAULT_MAX_CONNECTIONS_PER_USER = 1024;
export const DEFAULT_MAX_CONNECTIONS = 4096;
/** Connections that wait to be accepted: all of a node's workloads come back at once when the agent was restarted. */
const BACKLOG = DEFAULT_MAX_CONNECTIONS;

/** Who is at the other end of a connection. */
export interface Caller {
  /** Unique in this process. */
  readonly key: string;
  readonly credentials: PeerCredentials;
  /** With whom it shares limits: {@link tenantOf}. */
  readonly tenant: string;
  /** Held until the connection closes; then it counts as gone. */
  readonly process: LiveProcess;
}

/** A connection that was refused or broke off, for a log line that says who and what. */
export interface ConnectionFault {
  readonly path: string;
  readonly credentials?: PeerCredentials;
  readonly reason: string;
}

/** How a Unix socket is served. */
export interface UnixOptions {
  /** Of the socket file: who may connect. */
  readonly mode: number;
  /** Gets each connection with its caller before one byte of it is read. */
  readonly onCaller: (caller: Caller, socket: Socket) => void;
  readonly onFault?: ((fault: ConnectionFault) => void) | undefined;
  readonly maxConnections?: number | undefined;
  readonly maxConnectionsPerUser?: number | undefined;
}

/** A socket that is served. */
export interface UnixListener {
  readonly path: string;
  /** Open connections. */
  readonly connections: number;
  /** Stops to accept and removes the socket; connections live on until they close, or for `graceMs`. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Listens at a path, in the place of what a dead process left there. Throws as {@link claimSocket} does, and
 * `unavailable` where the platform cannot tell who connects.
 */
export async function listenUnix(path: string, options: UnixOptions): Promise<UnixListener> {
  const claim = await claimSocket(path, options.mode);
  const door = new Door(path, options);
  const server = createServer((socket) => door.enter(socket));
  try {
    await listening(server, claim.bindPath);
    claim.publish();
  } catch (cause) {
    server.close();
    claim.release();
    if (cause instanceof InterlockError) throw cause;
    const reason = cause instanceof Error && 'code' in cause ? ` (${String(cause.code)})` : '';
    throw new InterlockError('io', path, `the system refused to listen at ${path}${reason}`, { cause });
  }
  let closing: Promise<void> | undefined;
  return {
    path,
    get connections() {
      return door.size;
    },
    close(graceMs = 0) {
      closing ??= closed(server, door, claim, graceMs);
      return closing;
    },
  };
}

async function listening(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ path, backlog: BACKLOG }, resolve);
  await promise;
  server.off('error', reject);
  // Without a descriptor to spare the system refuses to accept; the listener itself goes on.
  server.on('error', () => undefined);
}

async function closed(server: Server, door: Door, claim: SocketClaim, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // The name goes first, so that a new caller finds no socket instead of one that nobody accepts at.
  claim.release();
  server.close(() => resolve());
  const timer = setTimeout(() => door.closeAll(), graceMs);
  await promise;
  clearTimeout(timer);
  await door.emptied();
}

let lastKey = 0;

/** Lets connections in, up to the limits, each with who it is. */
class Door {
  readonly #path: string;
  readonly #options: UnixOptions;
  readonly #open = new Set<Socket>();
  readonly #byTenant = new Map<string, number>();

  constructor(path: string, options: UnixOptions) {
    this.#path = path;
    this.#options = options;
  }

  get size(): number {
    return this.#open.size;
  }

  enter(socket: Socket): void {
    let credentials: PeerCredentials | undefined;
    let process: LiveProcess | undefined;
    // A peer may break off at any moment; the session above sees it close.
    socket.on('error', () => undefined);
    try {
      const fd = socketFd(socket);
      credentials = peerCredentials(fd);
      const tenant = tenantOf(credentials.pid, credentials.uid);
      this.#assertRoom(tenant);
      process = peerProcess(fd, credentials.pid);
      this.#admit(socket, { key: '', credentials, tenant, process });
    } catch (error) {
      process?.close();
      socket.destroy();
      this.#report(credentials, error instanceof InterlockError ? error.message : 'an unexpected error');
    }
  }

  /** When the last connection has given back what was held for it. */
  async emptied(): Promise<void> {
    await Promise.all([...this.#open].map((socket) => once(socket, 'close')));
  }

  closeAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #admit(socket: Socket, { credentials, tenant, process }: Caller): void {
    const { pid } = credentials;
    lastKey += 1;
    this.#open.add(socket);
    this.#byTenant.set(tenant, (this.#byTenant.get(tenant) ?? 0) + 1);
    socket.once('close', () => {
      process.close();
      this.#open.delete(socket);
      const left = (this.#byTenant.get(tenant) ?? 1) - 1;
      if (left === 0) this.#byTenant.delete(tenant);
      else this.#byTenant.set(tenant, left);
    });
    this.#options.onCaller(
      { key: `uid ${credentials.uid} pid ${pid} connection ${lastKey}`, credentials, tenant, process },
      socket,
    );
  }

  #assertRoom(tenant: string): void {
    const {
      maxConnections = DEFAULT_MAX_CONNECTIONS,
      maxConnectionsPerUser = DEFAULT_MAX_CONNECTIONS_PER_USER,
    } = this.#options;
    const own = this.#byTenant.get(tenant) ?? 0;
    // The fewer are left, the fewer a tenant may have of them: several that take all they can leave room for others.
    const left = maxConnections - this.#open.size;
    const share =
      maxConnectionsPerUser < maxConnections ? Math.min(maxConnectionsPerUser, left) : maxConnectionsPerUser;
    if (own > 0 && own >= share) {
      throw new InterlockError('limit', tenant, `${tenant} has ${own} connections already`);
    }
    if (this.#open.size >= maxConnections) {
      throw new InterlockError('limit', this.#path, `${maxConnections} connections are open already`);
    }
  }

  #report(credentials: PeerCredentials | undefined, reason: string): void {
    this.#options.onFault?.({
      path: this.#path,
      ...(credentials === undefined ? {} : { credentials }),
      reason,
    });
  }
}
