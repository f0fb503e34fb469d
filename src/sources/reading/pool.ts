import { Worker } from 'node:worker_threads';
import { InterlockError, type TallyData } from '../../access/index.ts';
import { BLOCK_BYTES, type Block, type FromWorker, type Job, type ToWorker } from './blocks.ts';

/** Blocks that wait at a thread while it reads another: enough that it never waits for the next. */
const BLOCKS_AHEAD = 2;

interface Lane {
  readonly worker: Worker;
  /** Blocks sent and not yet read. */
  waiting: number;
}

/** Reading threads, the blocks under way, and what came back. */
export class Pool {
  /** How many lines each block had. */
  readonly lines = new Map<number, number>();
  readonly #lanes: Lane[];
  readonly #tallies: TallyData[] = [];
  readonly #free: ArrayBuffer[] = [];
  #failure: Error | undefined;
  #changed = Promise.withResolvers<void>();

  constructor(job: Job, threads: number) {
    // Sources run as .ts and the built program as .js: the thread's file has this file's extension.
    const url = new URL(`./worker${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url);
    this.#lanes = Array.from({ length: threads }, () => {
      const lane: Lane = { worker: new Worker(url, { workerData: job }), waiting: 0 };
      lane.worker.on('message', (message: FromWorker) => this.#receive(lane, message));
      lane.worker.on('error', (error) =>
        this.#fail(error instanceof Error ? error : new Error(String(error))),
      );
      lane.worker.on('exit', () => this.#fail(new Error('a reading thread ended early')));
      return lane;
    });
  }

  hasRoom(): boolean {
    return this.#lanes.some((lane) => lane.waiting <= BLOCKS_AHEAD);
  }

  memory(): ArrayBuffer {
    return this.#free.pop() ?? new ArrayBuffer(BLOCK_BYTES);
  }

  send(block: Block): void {
    const lane = this.#lanes.reduce((a, b) => (b.waiting < a.waiting ? b : a));
    lane.waiting++;
    const message: ToWorker = block;
    lane.worker.postMessage(message, [block.memory]);
  }

  /** Throws what a thread has failed with, if one has. */
  check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Waits for the threads to read what was sent, and gives what each of them tallied. */
  async finish(): Promise<TallyData[]> {
    const message: ToWorker = { kind: 'end' };
    for (const { worker } of this.#lanes) worker.postMessage(message, []);
    while (this.#tallies.length < this.#lanes.length) {
      this.check();
      await this.#changed.promise;
    }
    return this.#tallies;
  }

  async close(): Promise<void> {
    for (const { worker } of this.#lanes) worker.removeAllListeners('exit');
    await Promise.all(this.#lanes.map(({ worker }) => worker.terminate()));
  }

  #receive(lane: Lane, message: FromWorker): void {
    switch (message.kind) {
      case 'done':
        lane.waiting--;
        this.lines.set(message.index, message.lines);
        this.#free.push(message.memory);
        break;
      case 'tally':
        this.#tallies.push(message.data);
        break;
      case 'failed':
        this.#failure ??= new InterlockError(message.code, message.subject, message.text);
    }
    this.#wake();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
