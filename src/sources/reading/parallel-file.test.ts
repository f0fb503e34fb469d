import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type Fact, Tally } from '../../access/index.ts';
import { MAX_LINE_BYTES } from '../source.ts';
import { Inventory } from './attribution.ts';
import { BLOCK_BYTES } from './blocks.ts';
import { fakeSource } from './fake-source.ts';
import type { ParallelJob } from './parallel.ts';
import { readFileInParallel } from './parallel-file.ts';
import { readLines } from './read-lines.ts';
import { openRecording } from './recording.ts';

const NOW = Date.UTC(2026, 10, 16);
const facts: Fact[] = [{ fact: 'node', name: 'n1', ips: ['10.0.0.1'] }];
const job: ParallelJob = {
  source: fakeSource,
  options: { now: NOW },
  inventory: new Inventory(facts),
  module: new URL('./fake-source.ts', import.meta.url).href,
  threads: 3,
};
const dir = mkdtempSync(join(tmpdir(), 'interlock-file-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const lineOf = (i: number, pad = 0) =>
  JSON.stringify({ fake: i % 50, at: NOW + i, ip: `10.0.0.${i % 3}` }).replace(
    '}',
    `,"pad":"${'x'.repeat(pad)}"}`,
  );

/** `length` bytes of lines, the last one padded so that the text ends where it is asked to, line feed included. */
function linesOf(length: number, seed: number): string {
  const lines: string[] = [];
  let size = 0;
  for (let i = seed; size < length - 2000; i++) {
    const line = i % 900 === 0 ? '' : i % 1000 === 7 ? 'bad\r' : lineOf(i, i % 700);
    lines.push(line);
    size += line.length + 1;
  }
  lines.push(lineOf(1, length - size - lineOf(1).length - 1));
  return `${lines.join('\n')}\n`;
}

function comparable(tally: Tally) {
  return {
    accesses: [...tally.accesses()]
      .map(({ from, action, evidence }) => ({
        from,
        action,
        evidence: { ...evidence, counts: [...evidence.counts] },
      }))
      .toSorted((a, b) => (JSON.stringify([a.from, a.action]) < JSON.stringify([b.from, b.action]) ? -1 : 1)),
    skips: [...tally.skips()].toSorted((a, b) => a.firstLine - b.firstLine),
    sums: [tally.read, tally.accepted, tally.firstSeen, tally.lastSeen],
  };
}

async function bothWays(name: string, content: string) {
  const path = join(dir, name);
  writeFileSync(path, content);
  const alone = new Tally('envoy', new Inventory(facts).attribution());
  const recording = await openRecording(path);
  await readLines(recording.chunks(), alone, fakeSource.open(alone));
  await recording.close();
  const together = new Tally('envoy');
  const digest = await readFileInParallel(
    { path, size: Buffer.byteLength(content) },
    together,
    job,
    () => {},
  );
  return { alone, together, digests: [recording.digest(), digest] };
}

describe('a file that several threads read', () => {
  test.each([-3, -2, -1, 0, 1, 2])(
    'gives what one thread gives, digest and line numbers too, with a line end %i bytes from a block end',
    async (offset) => {
      const content = `${linesOf(BLOCK_BYTES + offset, 1)}${linesOf(BLOCK_BYTES, 5000)}bad\n${lineOf(3, 9)}`;
      const { alone, together, digests } = await bothWays(`offset${offset}`, content);
      expect(comparable(together)).toEqual(comparable(alone));
      expect(digests[0]).toBe(digests[1]);
      expect(alone.accepted).toBeGreaterThan(10_000);
    },
  );

  test('takes lines longer than blocks, passes over those past the limit, and takes a byte order mark off', async () => {
    const long = lineOf(4, 2 * BLOCK_BYTES + 77);
    const tooLong = 'z'.repeat(MAX_LINE_BYTES + BLOCK_BYTES);
    const content = `\uFEFF${lineOf(1)}\r\n${long}\n\n${tooLong}\n${lineOf(2)}\nbad\n${lineOf(5, BLOCK_BYTES)}`;
    const { alone, together, digests } = await bothWays('long', content);
    expect(comparable(together)).toEqual(comparable(alone));
    expect(alone).toMatchObject({ read: 6, accepted: 4 });
    expect([...together.skips()].map(({ firstLine }) => firstLine).toSorted()).toEqual([4, 6]);
    expect(digests[0]).toBe(digests[1]);
  });

  test('fails with the error that a reader raised on any thread', async () => {
    const path = join(dir, 'stop');
    const content = `${linesOf(BLOCK_BYTES * 3, 1)}stop\n`;
    writeFileSync(path, content);
    const tally = new Tally('envoy');
    const read = readFileInParallel({ path, size: content.length }, tally, job, () => {});
    await expect(read).rejects.toMatchObject({ code: 'invalid_recording', message: 'it says stop' });
    expect(tally.accessCount).toBe(0);
  });

  test('fails plainly when it became shorter', async () => {
    const path = join(dir, 'short');
    writeFileSync(path, linesOf(BLOCK_BYTES, 1));
    const read = readFileInParallel({ path, size: 3 * BLOCK_BYTES }, new Tally('envoy'), job, () => {});
    await expect(read).rejects.toMatchObject({ code: 'io' });
  });
});
