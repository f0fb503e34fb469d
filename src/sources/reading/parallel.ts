import { absorbTally, exportTally, Tally } from '../../access/index.ts';
import type { Inventory } from './attribution.ts';
import { BLOCK_LINES, lineNumbering, Spreader } from './blocks.ts';
import { LineFramer, linesInto } from './framing.ts';
import { Pool } from './pool.ts';
import { OVERSIZED_LINE } from './read-lines.ts';
import type { Source, SourceOptions } from '../source.ts';

/** What the threads of one recording work with. */
export interface ParallelJob {
  readonly source: Source;
  readonly options: SourceOptions;
  readonly inventory: Inventory;
  /** URL of the module that exports the source. */
  readonly module: string;
  /** Threads in all, with this one. */
  readonly threads: number;
}

/**
 * Reads lines that do not need each other on several threads, and adds what they tallied to `tally`, the same as
 * one thread would have. This thread decompresses, cuts at line ends and hands blocks out; while the others
 * have enough to do it reads lines itself.
 */
export async function readInParallel(
  chunks: AsyncIterable<Buffer>,
  tally: Tally,
  { source, options, inventory, module, threads }: ParallelJob,
): Promise<void> {
  const mine = new Tally(source.format, inventory.attribution());
  const reader = source.open(mine, options);
  const job = { format: source.format, options, facts: inventory.facts(), module };
  const pool = new Pool(job, threads - 1);
  try {
    const spreader = new Spreader({
      hasRoom: () => pool.hasRoom(),
      memory: () => pool.memory(),
      send: (block) => pool.send(block),
      here(index, bytes) {
        const first = index * BLOCK_LINES;
        pool.lines.set(index, linesInto(reader, bytes, first) - first);
      },
      oversized(index, head) {
        pool.lines.set(index, 1);
        mine.read++;
        mine.skip(OVERSIZED_LINE, index * BLOCK_LINES + 1, head.toString());
      },
    });
    const framer = new LineFramer(spreader);
    for await (const chunk of chunks) {
      framer.push(chunk);
      pool.check();
    }
    framer.end();
    spreader.flush();
    reader.end();
    const tallies = [exportTally(mine), ...(await pool.finish())];
    const absolute = lineNumbering(pool.lines);
    for (const data of tallies) {
      const skips = data.skips.map(({ firstLine, ...skip }) =>
        Object.assign(skip, { firstLine: absolute(firstLine) }),
      );
      absorbTally(tally, { ...data, skips });
    }
  } finally {
    await pool.close();
  }
}
