import type { Socket } from 'node:net';
import { InterlockError } from '../../access/index.ts';
import type { Clock } from '../../workload/index.ts';
import type { Address } from '../types.ts';
import { connectFast } from './fast-read.ts';

/** How the program behind the proxy is reached. */
export interface ConnectOptions {
  readonly to: Address;
  readonly clock: Clock;
  /** Milliseconds. */
  readonly timeout: number;
  /** Bytes to send first: a PROXY header. */
  readonly preamble?: Buffer | undefined;
}

/** Connects in plain text. Calls back once; the function it gives back gives up, and then nobody is told anything. */
export function connectPlain(
  { to, clock, timeout, preamble }: ConnectOptions,
  done: (error: InterlockError | undefined, socket?: Socket) => void,
): () => void {
  const socket = connectFast({ host: to.host, port: to.port });
  let isSettled = false;
  const settle = (error: InterlockError | undefined) => {
    if (isSettled) return;
    isSettled = true;
    callOff();
    socket.off('error', broke);
    if (error === undefined) {
      if (preamble !== undefined) socket.write(preamble);
      done(undefined, socket);
    } else {
      socket.destroy();
      done(error);
    }
  };
  const broke = (cause: Error) => settle(unavailable(to, cause.message, cause));
  const callOff = clock.after(timeout, () => settle(unavailable(to, `no connection within ${timeout} ms`)));
  socket.once('error', broke);
  socket.once('connect', () => settle(undefined));
  return () => {
    isSettled = true;
    callOff();
    socket.destroy();
  };
}

function unavailable({ host, port }: Address, why: string, cause?: unknown): InterlockError {
  return new InterlockError('unavailable', `${host}:${port}`, `${host}:${port} does not answer: ${why}`, {
    cause,
  });
}
