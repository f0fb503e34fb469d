import type { Socket } from 'node:net';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import type { Clock, X509View } from '../../workload/index.ts';
import { plainAddress } from '../addresses.ts';
import { Pool } from '../http1/pool.ts';
import { SessionPool } from '../http2/session-pool.ts';
import { proxyHeader } from '../proxy-protocol/index.ts';
import type { Timeouts } from '../settings.ts';
import { Dialer } from '../tls/dialer.ts';
import type { Address, OutboundRoute } from '../types.ts';

/** What {@link Uplinks} connect with. */
export interface UplinkOptions {
  /** The identity of each workload behind this proxy. */
  readonly sources: ReadonlyMap<SpiffeId, X509View>;
  readonly clock: Clock;
  readonly timeouts: Timeouts;
  /** As of `MtlsPolicy`. */
  readonly scopes?: ReadonlyMap<string, readonly string[]> | undefined;
  readonly revokedIds?: (() => ReadonlySet<SpiffeId>) | undefined;
  /** Told of each connection to a peer that did not come about. */
  readonly onUnreached?:
    | ((workload: SpiffeId, route: OutboundRoute, error: InterlockError) => void)
    | undefined;
}

type Done = (error: InterlockError | undefined, socket?: Socket) => void;

/**
 * The connections to peers of all workloads behind a proxy. A pool is that of one workload, one peer and one address:
 * what one workload opened is never used by another, and a renewed SVID gets pools of its own.
 */
export class Uplinks {
  readonly #options: UplinkOptions;
  readonly #dialers = new Map<SpiffeId, Dialer>();
  readonly #pools = new Map<string, Pool>();
  readonly #sessions = new Map<string, SessionPool>();
  readonly #stops: (() => void)[] = [];

  constructor(options: UplinkOptions) {
    this.#options = options;
    for (const [workload, source] of options.sources) this.add(workload, source);
  }

  /** One more workload, whose identity was not there from the start. */
  add(workload: SpiffeId, source: X509View): void {
    const { clock, timeouts, scopes, revokedIds } = this.#options;
    const policy = { source, scopes, revokedIds };
    this.#dialers.set(workload, new Dialer({ policy, clock, timeout: timeouts.connect }));
    this.#stops.push(source.onUpdate(() => this.#renew(workload)));
  }

  has(workload: SpiffeId): boolean {
    return this.#dialers.has(workload);
  }

  /** The pool of HTTP/1.1 connections for a route. */
  pool(workload: SpiffeId, route: OutboundRoute): Pool {
    const key = keyOf(workload, route);
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = this.#newPool((done) => this.#dial(workload, route, undefined, ['http/1.1'], done));
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** A pool of one local connection, where the peer is told by a PROXY header whose it is. The caller closes it. */
  ownPool(workload: SpiffeId, route: OutboundRoute, source: Address): Pool {
    return this.#newPool((done) => this.#dial(workload, route, source, ['http/1.1'], done));
  }

  /** The pool of HTTP/2 connections for a route. */
  sessions(workload: SpiffeId, route: OutboundRoute): SessionPool {
    const key = keyOf(workload, route);
    let pool = this.#sessions.get(key);
    if (pool === undefined) {
      pool = this.#newSessions(workload, route, undefined);
      this.#sessions.set(key, pool);
    }
    return pool;
  }

  /** As {@link ownPool}. */
  ownSessions(workload: SpiffeId, route: OutboundRoute, source: Address): SessionPool {
    return this.#newSessions(workload, route, source);
  }

  /** A connection of its own; the function it gives back gives up. */
  dial(workload: SpiffeId, route: OutboundRoute, source: Address, done: Done): () => void {
    return this.#dial(workload, route, source, undefined, done);
  }

  /** The dialer of a workload, for whoever keeps connections of another kind. Throws `not_found`. */
  dialer(workload: SpiffeId): Dialer {
    const dialer = this.#dialers.get(workload);
    if (dialer === undefined)
      throw new InterlockError('not_found', workload, `${workload} is not served here`);
    return dialer;
  }

  close(): void {
    for (const stop of this.#stops) stop();
    for (const pool of [...this.#pools.values(), ...this.#sessions.values()]) pool.close();
    this.#pools.clear();
    this.#sessions.clear();
  }

  #dial(
    workload: SpiffeId,
    route: OutboundRoute,
    source: Address | undefined,
    alpn: readonly string[] | undefined,
    done: Done,
  ): () => void {
    const { to, peer, sendProxyHeader } = route;
    // Node's HTTP/2 reads for itself.
    const readsFast = alpn !== HTTP2;
    const fail = (error: InterlockError) => {
      this.#options.onUnreached?.(workload, route, error);
      done(error);
    };
    return this.dialer(workload).dial({ to, peer, alpn, readsFast }, (error, socket) => {
      if (error !== undefined) return fail(error);
      if (socket !== undefined && alpn === HTTP2 && socket.alpnProtocol !== 'h2') {
        socket.destroy();
        return fail(new InterlockError('unavailable', `${to.host}:${to.port}`, `${peer} speaks no HTTP/2`));
      }
      if (socket !== undefined && source !== undefined && sendProxyHeader !== undefined) {
        const from = { host: plainAddress(source.host), port: source.port };
        socket.write(proxyHeader(sendProxyHeader, from, to));
      }
      done(undefined, socket);
    });
  }

  #newSessions(workload: SpiffeId, route: OutboundRoute, source: Address | undefined): SessionPool {
    const { clock, timeouts } = this.#options;
    return new SessionPool({
      clock,
      idleMs: timeouts.uplinkPool,
      answerMs: timeouts.connect,
      dial: (done) => this.#dial(workload, route, source, HTTP2, done),
    });
  }

  #newPool(dial: (done: Done) => () => void): Pool {
    const { clock, timeouts } = this.#options;
    return new Pool({ clock, idleMs: timeouts.uplinkPool, dial });
  }

  /** What was opened under an SVID or a trust of before is not used for new requests; those on their way end in peace. */
  #renew(workload: SpiffeId): void {
    for (const pools of [this.#pools, this.#sessions]) {
      for (const [key, pool] of pools) {
        if (!key.startsWith(`${workload} `)) continue;
        pool.close();
        pools.delete(key);
      }
    }
  }
}

const HTTP2: readonly string[] = ['h2'];

function keyOf(workload: SpiffeId, { peer, to }: OutboundRoute): string {
  return `${workload} ${peer} ${to.host}:${to.port}`;
}
