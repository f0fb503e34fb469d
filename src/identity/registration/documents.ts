import { type Document, isScalar, LineCounter } from 'yaml';
import { InterlockError, type Place } from '../../access/index.ts';
import { oddityOf, offsetAt, type YamlDocument, yamlDocuments, YamlTooMuch } from '../../yaml/index.ts';

/** Largest text of rules, in UTF-16 units (10,000 plain entries fit), and its deepest nesting. */
export const MAX_RULES_TEXT = 16 * 1024 * 1024;
export const MAX_RULES_DEPTH = 16;
/** 10,000 entries have some 1,500,000 words, signs and line ends. */
const LIMITS = { depth: MAX_RULES_DEPTH, pieces: 4_000_000, documents: 20_000 } as const;
/** Characters of what is said of a fault: it quotes what somebody wrote. */
const MAX_REASON = 1000;

/** One YAML document as plain data. */
export interface PlainDocument {
  readonly data: unknown;
  /** What it calls itself, for messages, or "identity rule". */
  readonly name: string;
  /** The error for what is wrong at a path, or at one of the keys there. */
  refusal(reason: string, path: readonly (string | number)[], key?: string): InterlockError;
}

/**
 * The documents of a YAML (or JSON) text without what a rule must not have: anchors, aliases, tags, merge keys and
 * keys given twice. Throws `invalid_document` or `limit` with the line.
 */
export function readDocuments(text: string, file?: string): PlainDocument[] {
  const limit = (reason: string, line?: number) =>
    new InterlockError('limit', file ?? 'identity rules', `${reason}: split it`, { place: { file, line } });
  if (text.length > MAX_RULES_TEXT) throw limit('the text is larger than 16 MiB');
  const lines = new LineCounter();
  try {
    return [...yamlDocuments(text, lines, LIMITS)].flatMap((document) => plain(document, lines, file) ?? []);
  } catch (error) {
    if (!(error instanceof YamlTooMuch)) throw error;
    const line = lines.linePos(error.offset).line;
    throw limit(
      {
        depth: `the text is nested deeper than ${MAX_RULES_DEPTH} levels`,
        pieces: `the text has more than ${LIMITS.pieces} words, signs and line ends`,
        documents: `the text has more than ${LIMITS.documents} documents`,
      }[error.limit],
      line,
    );
  }
}

function plain(
  { document, faults }: YamlDocument,
  lines: LineCounter,
  file: string | undefined,
): PlainDocument | undefined {
  const name = (faults.length === 0 && document && nameOf(document)) || 'identity rule';
  const refuse = (reason: string, offset: number | undefined) => {
    const place: Place = { file, line: offset === undefined ? undefined : lines.linePos(offset).line };
    return new InterlockError('invalid_document', name, reason.slice(0, MAX_REASON), { place });
  };
  const [fault] = faults;
  if (fault !== undefined) throw refuse(`not valid YAML: ${fault.what}`, fault.offset);
  if (document === undefined) return undefined;
  const odd = oddityOf(document, { depth: MAX_RULES_DEPTH });
  if (odd !== undefined) throw refuse(odd.reason, odd.offset);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
  return {
    data: document.toJS({ maxAliasCount: 0 }),
    name,
    refusal: (reason, path, key) => refuse(reason, offsetAt(document, path, key)),
  };
}

function nameOf(document: Document.Parsed): string {
  const name: unknown = document.getIn(['metadata', 'name']);
  return typeof name === 'string' ? name.slice(0, 80) : 'identity rule';
}
