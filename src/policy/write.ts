import { Document, isMap, isScalar, isSeq, type Node, visit } from 'yaml';
import type { AccessPolicy, Rule } from './types.ts';

/** Longest line that a list or an item is kept on, in characters. */
const MAX_WIDTH = 110;
/** The same for evidence, which is there to be looked up, not to be read through. */
const MAX_EVIDENCE_WIDTH = 320;

/** The policies as YAML that people review: what fits a line stays on it. `readPolicies` reads it back the same. */
export function writePolicies(policies: readonly AccessPolicy[]): string {
  return policies.map((policy) => writeDocument(inOrder(policy))).join('---\n');
}

/** Fields in the order in which people read them, absent ones left out. */
function inOrder({ apiVersion, kind, metadata, spec }: AccessPolicy): Record<string, unknown> {
  const { protects, tier, stage, rules, deny, connectionGrace } = spec;
  return {
    apiVersion,
    kind,
    metadata: compact({
      name: metadata.name,
      namespace: metadata.namespace,
      labels: metadata.labels,
      annotations: metadata.annotations,
    }),
    spec: compact({
      protects,
      tier,
      stage,
      rules: rules.map(ruleInOrder),
      deny: deny.map(ruleInOrder),
      connectionGrace,
    }),
  };
}

function ruleInOrder({ name, from, to, when, until, reason, evidence }: Rule): Record<string, unknown> {
  return compact({ name, from, to, when, until, reason, evidence });
}

function compact(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** Keys whose values are kept on one line where they fit. */
const ONE_LINE = new Set(['metadata', 'protects', 'from', 'to', 'evidence', 'rules', 'deny']);

function writeDocument(data: Record<string, unknown>): string {
  // What YAML 1.1 readers (kubectl, Helm) would take for something else than text is quoted.
  const document = new Document(data, { aliasDuplicateObjects: false, compat: 'yaml-1.1' });
  visit(document, {
    Pair(_key, pair, path) {
      const key = String((pair.key as { value?: unknown } | null)?.value);
      if (!ONE_LINE.has(key)) return undefined;
      const indent = path.filter((node) => isMap(node) || isSeq(node)).length * 2;
      // A pair made from plain data holds nodes.
      const value = pair.value as Node | null;
      keepOnLine(value, indent + key.length, key === 'evidence' ? MAX_EVIDENCE_WIDTH : MAX_WIDTH);
      return undefined;
    },
  });
  visit(document, {
    Scalar(_key, scalar) {
      // Escapes mean something between double quotes only.
      if (typeof scalar.value === 'string' && escapeHidden(scalar.value) !== scalar.value)
        scalar.type = 'QUOTE_DOUBLE';
    },
  });
  return escapeHidden(document.toString({ lineWidth: 0, flowCollectionPadding: true }));
}

/** Writes a collection on one line when it fits, else each of its parts that does. */
function keepOnLine(node: Node | null, indent: number, limit = MAX_WIDTH): void {
  if (!isMap(node) && !isSeq(node)) return;
  if (indent + width(node) <= limit && !(isSeq(node) && node.items.some(isRule))) {
    node.flow = true;
    return;
  }
  for (const item of node.items) {
    if (isMap(item) && !isRule(item)) keepOnLine(item, indent + 2);
  }
}

function isRule(node: unknown): boolean {
  return isMap(node) && node.has('name') && node.has('from');
}

/** Width of a node on one line, but for strings that YAML has to quote. */
function width(node: unknown): number {
  if (isMap(node)) {
    return 2 + node.items.reduce((sum, { key, value }) => sum + width(key) + 2 + width(value) + 2, 0);
  }
  if (isSeq(node)) return 2 + node.items.reduce<number>((sum, item) => sum + width(item) + 2, 0);
  return isScalar(node) ? String(node.value).length : 0;
}

/** Text in which characters that reorder or hide text (Unicode category Cf) stand as escapes: a review sees them. */
function escapeHidden(text: string): string {
  return text.replaceAll(/\p{Cf}/gu, (char) => {
    const code = char.codePointAt(0) ?? 0;
    return code > 0xffff
      ? `\\U${code.toString(16).padStart(8, '0')}`
      : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}
