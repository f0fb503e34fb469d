import { HASH_START, hashOf, hashStep } from './hash.ts';
import { IntTable } from './int-table.ts';
import type { PathTemplate } from './template.ts';

/** No node, no target. */
const NONE = -1;
const ROOT = 0;

/**
 * All path templates of one side of a workload as one tree of segments in flat arrays. A path is looked up
 * segment by segment without being cut; literal and parameter are both followed, so the cost is bounded by the
 * path and by how many templates match it, not by how many there are.
 */
export class PathTree {
  /** By node: the node below a parameter, the target that ends here, the target of a closing `{name=**}`. */
  readonly #parameter: number[] = [NONE];
  readonly #here: number[] = [NONE];
  readonly #rest: number[] = [NONE];
  /** (node, hash of a literal) -> edge + 1. By edge: its text, the node below, another edge of the same hash. */
  readonly #edges = new IntTable();
  readonly #text: string[] = [];
  readonly #below: number[] = [];
  readonly #sibling: number[] = [];

  /** The number that paths matching this template are found under; `fresh` gives one for a new template. */
  target({ segments, rest }: PathTemplate, fresh: () => number): number {
    let node = ROOT;
    for (const segment of segments)
      node = segment === undefined ? this.#parameterOf(node) : this.#literalOf(node, segment);
    const targets = rest ? this.#rest : this.#here;
    if (targets[node] === NONE) targets[node] = fresh();
    return targets[node] as number;
  }

  #node(): number {
    this.#parameter.push(NONE);
    this.#here.push(NONE);
    return this.#rest.push(NONE) - 1;
  }

  #parameterOf(node: number): number {
    if (this.#parameter[node] === NONE) this.#parameter[node] = this.#node();
    return this.#parameter[node] as number;
  }

  #literalOf(node: number, literal: string): number {
    const hash = hashOf(literal);
    const first = this.#edges.get(node, hash, 0) - 1;
    for (let edge = first; edge !== NONE; edge = this.#sibling[edge] as number) {
      if (this.#text[edge] === literal) return this.#below[edge] as number;
    }
    const below = this.#node();
    this.#text.push(literal);
    this.#below.push(below);
    this.#edges.set(node, hash, 0, this.#sibling.push(first));
    return below;
  }

  /** Writes the targets that match `path` (which starts with "/") into `found` and gives their number. */
  find(path: string, found: number[]): number {
    return this.#walk(ROOT, path, 1, found, 0);
  }

  #walk(node: number, path: string, start: number, found: number[], count: number): number {
    let total = count;
    const rest = this.#rest[node] as number;
    if (rest !== NONE) found[total++] = rest;
    const { length } = path;
    let hash = HASH_START;
    let end = start;
    for (; end < length; end++) {
      const unit = path.charCodeAt(end);
      if (unit === 0x2f) break;
      hash = hashStep(hash, unit);
    }
    const literal = this.#literalAt(node, hash, path, start, end);
    if (literal !== NONE) total = this.#next(literal, path, end, found, total);
    const parameter = this.#parameter[node] as number;
    if (parameter !== NONE && end > start && !isRestSegment(path, start, end)) {
      total = this.#next(parameter, path, end, found, total);
    }
    return total;
  }

  /** Equal hashes are not enough: a caller could look for a segment that has the hash of another. */
  #literalAt(node: number, hash: number, path: string, start: number, end: number): number {
    for (let edge = this.#edges.get(node, hash, 0) - 1; edge !== NONE; edge = this.#sibling[edge] as number) {
      const text = this.#text[edge] as string;
      if (text.length === end - start && path.startsWith(text, start)) return this.#below[edge] as number;
    }
    return NONE;
  }

  #next(node: number, path: string, end: number, found: number[], count: number): number {
    if (end < path.length) return this.#walk(node, path, end + 1, found, count);
    const here = this.#here[node] as number;
    if (here === NONE) return count;
    found[count] = here;
    return count + 1;
  }
}

/** A recorded `{name=**}` is many segments, so a parameter, which is one, does not cover it. */
function isRestSegment(path: string, start: number, end: number): boolean {
  return path.charCodeAt(start) === 0x7b && path.charCodeAt(end - 2) === 0x2a;
}
