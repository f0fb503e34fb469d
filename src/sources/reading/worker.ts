import { parentPort, workerData } from 'node:worker_threads';
import { exportTally, isInterlockError, Tally } from '../../access/index.ts';
import { Inventory } from './attribution.ts';
import {
  BLOCK_LINES,
  type Block,
  type FromWorker,
  type Job,
  type SharedFile,
  type ToWorker,
} from './blocks.ts';
import { FileBlocks } from './file-blocks.ts';
import { linesInto } from './framing.ts';
import { intoReader } from './parallel-file.ts';
import type { Format, Source } from '../source.ts';

/** A thread of {@link file://./parallel.ts}: reads the blocks it is sent into its own tally. */
const port = parentPort;
if (port === null) throw new TypeError('worker.ts runs as a worker thread');
// workerData is the Job that parallel.ts gave.
const job = workerData as Job;
const exported: unknown[] = Object.values(await import(job.module));
const source = exported.find((each) => isSource(each, job.format));
if (source === undefined) throw new TypeError(`no source for ${job.format}`);
const tally = new Tally(job.format, new Inventory(job.facts).attribution());
const reader = source.open(tally, job.options);

const post = (message: FromWorker, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

function read({ index, memory, length }: Block): void {
  const first = index * BLOCK_LINES;
  const lines = linesInto(reader, Buffer.from(memory, 0, length), first) - first;
  post({ kind: 'done', index, lines, memory }, [memory]);
}

function end(): void {
  reader.end();
  const data = exportTally(tally);
  post({ kind: 'tally', data }, [data.numbers.buffer]);
}

/** Takes blocks of the file until none is left. */
function readFile(file: SharedFile): void {
  const blocks = new FileBlocks(file);
  try {
    const lines = intoReader(reader, tally);
    while (blocks.readNext(lines));
  } finally {
    blocks.close();
  }
}

port.on('message', (message: ToWorker) => {
  try {
    if (message.kind === 'block') read(message);
    else end();
  } catch (error) {
    fail(error);
  }
});
if (job.file !== undefined) {
  try {
    readFile(job.file);
  } catch (error) {
    fail(error);
  }
}

function fail(error: unknown): void {
  if (!isInterlockError(error)) throw error;
  const { code, subject, message: text } = error;
  post({ kind: 'failed', code, subject, text });
}

function isSource(value: unknown, format: Format): value is Source {
  return typeof value === 'object' && value !== null && 'format' in value && value.format === format;
}
