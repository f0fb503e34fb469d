import {
  type Document,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseDocument,
  type ToStringOptions,
  visit,
  type YAMLMap,
  type YAMLSeq,
} from 'yaml';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type AccessPolicy, readPolicies } from '../../policy/index.ts';
import { printable } from '../terminal.ts';
import { wrap } from '../wrap.ts';
import { contentText } from './content.ts';
import { mergeLines } from './merge-lines.ts';

/** What is said above a rule that is written into a file, by the name of the rule. */
export type Notes = ReadonlyMap<string, readonly string[]>;

const READ = {
  version: '1.2',
  schema: 'core',
  merge: false,
  uniqueKeys: false,
  stringKeys: true,
  logLevel: 'silent',
} as const;

/** Ways in which people write YAML. That which changes least of a text is its own. */
const WAYS: readonly ToStringOptions[] = [0, 80, 110].flatMap((lineWidth) =>
  [true, false].flatMap((flowCollectionPadding) =>
    [true, false].flatMap((indentSeq) =>
      [2, 4].map((indent) => ({ lineWidth, flowCollectionPadding, indentSeq, indent })),
    ),
  ),
);

const COMMENT_WIDTH = 100;

/**
 * The text of a document that holds the policy `before`, made to say `after`: comments, order and style of what stays are
 * kept. Throws `invalid_document` where the text cannot be made to say it.
 */
export function patchPolicy(text: string, before: AccessPolicy, after: AccessPolicy, notes: Notes): string {
  // Whatever ends its lines goes on to do so.
  const isDos = text.includes('\r\n');
  const patched = patchLines(isDos ? text.replaceAll('\r\n', '\n') : text, before, after, notes);
  return isDos ? patched.replaceAll('\n', '\r\n') : patched;
}

function patchLines(text: string, before: AccessPolicy, after: AccessPolicy, notes: Notes): string {
  const document = parseDocument(text, READ);
  const way = wayOf(text, document);
  if (!isMap(document.contents)) throw unpatched(before);
  const plain = document.toString(way);
  patchMap(document, document.contents, before, after);
  for (const [name, lines] of notes) noteRule(document, name, lines);
  const patched = document.toString(way);
  // Whatever is made of a text: nothing is written that says something else than is meant.
  const found = [mergeLines(text, plain, patched), patched].find((each) => says(each, after));
  if (found === undefined) throw unpatched(before);
  return found;
}

function says(text: string | undefined, policy: AccessPolicy): boolean {
  if (text === undefined) return false;
  try {
    const [read, ...more] = readPolicies(text);
    return more.length === 0 && contentText(read) === contentText(policy);
  } catch (error) {
    if (isInterlockError(error)) return false;
    throw error;
  }
}

function unpatched({ metadata }: AccessPolicy): InterlockError {
  return new InterlockError(
    'invalid_document',
    metadata.name,
    `"${metadata.name}" is written in a way that cannot be changed without losing something: change it by hand`,
  );
}

/** How a text is written: the way in which it comes out most like it went in. */
function wayOf(text: string, document: Document): ToStringOptions {
  const lines = new Set(text.split('\n'));
  const costs = WAYS.map((way) => {
    try {
      return document
        .toString(way)
        .split('\n')
        .filter((line) => !lines.has(line)).length;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  });
  return WAYS[costs.indexOf(Math.min(...costs))] ?? {};
}

type Plain = Readonly<Record<string, unknown>>;

const isPlain = (value: unknown): value is Plain =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function patchMap(document: Document, node: YAMLMap, before: object, after: object): void {
  const [a, b] = [new Map(Object.entries(before)), new Map(Object.entries(after))];
  for (const key of a.keys()) if (b.get(key) === undefined) node.delete(key);
  for (const [key, value] of b) {
    if (value === undefined || contentText(a.get(key)) === contentText(value)) continue;
    const child: unknown = node.get(key, true);
    const known = a.get(key);
    if (isMap(child) && isPlain(known) && isPlain(value)) patchMap(document, child, known, value);
    else if (isSeq(child) && Array.isArray(known) && Array.isArray(value))
      patchSeq(document, child, known, value);
    else if (isScalar(child) && typeof value !== 'object') child.value = value;
    else node.set(key, created(document, value));
  }
}

/** Items with names are found by them; others by what they say. */
function patchSeq(
  document: Document,
  node: YAMLSeq,
  before: readonly unknown[],
  after: readonly unknown[],
): void {
  const keyOf = (value: unknown) =>
    isPlain(value) && typeof value['name'] === 'string' ? `name ${value['name']}` : contentText(value);
  const known = new Map(before.map((value, i) => [keyOf(value), { value, item: node.items[i] }]));
  // Where an empty list stood between brackets, what comes into it need not.
  if (node.items.length === 0) node.flow = false;
  node.items = after.map((value) => {
    const was = known.get(keyOf(value));
    if (was === undefined) return created(document, value);
    if (isMap(was.item) && isPlain(was.value) && isPlain(value))
      patchMap(document, was.item, was.value, value);
    return was.item;
  });
}

/** Who and what of a rule stand on one line, as in the documents that are proposed. */
function created(document: Document, value: unknown): Node {
  const node = document.createNode(value, { aliasDuplicateObjects: false });
  visit(node, {
    Pair(_key, pair) {
      const isList = isScalar(pair.key) && (pair.key.value === 'from' || pair.key.value === 'to');
      if (isList && isCollection(pair.value)) pair.value.flow = true;
    },
  });
  if (isSeq(node) && node.items.every((item) => isScalar(item) || !isMap(item) || !item.has('from')))
    node.flow = true;
  return node;
}

function noteRule(document: Document, name: string, lines: readonly string[]): void {
  for (const list of ['rules', 'deny']) {
    const rules: unknown = document.getIn(['spec', list], true);
    if (!isSeq(rules)) continue;
    for (const item of rules.items) {
      if (!isMap(item) || item.get('name') !== name) continue;
      const text = lines.flatMap((line) => wrap(printable(line), COMMENT_WIDTH)).map((line) => ` ${line}`);
      item.commentBefore = [...(item.commentBefore?.split('\n') ?? []), ...text].join('\n');
    }
  }
}
