import type { Tally } from '../access/index.ts';

/** The formats that recordings come in. */
export const FORMATS = ['otlp', 'envoy', 'istio', 'hubble', 'kubernetes'] as const;
export type Format = (typeof FORMATS)[number];

/** What a user says about a recording beyond its format. */
export interface SourceOptions {
  /** JSON key of an access log -> Envoy command operator (`{ caller: 'DOWNSTREAM_PEER_URI_SAN' }`). */
  readonly fields?: Readonly<Record<string, string>>;
  /** The time to hold against records from the future, milliseconds since 1970 UTC. */
  readonly now: number;
  /** What {@link Reader.carry} gave after the recording before, as plain JSON data; absent where there is none. */
  readonly carry?: unknown;
}

/**
 * Reads one recording. Lines (or, for a format that is not made of lines, the whole text) go in; what they say
 * is added to the tally. A reader never throws for bad input inside a recording: it skips and counts. It throws
 * `invalid_recording` or `limit` only where nothing sensible can follow.
 */
export interface Reader {
  /** One line without its line feed, as bytes that the reader must not keep: the buffer is used again. */
  line(bytes: Buffer, number: number): void;
  /**
   * The same for all lines of a block, with their line feeds (the last one may have none), numbered after `before`:
   * gives the number of the last one. Empty lines are numbered and left out. For a reader that reads them faster where they lie.
   */
  lines?(bytes: Buffer, before: number): number;
  /** After the last line. Everything that waited for a later line is decided here. */
  end(): void;
  /** After `end`: what the next recording of this format needs to know of this one, as bounded plain JSON data. */
  carry?(): unknown;
}

/** One kind of recording. */
export interface Source {
  readonly format: Format;
  /** Whether the text is made of lines, or is one document (YAML, a `kubectl get -o json` list) up to a limit. */
  readonly framing: 'lines' | 'document';
  /** Set where no line needs another: the lines of one recording may then be shared out to several readers. */
  readonly independentLines?: true;
  /** Set where recordings explain each other (spans of one trace): the files of one command go into one reader. */
  readonly joins?: true;
  /**
   * How sure this source is that `head` (the first 64 KiB, decompressed) is its format: 0 not at all, 1 certain.
   * The surest source above 0 wins. `fields` are those of {@link SourceOptions}.
   */
  detect(head: string, fields?: SourceOptions['fields']): number;
  open(tally: Tally, options: SourceOptions): Reader;
}

/** Longest line in bytes. Longer ones are skipped and counted, without being held in memory. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;
/** Largest document (manifests), in bytes. */
export const MAX_DOCUMENT_BYTES = 256 * 1024 * 1024;
/** Deepest nesting of JSON or YAML that is read. */
export const MAX_DEPTH = 64;
/** Records this far ahead of now are refused: a clock that is wrong would open a gap in the calendar. */
export const MAX_FUTURE_MS = 24 * 3_600_000;
/**
 * Records from before this time (2010) are refused: a clock that was never set (1970, 2000) would stretch the time
 * that a recording covers over decades.
 */
export const MIN_TIME_MS: number = Date.UTC(2010, 0);
