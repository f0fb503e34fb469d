import { Composer, type CST, type Document, LineCounter, Parser } from 'yaml';
import { MAX_DEPTH } from '../source.ts';

/** Where the parts of a recording go. */
export interface DocumentSink {
  /** One value (an object, a list of them, or something else) and the line that it starts at. */
  value(value: unknown, line: number): void;
  /** A part that could not be read. `detail` never quotes the input: it might be a Secret. */
  broken(reason: string, line: number, detail: string): void;
}

/**
 * Largest single YAML document, in UTF-16 units: YAML takes about a hundred times its size in memory while it is
 * read. `kubectl get -o json` has no such limit.
 */
const MAX_YAML_LENGTH = 8 * 1024 * 1024;
/** Most times that aliases may multiply what an anchor holds: what refuses "billion laughs". */
const MAX_ALIAS_COUNT = 100;
const MULTIPLIED = 'YAML whose aliases multiply';
/** Most aliases in one document: each is looked up in all of it. */
const MAX_ALIASES = 500;

/** Reads manifests: one JSON value, JSON values one after another or one a line, or YAML documents. */
export function readDocuments(text: string, sink: DocumentSink): void {
  if (/^\s*[[{]/.test(text.slice(0, 4096)) && readJson(text, sink)) return;
  for (const { from, to, line } of yamlDocuments(text)) {
    if (to - from > MAX_YAML_LENGTH) {
      sink.broken(
        `YAML document larger than ${MAX_YAML_LENGTH / 1024 / 1024} MiB: write JSON (kubectl get -o json)`,
        line,
        `${to - from} characters`,
      );
    } else readYaml(text.slice(from, to), line, sink);
  }
}

/** False where the text is no JSON at all: braces begin YAML's flow style, too. */
function readJson(text: string, sink: DocumentSink): boolean {
  const whole = parseJson(text);
  if (whole.ok) {
    sink.value(whole.value, 1);
    return true;
  }
  let read = 0;
  const broken: { line: number; detail: string }[] = [];
  for (const { from, to, line } of jsonValues(text)) {
    const part = parseJson(text.slice(from, to));
    if (part.ok) {
      read++;
      sink.value(part.value, line);
    } else broken.push({ line, detail: `${to - from} characters that are no JSON` });
  }
  // JSON's keys are quoted; what begins otherwise is YAML.
  if (read === 0 && !/^\s*[[{]\s*["[{}\]]/.test(text.slice(0, 4096))) return false;
  for (const { line, detail } of broken) sink.broken('broken JSON', line, detail);
  return true;
}

function parseJson(text: string): { ok: true; value: unknown } | { ok: false } {
  try {
    return { ok: true, value: JSON.parse(text) };
  } catch {
    // V8's message quotes the input, and the input may be a Secret.
    return { ok: false };
  }
}

/**
 * The pieces of text that stand between a brace that opens a value and the one that closes it. A piece that
 * breaks off is given up at the next line that begins with a brace, so that one bad line costs one value.
 */
function* jsonValues(text: string): Iterable<{ from: number; to: number; line: number }> {
  let line = 1;
  let depth = 0;
  let from = 0;
  let start = 1;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === LF) {
      line++;
      // Pretty-printed JSON indents what is inside a value, and JSON's texts hold no raw line feed.
      quoted = false;
      if (depth > 0 && text.charCodeAt(i + 1) === OPEN) {
        yield { from, to: i, line: start };
        depth = 0;
      }
    } else if (quoted) {
      if (c === BACKSLASH) i++;
      else if (c === QUOTE) quoted = false;
    } else if (c === QUOTE) quoted = depth > 0;
    else if (c === OPEN || c === OPEN_LIST) {
      if (depth++ === 0) [from, start] = [i, line];
    } else if ((c === CLOSE || c === CLOSE_LIST) && depth > 0 && --depth === 0) {
      yield { from, to: i + 1, line: start };
    }
  }
  if (depth > 0) yield { from, to: text.length, line: start };
}

/** The documents of a YAML stream; a line that begins with "---" ends one wherever it stands (YAML 1.2.2, 9.1.2). */
function* yamlDocuments(text: string): Iterable<{ from: number; to: number; line: number }> {
  let from = 0;
  let line = 1;
  let start = 1;
  for (let at = 0; at <= text.length; ) {
    const feed = text.indexOf('\n', at);
    const end = feed < 0 ? text.length : feed;
    if (at > from && text.startsWith('---', at) && /^\s?$/.test(text.slice(at + 3, at + 4))) {
      yield { from, to: at, line: start };
      [from, start] = [at, line];
    }
    at = end + 1;
    line++;
  }
  if (from < text.length) yield { from, to: text.length, line: start };
}

function readYaml(text: string, line: number, sink: DocumentSink): void {
  const lines = new LineCounter();
  try {
    const composer = new Composer({ merge: true, uniqueKeys: false, lineCounter: lines, logLevel: 'silent' });
    const parser = new Parser(lines.addNewLine);
    const documents: Document.Parsed[] = [];
    for (const token of parser.parse(text)) {
      const refusal = refusalOf(token);
      if (refusal !== undefined) {
        sink.broken(refusal, line, 'a YAML document');
        return;
      }
      documents.push(...(composer.next(token) as Iterable<Document.Parsed>));
    }
    documents.push(...(composer.end() as Iterable<Document.Parsed>));
    for (const document of documents) readYamlDocument(document, text, line, lines, sink);
  } catch (error) {
    // A stack that overflows, and whatever else a YAML library may trip over: this document only is lost.
    sink.broken('broken YAML', line, error instanceof RangeError ? 'nested too deep' : 'unreadable');
  }
}

function readYamlDocument(
  document: Document.Parsed,
  text: string,
  line: number,
  lines: LineCounter,
  sink: DocumentSink,
): void {
  const [error] = document.errors;
  if (error !== undefined) {
    const at = line - 1 + Math.max(1, lines.linePos(error.pos[0]).line);
    if (text.includes('{{')) {
      sink.broken('a template, not a manifest: render it first (helm template)', at, error.code);
    } else sink.broken('broken YAML', at, error.code);
    return;
  }
  const at = line - 1 + Math.max(1, lines.linePos(document.contents?.range?.[0] ?? 0).line);
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIAS_COUNT });
  } catch {
    sink.broken(MULTIPLIED, at, 'a YAML document');
    return;
  }
  // Without aliases every value takes a character. A list that holds itself never ends and is found here, too.
  if (text.includes('*') && holdsMoreThan(text.length, value)) {
    sink.broken(MULTIPLIED, at, 'a YAML document');
    return;
  }
  if (value !== null && value !== undefined) sink.value(value, at);
}

/** Whether there are more than `most` values in a value, those of an alias counted wherever it stands. */
function holdsMoreThan(most: number, value: unknown): boolean {
  let count = 0;
  const open = [[value]];
  for (let list = open.pop(); list !== undefined; list = open.pop()) {
    for (const item of list) {
      if (++count > most) return true;
      if (typeof item === 'object' && item !== null) open.push(Object.values(item));
    }
  }
  return false;
}

/** Why a document is not composed, where it is not; its tokens are walked without recursion: the composer recurses. */
function refusalOf(token: CST.Token): string | undefined {
  let level: unknown[] = [token];
  let aliases = 0;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return `YAML nested deeper than ${MAX_DEPTH}`;
    for (const inside of level) if ((inside as CST.Token).type === 'alias') aliases++;
    if (aliases > MAX_ALIASES) return `YAML with more than ${MAX_ALIASES} aliases`;
    level = level.flatMap(tokensIn);
  }
  return undefined;
}

function tokensIn(token: unknown): unknown[] {
  const { items, value } = token as { items?: { key?: unknown; value?: unknown }[]; value?: unknown };
  const inside: unknown[] = [];
  if (typeof value === 'object' && value !== null) inside.push(value);
  for (const item of items ?? []) {
    if (typeof item.key === 'object' && item.key !== null) inside.push(item.key);
    if (typeof item.value === 'object' && item.value !== null) inside.push(item.value);
  }
  return inside;
}

const LF = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
