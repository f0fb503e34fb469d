/** The side of a gRPC stream that is written. */
export interface Sink<Response> {
  readonly cancelled: boolean;
  /** False: wait for `drain` before the next. */
  write(response: Response): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

/** Writes complete states to a stream whose reader may be slow: of several that wait, only the last is written. */
export class LatestWriter<Response> {
  readonly #call: Sink<Response>;
  #waiting: Response | undefined;
  #blocked = false;

  constructor(call: Sink<Response>) {
    this.#call = call;
  }

  /** Writes the state, or keeps it in the place of the one that waits. */
  write(state: Response): void {
    if (this.#blocked) {
      this.#waiting = state;
      return;
    }
    if (this.#call.cancelled || this.#call.write(state)) return;
    this.#blocked = true;
    this.#call.once('drain', () => {
      this.#blocked = false;
      const waiting = this.#waiting;
      this.#waiting = undefined;
      if (waiting !== undefined) this.write(waiting);
    });
  }
}
