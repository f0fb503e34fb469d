import { availableParallelism } from 'node:os';
import { InterlockError, isInterlockError, type Tally } from '../../access/index.ts';
import type { Inventory } from './attribution.ts';
import { wholeDocument } from './framing.ts';
import { readInParallel } from './parallel.ts';
import { readFileInParallel } from './parallel-file.ts';
import { readLines } from './read-lines.ts';
import type { Recording } from './recording.ts';
import type { Reader, Source, SourceOptions } from '../source.ts';
import { moduleOf } from '../sources.ts';

/** More threads than this do not help: one thread decompresses and cuts for all of them. */
const MAX_THREADS = 4;
/** From this size on, in bytes as it lies there, a recording is worth starting threads for. */
const PARALLEL_BYTES = { plain: 32 * 1024 * 1024, compressed: 3 * 1024 * 1024 };

/** Where a recording is read into. */
export interface Into {
  readonly source: Source;
  readonly tally: Tally;
  readonly reader: Reader;
  readonly options: SourceOptions;
  readonly inventory: Inventory;
  /** Threads that may be used; as many as there are cores, up to {@link MAX_THREADS}, where undefined. */
  readonly threads: number | undefined;
}

/** Reads a recording to its end; `onChunk` is called after every piece of it. Every error names the recording. */
export async function feed(recording: Recording, into: Into, onChunk: () => void): Promise<void> {
  const { source, tally, reader } = into;
  try {
    // Whether it is compressed is known once its head was read.
    await recording.head();
    const chunks = reporting(recording, onChunk);
    const threads = threadsFor(into, recording);
    const module = moduleOf(source);
    if (source.framing === 'document') reader.line(await wholeDocument(chunks, recording.name), 1);
    else if (threads < 2 || module === undefined) await readLines(chunks, tally, reader);
    else if (recording.compressed || recording.size === undefined) {
      await readInParallel(chunks, tally, { ...into, threads, module });
    } else {
      const file = { path: recording.name, size: recording.size };
      const progress = (bytes: number) => {
        recording.bytesRead = bytes;
        onChunk();
      };
      recording.readElsewhere(await readFileInParallel(file, tally, { ...into, threads, module }, progress));
    }
  } catch (error) {
    throw named(recording.name, error);
  }
}

function threadsFor({ source, threads }: Into, { size, compressed }: Recording): number {
  const least = compressed ? PARALLEL_BYTES.compressed : PARALLEL_BYTES.plain;
  if (source.independentLines !== true || (size !== undefined && size < least)) return 1;
  return threads ?? Math.min(availableParallelism(), MAX_THREADS);
}

async function* reporting(recording: Recording, onChunk: () => void): AsyncGenerator<Buffer> {
  for await (const chunk of recording.chunks()) {
    yield chunk;
    onChunk();
  }
}

/** Readers know nothing of files: their errors are given the recording's name here. */
function named(name: string, error: unknown): unknown {
  if (!isInterlockError(error) || error.place?.file !== undefined) return error;
  const { code, message, place } = error;
  return new InterlockError(code, name, `${name}: ${message}`, {
    cause: error,
    place: { ...place, file: name },
  });
}
