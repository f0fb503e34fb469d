import { isParameter, isRest } from './matcher.ts';
import { type Shape, shapeOf } from './shapes.ts';

/** Calls by caller (an index). Most nodes of a trie have one caller; only the others pay for a map. */
export class Callers {
  #first = -1;
  #count = 0;
  #others: Map<number, number> | undefined;

  add(caller: number, n: number): void {
    if (this.#first < 0) this.#first = caller;
    if (caller === this.#first) this.#count += n;
    else {
      this.#others ??= new Map();
      this.#others.set(caller, (this.#others.get(caller) ?? 0) + n);
    }
  }

  *entries(): Iterable<readonly [caller: number, calls: number]> {
    if (this.#first >= 0) yield [this.#first, this.#count];
    if (this.#others !== undefined) yield* this.#others;
  }

  has(caller: number): boolean {
    return caller === this.#first || this.#others?.has(caller) === true;
  }

  addAll(from: Callers): void {
    for (const [caller, n] of from.entries()) this.add(caller, n);
  }
}

/** One position in the observed paths: what stood there, how often, for whom, and what followed. */
export class Node {
  /** Calls that passed through or ended here, and those that ended here. */
  calls = 0;
  ended = 0;
  readonly callers = new Callers();
  /** Whole segments by their text. */
  literals: Map<string, Node> | undefined;
  /** What stands behind every segment that is a value at this position. */
  parameter: Node | undefined;
  /** Calls with `{rest=**}` from here on, because the path was longer than is told apart. */
  rest = 0;
  /** Of a parameter: calls by the shape of its values (`word` for values without one). */
  shapes: Map<Shape | 'word', number> | undefined;
  /** Of a literal: it has continuations or callers of its own, and stays a literal. */
  itsOwn = false;
  /** Of a parameter: its one value, or null once there are several. */
  value: string | null | undefined;
}

/** The literal child of `node` named `segment`, made where it is missing. */
export function literalChild(node: Node, segment: string): Node {
  node.literals ??= new Map();
  let child = node.literals.get(segment);
  if (child === undefined) node.literals.set(segment, (child = new Node()));
  return child;
}

function parameterChild(node: Node, segment: string, shape: Shape, n: number): Node {
  const child = (node.parameter ??= new Node());
  child.shapes ??= new Map();
  child.shapes.set(shape, (child.shapes.get(shape) ?? 0) + n);
  if (child.value === undefined) child.value = segment;
  else if (child.value !== segment) child.value = null;
  return child;
}

/**
 * Adds `n` calls of a path, given as its segments. Segments that have a shape go into the parameter at once, and so
 * do parameters of a path that was stored collapsed; what follows `most` segments is not told apart.
 */
export function insert(
  root: Node,
  segments: readonly string[],
  caller: number,
  n: number,
  most: number,
): void {
  let node = root;
  visit(node, caller, n);
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i] as string; // i < length
    if (i === most || isRest(segment)) {
      node.rest += n;
      return;
    }
    const shape = isParameter(segment) ? 'token' : shapeOf(segment);
    node = shape === undefined ? literalChild(node, segment) : parameterChild(node, segment, shape, n);
    visit(node, caller, n);
  }
  node.ended += n;
}

function visit(node: Node, caller: number, n: number): void {
  node.calls += n;
  node.callers.add(caller, n);
}

/** Adds everything of `from` to `into`; `from` is used up. */
export function merge(into: Node, from: Node): void {
  into.calls += from.calls;
  into.ended += from.ended;
  into.rest += from.rest;
  into.itsOwn ||= from.itsOwn;
  into.callers.addAll(from.callers);
  if (from.shapes !== undefined) {
    into.shapes ??= new Map();
    for (const [shape, n] of from.shapes) into.shapes.set(shape, (into.shapes.get(shape) ?? 0) + n);
  }
  if (from.value !== undefined) {
    into.value = into.value === undefined || into.value === from.value ? from.value : null;
  }
  if (from.parameter !== undefined) {
    if (into.parameter === undefined) into.parameter = from.parameter;
    else merge(into.parameter, from.parameter);
  }
  if (from.literals === undefined) return;
  if (into.literals === undefined) {
    into.literals = from.literals;
    return;
  }
  for (const [segment, child] of from.literals) {
    const known = into.literals.get(segment);
    if (known === undefined) into.literals.set(segment, child);
    else merge(known, child);
  }
}
