import {
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  LineCounter,
  parseAllDocuments,
  visit,
  type YAMLMap,
} from 'yaml';
import { InterlockError, type Place } from '../../access/index.ts';

/** Largest text of rules, in UTF-16 units (10,000 plain entries fit), and its deepest nesting. */
export const MAX_RULES_TEXT = 16 * 1024 * 1024;
export const MAX_RULES_DEPTH = 16;

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
  const limit = (reason: string) =>
    new InterlockError('limit', file ?? 'identity rules', `${reason}: split it`, { place: { file } });
  if (text.length > MAX_RULES_TEXT) throw limit('the text is larger than 16 MiB');
  if (nestsTooDeep(text)) throw limit(`the text is nested deeper than ${MAX_RULES_DEPTH} levels`);
  const lines = new LineCounter();
  try {
    const documents = parseAllDocuments(text, {
      lineCounter: lines,
      version: '1.2',
      schema: 'core',
      merge: false,
      strict: true,
      // Its own check compares every key with every other; ours is in `oddity`.
      uniqueKeys: false,
      stringKeys: true,
      prettyErrors: false,
      logLevel: 'silent',
    });
    return [...documents].flatMap((document) => plain(document, lines, file) ?? []);
  } catch (cause) {
    // Nesting without brackets can exhaust the parser's stack.
    if (cause instanceof RangeError) throw limit(`the text is nested deeper than ${MAX_RULES_DEPTH} levels`);
    throw cause;
  }
}

function plain(
  document: Document.Parsed,
  lines: LineCounter,
  file: string | undefined,
): PlainDocument | undefined {
  const name = nameOf(document);
  const refuse = (reason: string, offset: number | undefined) => {
    const place: Place = { file, line: offset === undefined ? undefined : lines.linePos(offset).line };
    return new InterlockError('invalid_document', name, reason, { place });
  };
  const [error] = [...document.errors, ...document.warnings];
  if (error !== undefined) {
    if (error.message.startsWith('Maximum call stack')) throw new RangeError(error.message);
    throw refuse(`not valid YAML: ${error.message.split('\n', 1)[0]}`, error.pos[0]);
  }
  const odd = oddity(document);
  if (odd !== undefined) throw refuse(odd.reason, odd.offset);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
  return {
    data: document.toJS({ maxAliasCount: 0 }),
    name,
    refusal: (reason, path, key) => refuse(reason, offsetOf(document, path, key)),
  };
}

interface Oddity {
  readonly reason: string;
  readonly offset: number | undefined;
}

/** What YAML can say and a rule must not. */
function oddity(document: Document.Parsed): Oddity | undefined {
  let found: Oddity | undefined;
  const report = (reason: string, node: unknown) => {
    found = { reason, offset: isNode(node) ? (node.range?.[0] ?? undefined) : undefined };
    return visit.BREAK;
  };
  visit(document, (_key, node, path) => {
    if (path.length > MAX_RULES_DEPTH * 2)
      return report(`nested deeper than ${MAX_RULES_DEPTH} levels`, node);
    if (isAlias(node)) return report('an alias (*name) is not allowed: write it out', node);
    if (isPair(node)) {
      const key = isScalar(node.key) ? String(node.key.value) : '';
      if (key === '<<') return report('a merge key (<<) is not allowed: write it out', node.key);
      return key === '__proto__' ? report('unknown key "__proto__"', node.key) : undefined;
    }
    if (isMap(node)) {
      const twice = repeatedKey(node);
      if (twice !== undefined) return report(`key "${twice.key}" is given twice`, twice.node);
    }
    if (isNode(node) && node.tag !== undefined) return report(`a tag (${node.tag}) is not allowed`, node);
    if ((isScalar(node) || isMap(node)) && node.anchor !== undefined)
      return report('an anchor (&name) is not allowed', node);
    return undefined;
  });
  return found;
}

function repeatedKey(map: YAMLMap): { key: string; node: unknown } | undefined {
  const seen = new Set<string>();
  for (const { key: node } of map.items) {
    const key = isScalar(node) ? String(node.value) : '';
    if (seen.has(key)) return { key, node };
    seen.add(key);
  }
  return undefined;
}

function nameOf(document: Document.Parsed): string {
  const name: unknown = document.errors.length > 0 ? undefined : document.getIn(['metadata', 'name']);
  return typeof name === 'string' ? name.slice(0, 80) : 'identity rule';
}

/** Where a path stands, or the nearest thing above it that is there. */
function offsetOf(
  document: Document.Parsed,
  path: readonly (string | number)[],
  key: string | undefined,
): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (!isNode(node)) continue;
    const pair =
      key !== undefined && isMap(node)
        ? node.items.find((item) => isScalar(item.key) && item.key.value === key)
        : undefined;
    return (isScalar(pair?.key) ? pair.key.range : node.range)?.[0];
  }
  return undefined;
}

/** Whether brackets nest deeper than any rule; quotes are not told apart: a bound is enough. */
function nestsTooDeep(text: string): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x7b || c === 0x5b) {
      if (++depth > MAX_RULES_DEPTH) return true;
    } else if ((c === 0x7d || c === 0x5d) && depth > 0) depth--;
  }
  return false;
}
