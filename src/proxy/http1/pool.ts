import type { Socket } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import { Deadline } from '../deadline.ts';
import { Upstream } from './upstream.ts';

/** Makes a connection that is ready to be written to, or fails; the function it gives back gives up. */
export type Dial = (done: (error: InterlockError | undefined, socket?: Socket) => void) => () => void;

/** How connections are made and kept. Times in milliseconds. */
export interface PoolOptions {
  readonly dial: Dial;
  readonly clock: Clock;
  readonly idleMs: number;
  /** Most idle connections that are kept. */
  readonly maxIdle?: number;
}

const MAX_IDLE = 256;

/** Kept-alive connections to one place under one identity; which one a request gets does not matter to anyone. */
export class Pool {
  readonly #options: PoolOptions;
  /** The one that was used last is at the end, and is used next: the others age and go. */
  readonly #idle: Upstream[] = [];
  readonly #sweep: Deadline;
  #closed = false;

  constructor(options: PoolOptions) {
    this.#options = options;
    this.#sweep = new Deadline(options.clock, () => this.#closeAged());
  }

  get idle(): number {
    return this.#idle.length;
  }

  /** An idle connection, if there is one. The caller sets its user. */
  take(): Upstream | undefined {
    return this.#idle.pop();
  }

  /** A new connection; the function it gives back gives up. */
  connect(done: (error: InterlockError | undefined, upstream?: Upstream) => void): () => void {
    return this.#options.dial((error, socket) => {
      if (socket === undefined) done(error ?? new InterlockError('unavailable', 'upstream', 'no connection'));
      else done(undefined, new Upstream(socket, this.#dropped));
    });
  }

  /** Takes back a connection whose exchange is complete. `keepMs` is what the other end said it keeps it for. */
  give(upstream: Upstream, keepMs: number): void {
    upstream.user = undefined;
    const { clock, idleMs, maxIdle = MAX_IDLE } = this.#options;
    const ms = Math.min(idleMs, keepMs);
    if (this.#closed || ms <= 0 || this.#idle.length >= maxIdle || upstream.socket.destroyed) {
      upstream.destroy();
      return;
    }
    upstream.uses++;
    upstream.idleUntil = clock.now() + ms;
    if (this.#idle.push(upstream) === 1) this.#sweep.set(ms);
  }

  /** Closes what is idle; what is busy is closed when it is given back. */
  close(): void {
    this.#closed = true;
    this.#sweep.close();
    for (const upstream of this.#idle.splice(0)) upstream.destroy();
  }

  readonly #dropped = (upstream: Upstream): void => {
    const at = this.#idle.indexOf(upstream);
    if (at >= 0) this.#idle.splice(at, 1);
    upstream.destroy();
  };

  #closeAged(): void {
    const now = this.#options.clock.now();
    const aged = this.#idle.filter(({ idleUntil }) => idleUntil <= now);
    for (const upstream of aged) this.#dropped(upstream);
    if (this.#idle.length > 0) {
      this.#sweep.set(Math.max(1, Math.min(...this.#idle.map(({ idleUntil }) => idleUntil)) - now));
    }
  }
}
