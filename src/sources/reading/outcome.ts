import type { Readable } from 'node:stream';
import type { Fact, InterlockError, Tally } from '../../access/index.ts';
import type { Format, Source } from '../source.ts';

/** How far a command is, in bytes as they lie in its files. `total` is absent where a pipe is among them. */
export interface ReadProgress {
  readonly file: string;
  readonly done: number;
  readonly total?: number;
}

export interface ReadOptions {
  /** The format of all files; each is detected where absent. */
  readonly format?: Format | undefined;
  /** JSON key of an access log -> Envoy command operator. */
  readonly fields?: Readonly<Record<string, string>> | undefined;
  /** Milliseconds since 1970 UTC: the time of taking in, and the one to hold against records from the future. */
  readonly now: number;
  /** Facts of the inventories that were taken in before. */
  readonly facts?: Iterable<Fact>;
  /** Whether a file of this digest was taken in before. */
  readonly known?: (digest: string) => boolean;
  /** What a format kept for its next recording. */
  readonly carry?: (format: Format) => unknown;
  readonly onProgress?: (progress: ReadProgress) => void;
  /** Threads that may be used; as many as there are cores, up to 4, where absent. 1 reads on this thread. */
  readonly threads?: number;
  readonly stdin?: Readable;
  /** Other sources than the ones that exist, for tests; they are read on one thread. */
  readonly sources?: readonly Source[];
}

/** One file that was read: its name, the digest of its decompressed content (see BlockDigest), and that content's size. */
export interface ReadFile {
  readonly name: string;
  readonly digest: string;
  readonly bytes: number;
}

/** What became of one file, or of the files that were read together. */
export type ReadOutcome =
  | {
      readonly kind: 'read';
      readonly recording: {
        readonly format: Format;
        readonly files: readonly ReadFile[];
        readonly takenAt: number;
      };
      readonly tally: Tally;
      /** For the next recording of the format; undefined where it keeps nothing. */
      readonly carry: unknown;
    }
  /** Taken in before, or a second time in this command. */
  | { readonly kind: 'known'; readonly file: ReadFile }
  /** Nothing of these files is in any tally. */
  | { readonly kind: 'failed'; readonly files: readonly string[]; readonly error: InterlockError };
