import type { ServerReadableStream, ServiceDefinition } from '@grpc/grpc-js';
import { type LogAbout, type LoggedCall, type LoggedPlaintext, readCall } from './access.ts';
import type { MetadataSlots } from './entry.ts';
import { type LogMessage, readLogMessage } from './message.ts';

/** Entries of one stream in a second; past it the stream waits, and Envoy drops what it has no room for. */
const MAX_ENTRIES_A_SECOND = 20_000;
const SECOND_MS = 1000;
const SHOWN = 160;
const asBytes = (bytes: Buffer) => bytes;

/** The service of envoy.service.accesslog.v3 with its messages as bytes: what is read of them is read in place. */
export const accessLogService: ServiceDefinition = {
  streamAccessLogs: {
    path: '/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs',
    requestStream: true,
    responseStream: false,
    requestSerialize: asBytes,
    requestDeserialize: asBytes,
    responseSerialize: asBytes,
    responseDeserialize: asBytes,
  },
};

export type LogCall = ServerReadableStream<Buffer, Buffer>;

/** Where the calls of one log go. */
export interface LogTaker {
  readonly about: LogAbout;
  /** `routeName` is that of a request: what the rules were that judged it. */
  add(call: LoggedCall | LoggedPlaintext, now: number, routeName: string): void;
  /** An entry that was left out, and why. */
  skip(reason: string, sample?: string): void;
  /** A message was read to its end. */
  flush(): void;
}

export interface LogStreamOptions {
  readonly call: LogCall;
  readonly timers: { now(): number; after(ms: number, run: () => void): () => void };
  readonly slots: MetadataSlots;
  /** Whom and what the log is about, by the first message of the stream, which alone says it. Throws what ends the stream. */
  readonly begin: (identifier: LogMessage['identifier']) => LogTaker;
  /** The stream was ended from here: by an error, or (undefined) because Envoy has nothing more to say. Called once. */
  readonly onEnd: (error?: unknown) => void;
}

/** One stream of access logs: its first message says of which log it is, and that never changes. */
export class LogStream {
  readonly #options: LogStreamOptions;
  #taker: LogTaker | undefined;
  #second = 0;
  #entries = 0;
  #isOver = false;
  #cancelPause = () => {};

  constructor(options: LogStreamOptions) {
    this.#options = options;
    const { call } = options;
    call.on('error', () => {});
    call.on('data', (bytes: Buffer) => this.#take(bytes));
    call.on('end', () => {
      // A stream that breaks off ends first, and is said to be cancelled in the next turn of the event loop. Every other
      // one is said to be cancelled as well, but only once it was answered.
      setImmediate(() =>
        setImmediate(() => {
          if (this.#isOver) return;
          this.#stop();
          options.onEnd();
        }),
      );
    });
    call.on('cancelled', () => this.#brokeOff());
  }

  end(error: unknown): void {
    if (this.#isOver) return;
    this.#stop();
    this.#options.onEnd(error);
  }

  #stop(): void {
    this.#isOver = true;
    this.#cancelPause();
  }

  /** What Envoy had not sent yet is lost, and nobody knows how much: it is noted, and not made up. */
  #brokeOff(): void {
    if (this.#isOver) return;
    this.#stop();
    this.#taker?.skip('a stream of access logs that broke off: entries that were not sent yet are unknown');
    this.#taker?.flush();
  }

  #take(bytes: Buffer): void {
    if (this.#isOver) return;
    try {
      const { timers, slots, begin } = this.#options;
      const message = readLogMessage(bytes, slots);
      const taker = (this.#taker ??= begin(message.identifier));
      const now = timers.now();
      const entries = taker.about.kind === 'requests' ? message.http : message.tcp;
      for (const entry of entries) {
        const call = readCall(entry, taker.about, now);
        if (typeof call === 'string') taker.skip(call, entry.path?.slice(0, SHOWN));
        else if (call !== undefined) taker.add(call, now, entry.routeName);
      }
      taker.flush();
      this.#slowDown(entries.length, now);
    } catch (error) {
      this.end(error);
    }
  }

  /** A stream may not keep everyone else waiting. */
  #slowDown(entries: number, now: number): void {
    const { call, timers } = this.#options;
    const second = Math.floor(now / SECOND_MS);
    this.#entries = second === this.#second ? this.#entries + entries : entries;
    this.#second = second;
    if (this.#entries <= MAX_ENTRIES_A_SECOND) return;
    call.pause();
    this.#cancelPause = timers.after((second + 1) * SECOND_MS - now, () => call.resume());
  }
}
