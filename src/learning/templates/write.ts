import { parameterName } from './names.ts';
import type { Node } from './trie.ts';

/** A template under construction: its text so far, the names it uses, and the literal just before. */
interface Prefix {
  readonly text: string;
  readonly used: readonly string[];
  readonly previous: string | undefined;
}

/** The templates of a settled trie, sorted; beyond `most` the smallest subtree that is enough becomes `{rest=**}`. */
export function writeTemplates(root: Node, most: number): { templates: string[]; approximate: boolean } {
  const sizes = new Map<Node, number>();
  const total = measure(root, sizes);
  const collapsed = total > most ? deepestOfSize(root, total - most + 1, sizes) : undefined;
  const templates: string[] = [];
  let approximate = false;
  const write = (node: Node, prefix: Prefix): void => {
    if (node.ended > 0) templates.push(prefix.text);
    const below = node.parameter !== undefined || (node.literals?.size ?? 0) > 0;
    if (node.rest > 0 || (node === collapsed && below)) {
      templates.push(`${prefix.text}/{${unusedRest(prefix.used)}=**}`);
      approximate = true;
    }
    if (node === collapsed) return;
    for (const [name, child] of node.literals ?? []) {
      write(child, { text: `${prefix.text}/${name}`, used: prefix.used, previous: name });
    }
    if (node.parameter === undefined) return;
    const name = parameterName(node.parameter.shapes, prefix.previous, prefix.used);
    write(node.parameter, {
      text: `${prefix.text}/{${name}}`,
      used: [...prefix.used, name],
      previous: undefined,
    });
  };
  write(root, { text: '', used: [], previous: undefined });
  return { templates: templates.sort(), approximate };
}

function unusedRest(used: readonly string[]): string {
  return used.includes('rest') ? 'rest2' : 'rest';
}

/** Counts the templates at and below every node. */
function measure(node: Node, sizes: Map<Node, number>): number {
  let n = (node.ended > 0 ? 1 : 0) + (node.rest > 0 ? 1 : 0);
  if (node.parameter !== undefined) n += measure(node.parameter, sizes);
  for (const child of node.literals?.values() ?? []) n += measure(child, sizes);
  sizes.set(node, n);
  return n;
}

/** Descends to the smallest node that still holds at least `size` templates; of equals, the first by name. */
function deepestOfSize(root: Node, size: number, sizes: ReadonlyMap<Node, number>): Node {
  let node = root;
  for (;;) {
    const children = [...(node.literals ?? [])]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, child]) => child);
    if (node.parameter !== undefined) children.push(node.parameter);
    // A child's own end stays a template beside the `{rest=**}` that replaces what is below it.
    const fitting = children.filter((c) => (sizes.get(c) ?? 0) - (c.ended > 0 ? 1 : 0) >= size);
    if (fitting.length === 0) return node;
    node = fitting.reduce((a, b) => ((sizes.get(b) ?? 0) < (sizes.get(a) ?? 0) ? b : a));
  }
}
