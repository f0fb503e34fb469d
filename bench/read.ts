// How fast access-log lines become evidence, against a bare JSON.parse of the same lines.
import { spawnSync } from 'node:child_process';
import { appendFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tally } from '../src/access/index.ts';
import { envoy } from '../src/sources/envoy/index.ts';
import { LineFramer, linesInto } from '../src/sources/reading/framing.ts';
import { readRecordings } from '../src/sources/index.ts';
import { logLines, NOW } from './read-lines.ts';

type Report = (line: string) => void;

const LINES = 400_000;
/** Lines between two changes from the one to the other: both see the same weather on a shared machine. */
const SLICE = 20_000;
const ROUNDS = 3;
/** Pairs of one core and two: their median is the result. */
const PAIRS = 5;
/** Times that the lines are in the file: a thread needs a third of a second to start, which is not to be measured. */
const COPIES = 4;
const CHUNK_BYTES = 64 * 1024;
/** Values that a path parameter takes. The more there are, the more lines are the first of their access. */
const IDS = [100, 2000] as const;

/** Prints the speed of both and their ratio for recordings with few and many different paths, and what a second core adds. */
export async function bench(report: Report): Promise<void> {
  // First, and without the lines in memory: they would slow every garbage collection down.
  await twoCores(report);
  for (const ids of IDS) oneCore(logLines(LINES, ids), report);
}

function oneCore(text: readonly string[], report: Report): void {
  const bytes = text.reduce((sum, line) => sum + line.length + 1, 0);
  const keys = Object.keys(JSON.parse(text[0] ?? '{}') as object).length;
  report(
    `${LINES.toLocaleString('en')} lines of ${Math.round(bytes / LINES)} bytes on average, ${keys} keys`,
  );
  const slices: { text: readonly string[]; chunks: readonly Buffer[] }[] = [];
  for (let i = 0; i < text.length; i += SLICE) {
    const lines = text.slice(i, i + SLICE);
    slices.push({ text: lines, chunks: chunksOf(Buffer.from(`${lines.join('\n')}\n`)) });
  }
  const parse: number[] = [];
  const read: number[] = [];
  let accesses = 0;
  // The first round warms both up.
  for (let round = 0; round <= ROUNDS; round++) {
    const tally = new Tally('envoy');
    const reader = envoy.open(tally, { now: NOW });
    let number = 0;
    for (const slice of slices) {
      const parsing = timed(() => parseAll(slice.text));
      const reading = timed(() => {
        const framer = new LineFramer({
          lines: (lines) => (number = linesInto(reader, lines, number)),
          oversized: () => undefined,
        });
        for (const chunk of slice.chunks) framer.push(chunk);
        framer.end();
      });
      if (round === 0) continue;
      parse.push(parsing);
      read.push(reading);
    }
    if (tally.accepted !== text.length)
      throw new Error(`${tally.accepted} of ${text.length} lines were accepted`);
    accesses = tally.accessCount;
  }
  const ratio = median(parse.map((time, i) => time / (read[i] as number)));
  const share = ((accesses / text.length) * 100).toFixed(1);
  report(
    `${accesses.toLocaleString('en')} distinct accesses: ${share} % of the lines are the first of theirs`,
  );
  report(`bare JSON.parse, strings in memory:    ${perSecond(SLICE, median(parse))} lines/s`);
  report(`bytes to evidence, one core:           ${perSecond(SLICE, median(read))} lines/s`);
  report(`ratio, median of ${parse.length} interleaved pairs: ${ratio.toFixed(2)}  (goal: at least 0.6)`);
}

/**
 * What a second core adds: each run is a process of its own that may use one core or two (taskset of util-linux),
 * because a single thread's input and garbage collection would otherwise borrow the second core unseen.
 */
async function twoCores(report: Report): Promise<void> {
  const file = join(tmpdir(), `interlock-bench-${process.pid}.jsonl`);
  const lines = `${logLines(LINES, IDS[0]).join('\n')}\n`;
  for (let copy = 0; copy < COPIES; copy++) await appendFile(file, lines);
  const times: Record<1 | 2, number[]> = { 1: [], 2: [] };
  try {
    for (let round = 0; round < PAIRS; round++) {
      for (const cores of [1, 2] as const) times[cores].push(onCores(cores, file));
    }
  } finally {
    await rm(file);
  }
  const ratio = median(times[1].map((time, i) => time / (times[2][i] as number)));
  report(`a file to evidence, one core:          ${perSecond(LINES * COPIES, median(times[1]))} lines/s`);
  report(`a file to evidence, two cores:         ${perSecond(LINES * COPIES, median(times[2]))} lines/s`);
  report(`ratio, median of ${PAIRS} pairs: ${ratio.toFixed(2)}  (goal: at least 1.7)`);
}

/** Milliseconds that a process with so many cores and threads takes for the file. */
function onCores(cores: 1 | 2, file: string): number {
  const args = ['-c', cores === 1 ? '0' : '0,1', process.execPath, import.meta.filename, file, `${cores}`];
  const done = spawnSync('taskset', args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`taskset (util-linux) is needed here: ${done.stderr ?? done.error}`);
  return Number(done.stdout);
}

/** The other side of {@link onCores}: reads the file and prints how long it took. */
async function readFile(file: string, threads: number): Promise<void> {
  const start = performance.now();
  for await (const outcome of readRecordings([file], { now: NOW, threads })) {
    if (outcome.kind !== 'read') throw new Error(`the file was not read: ${outcome.kind}`);
  }
  console.log(performance.now() - start);
}

function parseAll(lines: readonly string[]): number {
  let sum = 0;
  for (const line of lines) sum += (JSON.parse(line) as { response_code: number }).response_code;
  return sum;
}

function chunksOf(bytes: Buffer): Buffer[] {
  const chunks: Buffer[] = [];
  for (let i = 0; i < bytes.length; i += CHUNK_BYTES) chunks.push(bytes.subarray(i, i + CHUNK_BYTES));
  return chunks;
}

function timed(work: () => unknown): number {
  const start = performance.now();
  work();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function perSecond(lines: number, ms: number): string {
  return Math.round((lines / ms) * 1000)
    .toLocaleString('en')
    .padStart(9);
}

if (import.meta.main) {
  const [file, threads] = process.argv.slice(2);
  if (file === undefined) await bench(console.log);
  else await readFile(file, Number(threads));
}
