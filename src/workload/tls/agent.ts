import { Agent, type AgentOptions, type RequestOptions } from 'node:https';
import type { Duplex } from 'node:stream';
import { InterlockError } from '../../access/index.ts';
import type { X509Svid } from '../x509-state.ts';
import { connectMtls, type ConnectOptions, type Target } from './client.ts';

type OnSocket = (error: Error | null, socket: Duplex) => void;
/** As Node calls it in truth: with an error there is no socket. */
type OnFailure = (error: Error) => void;

/** Options of a pool: how it connects, and of Node's own options those that size it. */
export interface MtlsAgentOptions extends ConnectOptions {
  readonly pool?:
    | Pick<AgentOptions, 'keepAlive' | 'maxSockets' | 'maxFreeSockets' | 'maxTotalSockets'>
    | undefined;
}

/**
 * The connections of `https.request`: each is proven before the request's first byte is written. After a renewal idle
 * ones are closed and busy ones not used again, so that new requests go out under the new SVID.
 */
export class MtlsAgent extends Agent {
  readonly #options: MtlsAgentOptions;
  readonly #opened = new WeakMap<object, X509Svid>();
  readonly #stopListening: () => void;

  constructor(options: MtlsAgentOptions) {
    // Sessions are never kept: a resumed one would skip the check of the peer.
    super({ keepAlive: true, ...options.pool, maxCachedSessions: 0 });
    this.#options = options;
    this.#stopListening = options.source.onUpdate(() => this.#renew());
  }

  override createConnection(options: RequestOptions, onSocket?: OnSocket): undefined {
    void this.#connect(options, onSocket);
    // Node's agent waits for the callback where no socket is returned.
    return undefined;
  }

  async #connect(options: RequestOptions, onSocket: OnSocket | undefined): Promise<void> {
    const { svid } = this.#options.source.state;
    let socket: Duplex;
    try {
      ({ socket } = await connectMtls(targetOf(options), this.#options));
    } catch (error) {
      (onSocket as OnFailure | undefined)?.(error as Error);
      return;
    }
    this.#opened.set(socket, svid);
    onSocket?.(null, socket);
  }

  override keepSocketAlive(socket: Duplex): boolean {
    // Node's types say void; it returns whether to keep the socket.
    const keep: unknown = super.keepSocketAlive(socket);
    return this.#isCurrent(socket) && keep !== false;
  }

  override destroy(): void {
    this.#stopListening();
    super.destroy();
  }

  #isCurrent(socket: object): boolean {
    return this.#opened.get(socket) === this.#options.source.state.svid;
  }

  #renew(): void {
    for (const sockets of Object.values(this.freeSockets)) {
      for (const socket of sockets ?? []) if (!this.#isCurrent(socket)) socket.destroy();
    }
  }
}

function targetOf(options: RequestOptions): Target {
  if (typeof options.socketPath === 'string') return { path: options.socketPath };
  const port = Number(options.port ?? 443);
  const host = options.host ?? options.hostname ?? '';
  if (host === '') throw new InterlockError('usage', 'host', 'a request needs a host to connect to');
  return { host, port };
}
