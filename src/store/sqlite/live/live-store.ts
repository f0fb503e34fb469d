import { Worker } from 'node:worker_threads';
import { exportTally, InterlockError, type Tally } from '../../../access/index.ts';
import type { LiveBatch, LiveState, LiveStore, ReportMark, SeenAccesses } from '../../live.ts';
import type { SentError } from '../identity/messages.ts';
import type { SqliteOptions } from '../open.ts';
import type { FromLiveThread, LiveStart, ToLiveThread } from './messages.ts';

/** How long the end waits for a disk that hangs, in milliseconds. */
const CLOSE_MS = 5000;

export interface LiveStoreOptions extends Omit<SqliteOptions, 'create'> {
  /** That of the control plane: commands that read the state take it from there. */
  readonly trustDomain: string;
}

/**
 * Opens the state of a directory for live evidence, and makes it where there is none. Errors: `io`, `state` (damaged,
 * newer, held by another process for too long).
 */
export async function openLiveStore(
  dir: string,
  { trustDomain, ...options }: LiveStoreOptions,
): Promise<LiveStore> {
  const start: LiveStart = { dir, trustDomain, options, load: true };
  const { thread, kept, seen } = await Thread.start(start);
  return new ThreadedLiveStore(start, thread, kept, seen);
}

/** One call after the other: whoever adds gathers what comes meanwhile into the next batch. */
class ThreadedLiveStore implements LiveStore {
  readonly kept: LiveState;
  readonly seen: readonly SeenAccesses[];
  readonly #start: LiveStart;
  #thread: Thread;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(start: LiveStart, thread: Thread, kept: LiveState, seen: readonly SeenAccesses[]) {
    this.#start = start;
    this.#thread = thread;
    this.kept = kept;
    this.seen = seen;
  }

  addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    const add = async () => {
      if (this.#closed) throw new InterlockError('unavailable', this.#start.dir, 'live evidence is closed');
      if (this.#thread.ended) this.#thread = (await Thread.start({ ...this.#start, load: false })).thread;
      return this.#thread.add(batch, tallies);
    };
    const done = this.#last.then(add, add);
    this.#last = done.catch(() => {});
    return done;
  }

  async close(): Promise<void> {
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, CLOSE_MS);
    const ended = this.#last.then(() => {
      this.#closed = true;
      return this.#thread.close();
    });
    await Promise.race([ended, patience.promise]);
    this.#closed = true;
    clearTimeout(timer);
    await this.#thread.kill();
  }
}

class Thread {
  readonly #worker: Worker;
  readonly #dir: string;
  readonly #ready = Promise.withResolvers<{ kept: LiveState; seen: readonly SeenAccesses[] }>();
  readonly #over = Promise.withResolvers<void>();
  #answer: PromiseWithResolvers<readonly ReportMark[]> | undefined;
  ended = false;

  private constructor(start: LiveStart) {
    // Sources run as .ts and the built program as .js: the thread's file has this file's extension.
    const url = new URL(`./thread${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
    this.#dir = start.dir;
    this.#worker = new Worker(url, { workerData: start, execArgv: [] });
    this.#worker.on('message', (message: FromLiveThread) => this.#receive(message));
    this.#worker.on('error', (error) => this.#end(error instanceof Error ? error : new Error(String(error))));
    this.#worker.on('exit', () => this.#end());
  }

  static async start(start: LiveStart) {
    const thread = new Thread(start);
    return { thread, ...(await thread.#ready.promise) };
  }

  add(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    const answer = (this.#answer = Promise.withResolvers<readonly ReportMark[]>());
    const data = tallies.map((tally) => ({ source: tally.source, data: exportTally(tally) }));
    this.#post(
      { batch, tallies: data },
      data.map((each) => each.data.numbers.buffer),
    );
    return answer.promise;
  }

  close(): Promise<void> {
    if (!this.ended) this.#post({ close: true });
    return this.#over.promise;
  }

  async kill(): Promise<void> {
    await this.#worker.terminate();
  }

  #post(message: ToLiveThread, transfer: ArrayBuffer[] = []): void {
    this.#worker.postMessage(message, transfer);
  }

  #receive(message: FromLiveThread): void {
    switch (message.kind) {
      case 'ready':
        return this.#ready.resolve(message);
      case 'failed':
        return this.#ready.reject(received(message.error));
      case 'done':
        return this.#answer?.resolve(message.known);
      case 'error':
        return this.#answer?.reject(received(message.error));
    }
  }

  #end(cause?: Error): void {
    this.ended = true;
    const text = `the thread that keeps live evidence in ${this.#dir} has ended`;
    const error = new InterlockError('unavailable', this.#dir, text, cause === undefined ? {} : { cause });
    this.#ready.reject(error);
    this.#answer?.reject(error);
    this.#over.resolve();
  }
}

function received({ code, subject, message }: SentError): Error {
  return code === undefined ? new Error(message) : new InterlockError(code, subject, message);
}
