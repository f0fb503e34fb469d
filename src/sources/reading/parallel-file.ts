import { setImmediate } from 'node:timers/promises';
import { absorbTally, exportTally, Tally } from '../../access/index.ts';
import { digestOfBlocks } from './block-digest.ts';
import { lineNumbering } from './blocks.ts';
import { type BlockLines, FileBlocks, sharedFile } from './file-blocks.ts';
import type { ParallelJob } from './parallel.ts';
import { linesInto } from './framing.ts';
import { Pool } from './pool.ts';
import { OVERSIZED_LINE } from './read-lines.ts';
import type { Reader } from '../source.ts';

/** Lines of blocks into a reader and its tally. */
export function intoReader(reader: Reader, tally: Tally): BlockLines {
  return {
    line: (bytes, number) => reader.line(bytes, number),
    lines: (bytes, before) => linesInto(reader, bytes, before),
    oversized(head, number) {
      tally.read++;
      tally.skip(OVERSIZED_LINE, number, head.toString());
    },
  };
}

/**
 * Reads a plain file whose lines do not need each other: every thread, this one too, takes blocks of it, reads and
 * digests them by itself. Adds to `tally` what one thread would have, and gives the digest of the content.
 */
export async function readFileInParallel(
  { path, size }: { path: string; size: number },
  tally: Tally,
  { source, options, inventory, module, threads }: ParallelJob,
  onProgress: (bytes: number) => void,
): Promise<string> {
  const file = sharedFile(path, size);
  const job = { format: source.format, options, facts: inventory.facts(), module, file };
  const pool = new Pool(job, threads - 1);
  const mine = new Tally(source.format, inventory.attribution());
  const reader = source.open(mine, options);
  const lines = intoReader(reader, mine);
  let blocks: FileBlocks | undefined;
  try {
    blocks = new FileBlocks(file);
    while (blocks.readNext(lines)) {
      onProgress(blocks.taken);
      // Lets the threads start and their failures be seen.
      await setImmediate();
      pool.check();
    }
    reader.end();
    const tallies = [exportTally(mine), ...(await pool.finish())];
    const counts = new Map([...new Int32Array(file.lines)].map((n, index) => [index, n]));
    const absolute = lineNumbering(counts);
    for (const data of tallies) {
      const skips = data.skips.map(({ firstLine, ...skip }) => ({ ...skip, firstLine: absolute(firstLine) }));
      absorbTally(tally, { ...data, skips });
    }
    return digestOfBlocks(file.digests);
  } finally {
    blocks?.close();
    await pool.close();
  }
}
