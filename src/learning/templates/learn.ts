import { isCollapsed } from '../../access/index.ts';
import { valuesOf } from './groups.ts';
import { routeWord } from './lexicon.ts';
import { MAX_SEGMENTS, nameless, segmentsOf, TemplateMatcher } from './matcher.ts';
import type { Position } from './position.ts';
import { isCalendar, shapeOf } from './shapes.ts';
import { insert, literalChild, merge, Node } from './trie.ts';
import { writeTemplates } from './write.ts';

/** A path as it was seen, by whom, and in how many calls. */
export interface PathObservation {
  /** A raw path without its query, or a template that the callee itself reported (`http.route`). */
  readonly path: string;
  /** The caller, as one text. */
  readonly from: string;
  readonly count: number;
}

export interface TemplateOptions {
  /** Every route of the callee, from its OpenAPI document: these win over anything that could be learned. */
  readonly given?: readonly string[];
  /** Most templates that are kept; beyond it the widest part of the tree becomes `{rest=**}`. */
  readonly most?: number;
}

/** What the paths of one workload, method and port were found to be. */
export interface PathTemplates {
  /** Sorted; a literal path is a template without parameters. */
  readonly templates: readonly string[];
  /** Whether paths were collapsed into `{rest=**}`: what is decided by such a template is approximate. */
  readonly approximate: boolean;
  /** The most specific template that matches the path, or the path itself where none does. */
  readonly templateOf: (path: string) => string;
}

/** Default of {@link TemplateOptions.most}: more routes than this one method of one workload hardly has. */
export const MOST_TEMPLATES = 500;
/** From so many calls on, a year or a date that is alone at its position is the API's version; fewer at the start. */
const ENOUGH_CALLS = 20;
const ENOUGH_CALLS_AT_START = 2;

/**
 * Learns path templates from observed paths. The result depends on the set of observations only, not on their
 * order. Templates that were observed themselves are kept as they are, and raw paths that match them join them.
 */
export function learnTemplates(
  observations: Iterable<PathObservation>,
  options: TemplateOptions = {},
): PathTemplates {
  const raw: PathObservation[] = [];
  const kept = new Map<string, Set<string>>();
  for (const seen of observations) {
    if (!(seen.count > 0)) continue;
    if (!seen.path.includes('{') || isCollapsed(seen.path)) raw.push(seen);
    else if (seen.path.startsWith('/')) callersOf(kept, seen.path).add(seen.from);
  }
  const given = new TemplateMatcher(options.given);
  const observed = new TemplateMatcher();
  for (const template of kept.keys()) if (!template.includes('=**}')) observed.add(template);
  const callers = callersByTemplate(kept);

  const found = new Set<string>();
  const result = new TemplateMatcher(options.given);
  const byShape = new Map<string, string>();
  const take = (template: string): void => {
    const shape = nameless(template);
    if (byShape.has(shape)) return;
    byShape.set(shape, template);
    found.add(template);
    result.add(template);
  };
  for (const template of [...kept.keys()].sort())
    take(given.match(template) ?? observed.match(template) ?? template);

  const root = new Node();
  const index = new Map<string, number>();
  for (const seen of raw) {
    const template = given.match(seen.path) ?? joined(observed, callers, seen);
    if (template !== undefined) take(template);
    else if (!seen.path.startsWith('/')) found.add(seen.path);
    else {
      let caller = index.get(seen.from);
      if (caller === undefined) index.set(seen.from, (caller = index.size));
      insert(root, segmentsOf(seen.path), caller, seen.count, MAX_SEGMENTS - 1);
    }
  }
  settleAll(root);
  const learned = writeTemplates(root, options.most ?? MOST_TEMPLATES);
  for (const template of learned.templates) take(template);
  return {
    templates: [...found].sort(),
    approximate: learned.approximate,
    templateOf: (path) => result.match(path) ?? path,
  };
}

function callersOf(map: Map<string, Set<string>>, key: string): Set<string> {
  let set = map.get(key);
  if (set === undefined) map.set(key, (set = new Set()));
  return set;
}

/** Callers of each observed template, whatever its parameters were called. */
function callersByTemplate(kept: ReadonlyMap<string, ReadonlySet<string>>): Map<string, Set<string>> {
  const result = new Map<string, Set<string>>();
  for (const [template, from] of kept) {
    const set = callersOf(result, nameless(template));
    for (const caller of from) set.add(caller);
  }
  return result;
}

/**
 * The observed template that a raw path joins: every value it would give to a parameter has a shape, or is a
 * word that no route uses and comes from a caller that the template has too.
 */
function joined(
  observed: TemplateMatcher,
  callers: ReadonlyMap<string, ReadonlySet<string>>,
  seen: PathObservation,
): string | undefined {
  const template = observed.match(seen.path);
  if (template === undefined) return undefined;
  const segments = segmentsOf(seen.path);
  for (const [i, part] of segmentsOf(template).entries()) {
    const segment = segments[i] ?? '';
    if (part === segment || shapeOf(segment) !== undefined) continue;
    if (routeWord(segment) !== undefined) return undefined;
    if (callers.get(nameless(template))?.has(seen.from) !== true) return undefined;
  }
  return template;
}

/** Settles twice: a name that was found to be a value somewhere is evidence for the positions where few names are. */
function settleAll(root: Node): void {
  const start: Position = { previous: undefined, afterParameter: false, capitals: false, above: undefined };
  const found = new Set<string>();
  settle(root, start, new Set(), found);
  if (found.size > 0) settle(root, start, found, new Set());
}

/** Decides, from the top down, which literals below `node` are values of one parameter, and puts them together. */
function settle(node: Node, position: Position, elsewhere: ReadonlySet<string>, found: Set<string>): void {
  keepVersion(node, position);
  const names = new Set<string>();
  for (const values of valuesOf(node, position, elsewhere)) {
    for (const { name, own } of values) {
      names.add(name);
      found.add(name);
      const child = node.literals?.get(name);
      if (child !== undefined) moveValue(node, name, child, own);
    }
  }
  if (node.parameter !== undefined) {
    const below: Position = {
      previous: undefined,
      afterParameter: true,
      capitals: position.capitals,
      above: names.size > 0 ? names : undefined,
    };
    settle(node.parameter, below, elsewhere, found);
  }
  for (const [name, child] of node.literals ?? []) {
    const below: Position = {
      previous: name,
      afterParameter: false,
      capitals: position.capitals || /(?:^|[^A-Za-z])[A-Z]/.test(name),
      above: undefined,
    };
    settle(child, below, elsewhere, found);
  }
}

/** `/2024-01-01/functions/{name}`: a date through which everything goes, and on to literals, is no value. */
function keepVersion(node: Node, { previous, afterParameter }: Position): void {
  const { parameter } = node;
  if (parameter === undefined || typeof parameter.value !== 'string' || !isCalendar(parameter.value)) return;
  const enough = previous === undefined && !afterParameter ? ENOUGH_CALLS_AT_START : ENOUGH_CALLS;
  if (parameter.calls < enough || parameter.literals === undefined) return;
  node.parameter = undefined;
  merge(
    literalChild(node, parameter.value),
    Object.assign(parameter, { value: undefined, shapes: undefined }),
  );
}

/** Moves the literal `name` into the parameter of `node`, all but the continuations that are its own. */
function moveValue(node: Node, name: string, child: Node, own: readonly string[]): void {
  node.literals?.delete(name);
  const stays = new Node();
  stays.itsOwn = true;
  for (const continuation of own) {
    const next = child.literals?.get(continuation);
    if (next === undefined) continue;
    child.literals?.delete(continuation);
    (stays.literals ??= new Map()).set(continuation, next);
    stays.calls += next.calls;
    stays.callers.addAll(next.callers);
  }
  const parameter = (node.parameter ??= new Node());
  parameter.shapes ??= new Map();
  parameter.shapes.set('word', (parameter.shapes.get('word') ?? 0) + child.calls);
  parameter.value = null;
  merge(parameter, child);
  if (stays.literals !== undefined) (node.literals ??= new Map()).set(name, stays);
}
