import { status } from '@grpc/grpc-js';
import type { InterlockError } from '../access/index.ts';
import { apiErrorOf, interlockErrorOf, WorkloadApiError } from './api-error.ts';
import { Backoff } from './backoff.ts';
import type { Clock } from './clock.ts';

/** The part of a gRPC server stream that a watch needs. */
export interface MessageStream<T> {
  on(event: 'data', listener: (message: T) => void): unknown;
  on(event: 'error', listener: (error: unknown) => void): unknown;
  on(event: 'end', listener: () => void): unknown;
  cancel(): void;
}

/** Who hears from a stream of complete states. */
export interface WatchHandler<T> {
  /** A complete state: what it does not hold is gone. What this throws is told to `onError`, and the stream goes on. */
  readonly onMessage: (message: T) => void;
  /** Why there is no newer state now. After a {@link WorkloadApiError} that is `final` there will be none. */
  readonly onError: (error: InterlockError) => void;
}

/** A running watch. */
export interface Watch {
  close(): void;
}

/** Reads a stream of complete states, and opens it again with {@link Backoff} whenever it ends, until closed. */
export function watchStream<T>(
  endpoint: string,
  open: () => MessageStream<T>,
  handler: WatchHandler<T>,
  clock: Clock,
): Watch {
  const backoff = new Backoff(() => clock.random());
  let closed = false;
  let stream: MessageStream<T> | undefined;
  let callOff = () => {};

  function ended(of: MessageStream<T> | undefined, error: unknown): void {
    if (closed || stream !== of) return;
    stream = undefined;
    const told = apiErrorOf(endpoint, error);
    if (told.final) closed = true;
    else callOff = clock.after(backoff.next(), start);
    handler.onError(told);
  }

  function start(): void {
    if (closed) return;
    let opened: MessageStream<T>;
    try {
      opened = open();
    } catch (error) {
      ended(undefined, error);
      return;
    }
    stream = opened;
    opened.on('data', (message) => {
      if (closed || stream !== opened) return;
      backoff.reset();
      try {
        handler.onMessage(message);
      } catch (error) {
        handler.onError(interlockErrorOf(endpoint, error));
      }
    });
    opened.on('error', (error) => ended(opened, error));
    opened.on('end', () =>
      ended(opened, new WorkloadApiError(endpoint, status.UNAVAILABLE, 'the stream ended')),
    );
  }

  start();
  return {
    close() {
      closed = true;
      callOff();
      stream?.cancel();
      stream = undefined;
    },
  };
}
