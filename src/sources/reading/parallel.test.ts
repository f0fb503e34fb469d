import { describe, expect, test } from 'vitest';
import { type Fact, Tally } from '../../access/index.ts';
import { Inventory } from './attribution.ts';
import { BLOCK_BYTES } from './blocks.ts';
import { fakeSource } from './fake-source.ts';
import { type ParallelJob, readInParallel } from './parallel.ts';
import { readLines } from './read-lines.ts';
import { MAX_LINE_BYTES } from '../source.ts';

const NOW = Date.UTC(2026, 10, 16);
const facts: Fact[] = [{ fact: 'node', name: 'n1', ips: ['10.0.0.1'] }];
const job: ParallelJob = {
  source: fakeSource,
  options: { now: NOW },
  inventory: new Inventory(facts),
  module: new URL('./fake-source.ts', import.meta.url).href,
  threads: 3,
};
const lineOf = (i: number) =>
  `${JSON.stringify({ fake: i % 50, at: NOW + i, ip: `10.0.0.${i % 3}` }).replace('}', `,"pad":"${'x'.repeat(i % 300)}"}`)}\n`;

/** About 12 MB in pieces of 64 KiB: three blocks, with bad lines and two that are too long. */
async function* recording() {
  const piece: string[] = [];
  let size = 0;
  for (let i = 1; i <= 60_000; i++) {
    const line = i % 20_000 === 19_999 ? `bad ${i}\r\n` : i % 1000 === 0 ? '\n' : lineOf(i);
    piece.push(line);
    size += line.length;
    if (size > 65_536) {
      yield Buffer.from(piece.splice(0).join(''));
      size = 0;
    }
    if (i === 25_000 || i === 59_000) yield* tooLong(piece.splice(0).join(''));
  }
  yield Buffer.from(piece.join(''));
}

async function* tooLong(before: string) {
  yield Buffer.from(before);
  for (let n = 0; n <= MAX_LINE_BYTES; n += 65_536) yield Buffer.alloc(65_536, 'long');
  yield Buffer.from('\n');
}

function comparable(tally: Tally) {
  return {
    accesses: [...tally.accesses()]
      .map(({ from, action, evidence }) => ({ from, action, evidence: { ...evidence } }))
      .toSorted((a, b) => (JSON.stringify([a.from, a.action]) < JSON.stringify([b.from, b.action]) ? -1 : 1)),
    skips: [...tally.skips()].toSorted((a, b) => a.firstLine - b.firstLine),
    sums: [tally.read, tally.accepted, tally.firstSeen, tally.lastSeen],
  };
}

describe('reading on several threads', () => {
  test('gives what one thread gives, with the same line numbers and attribution', async () => {
    const alone = new Tally('envoy', new Inventory(facts).attribution());
    await readLines(recording(), alone, fakeSource.open(alone));
    const together = new Tally('envoy');
    await readInParallel(recording(), together, job);
    expect(comparable(together)).toEqual(comparable(alone));
    expect([...alone.skips()].map(({ firstLine, count }) => [firstLine, count])).toEqual([
      [19_999, 3],
      [25_001, 2],
    ]);
    expect([...alone.accesses()].some(({ from }) => from.entity === 'host')).toBe(true);
  });

  test('takes a line that is longer than a block', async () => {
    const tally = new Tally('envoy');
    const long = lineOf(1).replace('x', 'x'.repeat(BLOCK_BYTES));
    await readInParallel(chunks(lineOf(1), long.slice(0, 70_000), long.slice(70_000), lineOf(2)), tally, job);
    expect(tally).toMatchObject({ read: 3, accepted: 3 });
  });

  test('fails with the error that a reader raised', async () => {
    const tally = new Tally('envoy');
    await expect(readInParallel(chunks(lineOf(1), 'stop\n'), tally, job)).rejects.toMatchObject({
      code: 'invalid_recording',
      message: 'it says stop',
    });
    expect(tally.accessCount).toBe(0);
  });

  test('fails with a fault of the program, and does not wait for the thread that had it', async () => {
    const broken = { ...job, module: 'data:text/javascript,export const other = 1' };
    await expect(readInParallel(recording(), new Tally('envoy'), broken)).rejects.toThrow(
      'no source for envoy',
    );
  });
});

async function* chunks(...texts: string[]) {
  for (const text of texts) yield Buffer.from(text);
}
