import { type Document, isAlias, isMap, isNode, isPair, isScalar, isSeq, visit, type YAMLMap } from 'yaml';

/** Something that YAML can say and a document must not, and the offset where it stands. */
export interface YamlOddity {
  readonly reason: string;
  readonly offset: number | undefined;
}

/**
 * What makes a document mean something else than whoever reads it sees: anchors, aliases, tags, merge keys, keys given twice,
 * and keys that bend objects. Beyond that what is too deep, or a list that is too long.
 */
export function oddityOf(
  document: Document.Parsed,
  most: { readonly depth: number; readonly list?: number },
): YamlOddity | undefined {
  const { depth, list = Infinity } = most;
  let found: YamlOddity | undefined;
  const report = (reason: string, node: unknown) => {
    found = { reason, offset: isNode(node) ? node.range?.[0] : undefined };
    return visit.BREAK;
  };
  visit(document, (_key, node, path) => {
    if (path.length > depth * 2) return report(`nested deeper than ${depth} levels`, node);
    if (isSeq(node) && node.items.length > list) return report(`a list has more than ${list} entries`, node);
    if (isMap(node)) {
      const twice = repeatedKey(node);
      if (twice !== undefined) return report(`key "${twice.text}" is given twice`, twice.key);
    }
    if (isAlias(node)) return report('an alias (*name) is not allowed: write it out', node);
    if (isPair(node)) {
      const key = isScalar(node.key) ? String(node.key.value) : '';
      if (key === '<<') return report('a merge key (<<) is not allowed: write it out', node.key);
      return key === '__proto__' ? report('unknown key "__proto__"', node.key) : undefined;
    }
    if (isNode(node) && node.tag !== undefined) return report(`a tag (${node.tag}) is not allowed`, node);
    if ((isScalar(node) || isMap(node)) && node.anchor !== undefined)
      return report('an anchor (&name) is not allowed', node);
    return undefined;
  });
  return found;
}

function repeatedKey(map: YAMLMap): { readonly text: string; readonly key: unknown } | undefined {
  const seen = new Set<string>();
  for (const { key } of map.items) {
    const text = isScalar(key) ? String(key.value) : '';
    if (seen.has(text)) return { text, key };
    seen.add(text);
  }
  return undefined;
}

/** The offset of what is at a path, or of one of the keys there; where it is absent, of the nearest thing above it. */
export function offsetAt(
  document: Document.Parsed,
  path: readonly (string | number)[],
  key?: string,
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
