import type { Timers } from '../timers.ts';

/** A comment so often tells both ends that the other one is there, milliseconds. */
const HEARTBEAT_MS = 15_000;
/** Bytes that a reader may be behind. One that is further behind is dropped: what it missed it is told when it is back. */
const MAX_BEHIND_BYTES = 256 * 1024;
/** How long the reader of a stream that has ended may take for what waits, milliseconds. */
const TO_READ_MS = 15_000;
/** How soon a reader that was cut off comes back, milliseconds. */
const RETRY_MS = 1000;

export interface EventStreamOptions {
  /** Sent before everything else. */
  readonly first: string;
  readonly timers: Timers;
  readonly onEnd: () => void;
}

/** One reader's stream of server-sent events (HTML standard, section 9.2). */
export class EventStream {
  readonly body: ReadableStream<Uint8Array>;
  readonly #options: EventStreamOptions;
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #cancel = () => {};
  readonly #left: (() => void)[] = [];

  constructor(options: EventStreamOptions) {
    this.#options = options;
    this.body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        cancel: () => this.#leave(),
      },
      new ByteLengthQueuingStrategy({ highWaterMark: MAX_BEHIND_BYTES }),
    );
    // Whatever its size: there is no more of it than is kept.
    this.#controller?.enqueue(Buffer.from(`retry: ${RETRY_MS}\n\n${options.first}`));
    this.#beat();
  }

  send(text: string): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    const bytes = Buffer.from(text);
    if ((controller.desiredSize ?? 0) < bytes.byteLength) return this.end();
    controller.enqueue(bytes);
  }

  /** Ends the stream when the signal is aborted: the reader has gone, or may read no more. */
  endWith(signal: AbortSignal | undefined): void {
    if (signal === undefined) return;
    if (signal.aborted) return this.end();
    const end = () => this.end();
    signal.addEventListener('abort', end, { once: true });
    this.#left.push(() => signal.removeEventListener('abort', end));
  }

  /** What waits may still be read; who does not read it would keep that and its connection for as long as it likes. */
  end(): void {
    const controller = this.#controller;
    if (controller === undefined) return;
    this.#leave();
    controller.close();
    const late = new Error('a reader of events took nothing any more: its connection is closed');
    // It is printed as it is, and says all.
    delete late.stack;
    this.#options.timers.after(TO_READ_MS, () => controller.error(late));
  }

  #leave(): void {
    this.#controller = undefined;
    this.#cancel();
    for (const leave of this.#left.splice(0)) leave();
    this.#options.onEnd();
  }

  #beat(): void {
    this.#cancel = this.#options.timers.after(HEARTBEAT_MS, () => {
      if (this.#controller === undefined) return;
      this.#beat();
      this.send(': still here\n\n');
    });
  }
}
