import type { Tally } from '../../access/index.ts';
import { LineFramer, linesInto } from './framing.ts';
import { MAX_LINE_BYTES, type Reader } from '../source.ts';

/** Why a line over the limit is left out. */
export const OVERSIZED_LINE = `line longer than ${MAX_LINE_BYTES / 1024 ** 2} MiB`;

/** Reads lines on this thread. */
export async function readLines(chunks: AsyncIterable<Buffer>, tally: Tally, reader: Reader): Promise<void> {
  let number = 0;
  const framer = new LineFramer({
    lines(bytes) {
      number = linesInto(reader, bytes, number);
    },
    oversized(head) {
      tally.read++;
      tally.skip(OVERSIZED_LINE, ++number, head.toString());
    },
  });
  for await (const chunk of chunks) framer.push(chunk);
  framer.end();
}
