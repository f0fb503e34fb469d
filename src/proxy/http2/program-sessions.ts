import { connect } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import type { Dial } from '../http1/pool.ts';
import type { Timeouts } from '../settings.ts';
import type { Address } from '../types.ts';
import { SessionPool } from './session-pool.ts';

/** The HTTP/2 connections of a proxy to the programs behind it: in plain text, with prior knowledge (RFC 9113 section 3.3). */
export class ProgramSessions {
  readonly #clock: Clock;
  readonly #timeouts: Timeouts;
  readonly #pools = new Map<string, SessionPool>();

  constructor(clock: Clock, timeouts: Timeouts) {
    this.#clock = clock;
    this.#timeouts = timeouts;
  }

  /** Those to one program. */
  at(forward: Address): SessionPool {
    const key = `${forward.host}:${forward.port}`;
    let pool = this.#pools.get(key);
    if (pool === undefined) {
      pool = this.#newPool(forward, undefined);
      this.#pools.set(key, pool);
    }
    return pool;
  }

  /** Those of one caller, which begin with `preamble`. The caller closes them. */
  own(forward: Address, preamble: Buffer): SessionPool {
    return this.#newPool(forward, preamble);
  }

  close(): void {
    for (const pool of this.#pools.values()) pool.close();
    this.#pools.clear();
  }

  #newPool(to: Address, preamble: Buffer | undefined): SessionPool {
    const clock = this.#clock;
    const { connect: timeout, uplinkPool, connect: answerMs } = this.#timeouts;
    return new SessionPool({
      clock,
      idleMs: uplinkPool,
      answerMs,
      dial: dialOf(to, clock, timeout, preamble),
    });
  }
}

/** As `connectPlain`, with a socket that reads as Node's HTTP/2 has it. */
function dialOf({ host, port }: Address, clock: Clock, timeout: number, preamble: Buffer | undefined): Dial {
  return (done) => {
    const socket = connect({ host, port, noDelay: true });
    let isSettled = false;
    const settle = (why: string | undefined, cause?: unknown) => {
      if (isSettled) return;
      isSettled = true;
      callOff();
      socket.off('error', broke);
      if (why === undefined) {
        if (preamble !== undefined) socket.write(preamble);
        return done(undefined, socket);
      }
      socket.destroy();
      const where = `${host}:${port}`;
      done(new InterlockError('unavailable', where, `${where} does not answer: ${why}`, { cause }));
    };
    const broke = (error: Error) => settle(error.message, error);
    const callOff = clock.after(timeout, () => settle(`no connection within ${timeout} ms`));
    socket.once('error', broke);
    socket.once('connect', () => settle(undefined));
    return () => {
      isSettled = true;
      callOff();
      socket.destroy();
    };
  };
}
