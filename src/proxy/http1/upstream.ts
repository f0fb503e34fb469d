import type { Socket } from 'node:net';
import { breakOff } from '../tcp/break-off.ts';
import { HeadReader } from './head-reader.ts';
import { ResponseHead } from './response-head.ts';

/** Who uses a connection to the program at the moment. */
export interface UpstreamUser {
  onUpstreamData(chunk: Buffer): void;
  onUpstreamDrain(): void;
  /** The program has sent its last byte. */
  onUpstreamEnd(): void;
  /** The connection is gone, with why where it broke. */
  onUpstreamClose(error: Error | undefined): void;
}

/** One connection for requests: to the program, or through mutual TLS to a peer. */
export class Upstream {
  readonly socket: Socket;
  readonly head = new ResponseHead();
  readonly reader = new HeadReader();
  /** Requests that were answered on it before. */
  uses = 0;
  user: UpstreamUser | undefined;
  /** When an idle one is closed, in milliseconds since 1970. */
  idleUntil = 0;
  readonly #onIdleEvent: (upstream: Upstream) => void;
  #error: Error | undefined;

  /** `onIdleEvent` is told when an idle connection ends, breaks, or speaks without being asked: it is of no use then. */
  constructor(socket: Socket, onIdleEvent: (upstream: Upstream) => void) {
    this.socket = socket;
    this.#onIdleEvent = onIdleEvent;
    socket.on('data', (chunk: Buffer) => {
      if (this.user === undefined) this.#onIdleEvent(this);
      else this.user.onUpstreamData(chunk);
    });
    socket.on('drain', () => this.user?.onUpstreamDrain());
    socket.on('end', () => {
      if (this.user === undefined) this.#onIdleEvent(this);
      else this.user.onUpstreamEnd();
    });
    socket.on('error', (error: Error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      if (this.user === undefined) this.#onIdleEvent(this);
      else this.user.onUpstreamClose(this.#error);
    });
  }

  /** Gives it up in the middle of a request: no one is told any more. */
  abandon(): void {
    this.user = undefined;
    breakOff(this.socket);
  }

  /** Closes it: no one is told any more. */
  destroy(): void {
    this.user = undefined;
    this.socket.destroy();
  }
}
