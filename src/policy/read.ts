import {
  CST,
  type Document,
  isAlias,
  isMap,
  isNode,
  isPair,
  isScalar,
  Lexer,
  LineCounter,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLMap,
} from 'yaml';
import { InterlockError, type Place } from '../access/index.ts';
import { checkPolicy } from './check.ts';
import type { AccessPolicy } from './types.ts';

/** Largest text of policies, in UTF-16 units, and its deepest nesting (the format itself needs nine levels). */
export const MAX_POLICY_TEXT = 4 * 1024 * 1024;
export const MAX_POLICY_DEPTH = 32;

/**
 * The AccessPolicy documents of a YAML (or JSON) text. Everything that would silently mean something else than
 * it says is refused: throws `invalid_document` or `limit` with the document's name, what is wrong and the line.
 */
export function readPolicies(text: string, file?: string): AccessPolicy[] {
  const place = (line?: number): Place => ({ file, line });
  if (text.length > MAX_POLICY_TEXT) {
    throw new InterlockError('limit', file ?? 'policies', 'the text is larger than 4 MiB: split it', {
      place: place(),
    });
  }
  const deep = tooDeepLine(text);
  if (deep !== undefined) throw tooDeep(file, place(deep));
  const lines = new LineCounter();
  const policies: AccessPolicy[] = [];
  const seen = new Map<string, number>();
  for (const document of parse(text, lines, file)) {
    const policy = readDocument(document, lines, place);
    if (policy === undefined) continue;
    const { metadata, spec } = policy;
    const key = `${spec.protects.workload} ${metadata.name}`;
    const line = lineOf(document, lines, ['metadata', 'name']);
    const before = seen.get(key);
    if (before !== undefined) {
      const message = `a policy named "${metadata.name}" for ${spec.protects.workload} is already in line ${before}: give one another name`;
      throw new InterlockError('invalid_document', metadata.name, message, { place: place(line) });
    }
    seen.set(key, line ?? 1);
    policies.push(policy);
  }
  return policies;
}

type Documents = readonly Document.Parsed[];

function parse(text: string, lines: LineCounter, file: string | undefined): Documents {
  try {
    // Without a document the library answers with an empty array that carries the stream's own comments.
    return [
      ...parseAllDocuments(text, {
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
      }),
    ];
  } catch (cause) {
    // Nesting without brackets can exhaust the parser's stack.
    if (cause instanceof RangeError) throw tooDeep(file, { file });
    throw cause;
  }
}

function tooDeep(file: string | undefined, place: Place): InterlockError {
  const message = `the text is nested deeper than ${MAX_POLICY_DEPTH} levels`;
  return new InterlockError('limit', file ?? 'policies', message, { place });
}

function readDocument(
  document: Document.Parsed,
  lines: LineCounter,
  place: (line?: number) => Place,
): AccessPolicy | undefined {
  const subject = nameOf(document);
  const refuse = (reason: string, offset: number | undefined) =>
    new InterlockError('invalid_document', subject, reason, {
      place: place(offset === undefined ? undefined : lines.linePos(offset).line),
    });
  const [error] = [...document.errors, ...document.warnings];
  if (error?.message.startsWith('Maximum call stack') === true) throw tooDeep(place().file, place());
  if (error !== undefined) throw refuse(`not valid YAML: ${firstLine(error.message)}`, error.pos[0]);
  const odd = oddity(document);
  if (odd !== undefined) throw refuse(odd.reason, odd.offset);
  const { contents } = document;
  if (contents === null || (isScalar(contents) && contents.value === null)) return undefined;
  const checked = checkPolicy(document.toJS({ maxAliasCount: 0 }));
  if (checked.ok) return checked.policy;
  const [problem, ...more] = checked.problems;
  const others = more.length === 0 ? '' : ` (and ${more.length} more)`;
  throw refuse(
    `${problem?.reason ?? 'it is not an AccessPolicy'}${others}`,
    offsetOf(document, problem?.path ?? [], problem?.key),
  );
}

/** What YAML can say and a policy must not: anchors, aliases, tags, merge keys, and keys that bend objects. */
function oddity(document: Document.Parsed): { reason: string; offset: number | undefined } | undefined {
  let found: { reason: string; offset: number | undefined } | undefined;
  const report = (reason: string, node: unknown) => {
    found = { reason, offset: isNode(node) ? (node.range?.[0] ?? undefined) : undefined };
    return visit.BREAK;
  };
  visit(document, (_key, node, path) => {
    if (path.length > MAX_POLICY_DEPTH * 2)
      return report(`nested deeper than ${MAX_POLICY_DEPTH} levels`, node);
    if (isMap(node)) {
      const twice = repeatedKey(node);
      if (twice !== undefined) return report(`key "${String(twice.value)}" is given twice`, twice);
    }
    if (isAlias(node)) return report('an alias (*name) is not allowed: write it out', node);
    if (isPair(node)) {
      const key = isScalar(node.key) ? String(node.key.value) : '';
      if (key === '<<') return report('a merge key (<<) is not allowed: write it out', node.key);
      if (key === '__proto__') return report('unknown key "__proto__"', node.key);
      return undefined;
    }
    if (isNode(node) && node.tag !== undefined) return report(`a tag (${node.tag}) is not allowed`, node);
    if ((isScalar(node) || isMap(node)) && node.anchor !== undefined) {
      return report('an anchor (&name) is not allowed', node);
    }
    return undefined;
  });
  return found;
}

function repeatedKey(map: YAMLMap): Scalar | undefined {
  const seen = new Set<string>();
  for (const { key } of map.items) {
    if (!isScalar(key)) continue;
    const text = String(key.value);
    if (seen.has(text)) return key;
    seen.add(text);
  }
  return undefined;
}

function nameOf(document: Document.Parsed): string {
  const name: unknown = document.errors.length > 0 ? undefined : document.getIn(['metadata', 'name']);
  return typeof name === 'string' ? name.slice(0, 80) : 'policy';
}

function lineOf(document: Document.Parsed, lines: LineCounter, path: readonly (string | number)[]) {
  const offset = offsetOf(document, path, undefined);
  return offset === undefined ? undefined : lines.linePos(offset).line;
}

/** Where a problem stands: its key or value, or the nearest thing above it that is there. */
function offsetOf(
  document: Document.Parsed,
  path: readonly (string | number)[],
  key: string | undefined,
): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true);
    if (!isNode(node)) continue;
    if (key !== undefined && isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && item.key.value === key);
      if (isScalar(pair?.key)) return pair.key.range?.[0];
    }
    return node.range?.[0];
  }
  return undefined;
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? text;
}

/**
 * The line in which brackets nest too deep, if one does. The lexer is asked, before anything descends into them: it
 * knows those in quotes, in plain text and in comments, which neither open nor close anything.
 */
function tooDeepLine(text: string): number | undefined {
  let depth = 0;
  let read = 0;
  let isScalarText = false;
  for (const token of new Lexer().lex(text)) {
    if (isScalarText) isScalarText = false;
    else if (token === '[' || token === '{') depth++;
    else if (token === ']' || token === '}') depth = Math.max(0, depth - 1);
    else if (token === CST.SCALAR || token === CST.FLOW_END || token === CST.DOCUMENT) {
      // Marks of the lexer, which stand for no text: the next token is a scalar, brackets are broken off, a start.
      isScalarText = token === CST.SCALAR;
      if (!isScalarText) depth = 0;
      continue;
    }
    if (depth > MAX_POLICY_DEPTH) return text.slice(0, read).split('\n').length;
    read += token.length;
  }
  return undefined;
}
