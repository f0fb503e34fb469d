import { Composer, type CST, CST as TOKENS, type Document, Lexer, type LineCounter, Parser } from 'yaml';

/** Faults of one document that are kept; one that has more is not read on. */
export const MOST_FAULTS = 20;

/** How much of a text is read. */
export interface YamlLimits {
  /** Levels of lists and maps within each other. */
  readonly depth: number;
  /** What a lexer takes a text apart into: words, signs, blanks and line ends. */
  readonly pieces: number;
  readonly documents: number;
}

/** Something that is no YAML, and the offset where it stands. */
export interface YamlFault {
  readonly what: string;
  readonly offset: number;
}

/** One document of a text: with faults it is as far as it could be read, if it could be at all. */
export interface YamlDocument {
  readonly document: Document.Parsed | undefined;
  readonly faults: readonly YamlFault[];
}

/** A text goes beyond a limit. */
export class YamlTooMuch extends Error {
  readonly limit: keyof YamlLimits;
  readonly offset: number;

  constructor(limit: keyof YamlLimits, offset: number) {
    super(`a YAML text with too much ${limit}`);
    this.limit = limit;
    this.offset = offset;
  }
}

const OPTIONS = {
  version: '1.2',
  schema: 'core',
  merge: false,
  strict: true,
  // Its own check compares every key with every other: who reads on looks for those given twice.
  uniqueKeys: false,
  stringKeys: true,
  prettyErrors: false,
  logLevel: 'silent',
} as const;

/** Ends the composing of a document that has too many faults. */
class Enough extends Error {}

/**
 * The documents of a YAML 1.2 text (core schema), one after the other, in time that grows with its length and no faster,
 * whatever it holds: its pieces, documents and depth are counted as it is read, before anything descends into it, and after
 * {@link MOST_FAULTS} faults it is read no further. Throws {@link YamlTooMuch}.
 */
export function* yamlDocuments(
  text: string,
  lines: LineCounter,
  limits: YamlLimits,
): Generator<YamlDocument> {
  const reader = new Reader(limits);
  const parser = new Parser(lines.addNewLine);
  const depth = new Depth(limits.depth);
  lines.addNewLine(0);
  let pieces = 0;
  for (const piece of new Lexer().lex(text)) {
    if (++pieces > limits.pieces) throw new YamlTooMuch('pieces', parser.offset);
    // The parser's stack has an entry for each collection that is open, whether by brackets or by how it is indented.
    if (depth.isBeyond(piece) || parser.stack.length > 2 * limits.depth + 2)
      throw new YamlTooMuch('depth', parser.offset);
    for (const token of parser.next(piece)) yield* reader.take(token);
    if (reader.isFull) break;
  }
  if (!reader.isFull) for (const token of parser.end()) yield* reader.take(token);
  yield* reader.end();
}

/** Makes documents out of the parser's tokens, each by itself. */
class Reader {
  readonly #limits: YamlLimits;
  #directives: CST.Token[] = [];
  #faults: YamlFault[] = [];
  #count = 0;

  constructor(limits: YamlLimits) {
    this.#limits = limits;
  }

  get isFull(): boolean {
    return this.#faults.length >= MOST_FAULTS;
  }

  *take(token: CST.Token): Generator<YamlDocument> {
    if (this.isFull) return;
    switch (token.type) {
      case 'directive':
        this.#directives.push(token);
        break;
      case 'document':
        if (++this.#count > this.#limits.documents) throw new YamlTooMuch('documents', token.offset);
        yield this.#document(token);
        break;
      case 'doc-end':
        this.#docEnd(token);
        break;
      case 'error': {
        const of = token.source === '' ? '' : `: ${JSON.stringify(token.source.slice(0, 40))}`;
        this.#fault(token.offset, `${token.message}${of}`);
        break;
      }
      default:
      // Comments, blanks and line ends between documents.
    }
  }

  /** Faults behind the last document, and directives of none. */
  *end(): Generator<YamlDocument> {
    const [directive] = this.#directives;
    if (directive !== undefined && !this.isFull)
      this.#fault(directive.offset, 'A directive without a document');
    if (this.#faults.length > 0) yield { document: undefined, faults: this.#faults };
  }

  #document(token: CST.Document): YamlDocument {
    const composer = new Composer(OPTIONS);
    // In place of its own, which makes an error of each fault, and warnings that nobody would see.
    Object.assign(composer, {
      onError: (source: FaultSource, _code: string, message: string) => {
        if (!this.isFull) this.#fault(offsetOf(source), message.split('\n', 1)[0] ?? message);
        if (this.isFull) throw new Enough();
      },
    });
    let document: Document.Parsed | undefined;
    try {
      // The first one sets how the second is read; they yield nothing before the end.
      for (const each of [...this.#directives, token]) for (const _ of composer.next(each));
      for (const made of composer.end()) document = made;
    } catch (error) {
      if (!(error instanceof Enough)) throw error;
    }
    const faults = this.#faults;
    this.#faults = [];
    this.#directives = [];
    return { document, faults };
  }

  #docEnd(token: CST.DocumentEnd): void {
    if (this.#count === 0) this.#fault(token.offset, 'Unexpected doc-end without preceding document');
    const odd = token.end?.find(({ type }) => type !== 'space' && type !== 'comment' && type !== 'newline');
    if (odd !== undefined) this.#fault(odd.offset, 'Unexpected text behind the end of a document');
  }

  #fault(offset: number, what: string): void {
    this.#faults.push({ what, offset });
  }
}

type FaultSource = number | readonly [number, ...number[]] | { readonly offset: number };

function offsetOf(source: FaultSource): number {
  if (typeof source === 'number') return source;
  return 'offset' in source ? source.offset : source[0];
}

/** Counts brackets as the lexer finds them: it knows those in quotes, in plain text and in comments, which open nothing. */
class Depth {
  readonly #most: number;
  #depth = 0;
  #isScalarText = false;

  constructor(most: number) {
    this.#most = most;
  }

  isBeyond(piece: string): boolean {
    if (this.#isScalarText) this.#isScalarText = false;
    else if (piece === '[' || piece === '{') this.#depth++;
    else if (piece === ']' || piece === '}') this.#depth = Math.max(0, this.#depth - 1);
    // Marks of the lexer, which stand for no text: the next piece is a scalar, brackets are broken off, a start.
    else if (piece === TOKENS.SCALAR) this.#isScalarText = true;
    else if (piece === TOKENS.FLOW_END || piece === TOKENS.DOCUMENT) this.#depth = 0;
    return this.#depth > this.#most;
  }
}
