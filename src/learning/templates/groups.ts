import { isApiVersion, routeWord } from './lexicon.ts';
import { ENOUGH, FEWEST_NAMES, type Position, weigh } from './position.ts';
import type { Node } from './trie.ts';

/** A value of a parameter, and those of its literal continuations that are its own and stay with it. */
export interface Value {
  readonly name: string;
  readonly own: readonly string[];
}

/** Continuations that every route may have: an end, a trailing slash, a value. */
const END = '$';
const SLASH = '';
const VALUE = '{}';

interface Candidate {
  readonly name: string;
  readonly node: Node;
  readonly noun: boolean;
  /** What it leads on to; names that are values themselves count as {@link VALUE}. */
  readonly continuations: ReadonlySet<string>;
}

/**
 * The sets of literals below `node` that are values of its parameter. A literal stays one when it names an
 * operation, when it has continuations or callers of its own, or when too little speaks for a parameter.
 * `elsewhere` are names that were found to be values at other positions.
 */
export function valuesOf(node: Node, position: Position, elsewhere: ReadonlySet<string>): Value[][] {
  if (node.literals === undefined || node.literals.size < 2) return [];
  const siblings = [...node.literals].filter(([name]) => name !== '').sort(([a], [b]) => (a < b ? -1 : 1));
  const routeShare = shareOfRoutes(siblings.map(([name]) => name));
  const open = siblings.filter(
    ([name, child]) => !child.itsOwn && routeWord(name) !== 'action' && !isApiVersion(name),
  );
  if (open.length < 2) return [];

  const continuationValues = namesThatAreValues(open, position);
  const candidates = open.map(
    ([name, child]): Candidate => ({
      name,
      node: child,
      noun: routeWord(name) !== undefined,
      continuations: continuationsOf(child, continuationValues),
    }),
  );
  const found: Value[][] = [];
  const taken = new Set<Candidate>();
  for (const members of connected(candidates.filter((c) => !c.noun))) {
    const shared = holders(members, node.parameter, continuationValues);
    const nouns = candidates.filter((c) => c.noun && !taken.has(c) && isValueInSpiteOfItsName(c, shared));
    const values = withoutOwn(members.concat(nouns), shared, node.parameter);
    const known = found.length > 0 || node.parameter?.shapes?.has('word') === true;
    if (values.length < (known ? 2 : FEWEST_NAMES)) continue;
    const names = values.map((v) => v.name);
    const weight = weigh(
      {
        names,
        seenOnce: values.filter((v) => node.literals?.get(v.name)?.calls === 1).length,
        routeShare,
        sharedContinuations: countShared(shared, names.length),
        repeated: repeatedShare(names, [continuationValues, position.above, elsewhere]),
        known,
      },
      position,
    );
    if (weight < ENOUGH) continue;
    found.push(values);
    for (const noun of nouns) taken.add(noun);
  }
  return found;
}

/** The candidates that may be values; those with continuations or callers of their own are marked as literals. */
function withoutOwn(
  candidates: readonly Candidate[],
  shared: ReadonlyMap<string, number>,
  parameter: Node | undefined,
): Value[] {
  const own = withCallersOfTheirOwn(candidates, parameter);
  const values: Value[] = [];
  for (const candidate of candidates) {
    const value = own.has(candidate) ? undefined : valueOf(candidate, shared);
    if (value === undefined) candidate.node.itsOwn = true;
    else values.push(value);
  }
  return values;
}

/** So many operations (`search`, `me`, `new`) stand beside the values of most collections and say nothing. */
const USUAL_ACTIONS = 3;

function shareOfRoutes(names: readonly string[]): number {
  let nouns = 0;
  let actions = 0;
  for (const name of names) {
    const word = routeWord(name);
    if (word === 'noun') nouns++;
    else if (word === 'action') actions++;
  }
  return (nouns + Math.max(0, actions - USUAL_ACTIONS)) / names.length;
}

function isLiteralContinuation(continuation: string): boolean {
  return continuation !== END && continuation !== SLASH && continuation !== VALUE;
}

function continuationsOf(node: Node, values: ReadonlySet<string>): Set<string> {
  const result = new Set<string>();
  if (node.ended > 0) result.add(END);
  if (node.parameter !== undefined || node.rest > 0) result.add(VALUE);
  for (const name of node.literals?.keys() ?? []) result.add(values.has(name) ? VALUE : name);
  return result;
}

/** The names that follow the candidates, where these are values in their turn: `/from/{a}/{b}`. */
function namesThatAreValues(
  candidates: readonly (readonly [string, Node])[],
  position: Position,
): Set<string> {
  const calls = new Map<string, number>();
  for (const [, child] of candidates) {
    for (const [name, next] of child.literals ?? []) {
      if (name === '') continue;
      calls.set(name, (calls.get(name) ?? 0) + next.calls);
    }
  }
  const names = [...calls.keys()].filter((name) => routeWord(name) === undefined && !isApiVersion(name));
  if (names.length < FEWEST_NAMES) return new Set();
  const before = new Set(candidates.map(([name]) => name));
  const weight = weigh(
    {
      names,
      seenOnce: names.filter((name) => calls.get(name) === 1).length,
      routeShare: shareOfRoutes([...calls.keys()]),
      sharedContinuations: 0,
      repeated: repeatedShare(names, [before]),
      known: false,
    },
    { previous: undefined, afterParameter: true, capitals: position.capitals, above: undefined },
  );
  return weight >= ENOUGH ? new Set(names) : new Set();
}

/** Share of `names` that stand in any of the sets too. */
function repeatedShare(names: readonly string[], sets: readonly (ReadonlySet<string> | undefined)[]): number {
  let n = 0;
  for (const name of names) if (sets.some((set) => set?.has(name) === true)) n++;
  return n / names.length;
}

/** Candidates in sets that are connected by a continuation in common, the largest first. */
function connected(candidates: readonly Candidate[]): Candidate[][] {
  const leader = new Map<Candidate, Candidate>();
  const find = (candidate: Candidate): Candidate => {
    let at = candidate;
    for (let up = leader.get(at); up !== undefined; up = leader.get(at)) at = up;
    if (at !== candidate) leader.set(candidate, at);
    return at;
  };
  const first = new Map<string, Candidate>();
  for (const candidate of candidates) {
    for (const continuation of candidate.continuations) {
      const other = first.get(continuation);
      if (other === undefined) first.set(continuation, candidate);
      else {
        const [a, b] = [find(candidate), find(other)];
        if (a !== b) leader.set(a, b);
      }
    }
  }
  const sets = new Map<Candidate, Candidate[]>();
  for (const candidate of candidates) {
    const top = find(candidate);
    const set = sets.get(top);
    if (set === undefined) sets.set(top, [candidate]);
    else set.push(candidate);
  }
  return [...sets.values()].sort((a, b) => b.length - a.length || compare(a[0]?.name, b[0]?.name));
}

const compare = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0);

/** How many have each literal continuation; the parameter that is there already counts as one. */
function holders(
  members: readonly Candidate[],
  parameter: Node | undefined,
  values: ReadonlySet<string>,
): Map<string, number> {
  const counts = new Map<string, number>();
  const count = (continuations: Iterable<string>): void => {
    for (const c of continuations) if (isLiteralContinuation(c)) counts.set(c, (counts.get(c) ?? 0) + 1);
  };
  for (const member of members) count(member.continuations);
  if (parameter !== undefined) count(continuationsOf(parameter, values));
  return counts;
}

function countShared(shared: ReadonlyMap<string, number>, members: number): number {
  let n = 0;
  for (const count of shared.values()) if (count >= Math.max(2, members / 4)) n++;
  return n;
}

/** A thing's name (`default`, `users`) is a value only where it goes on as at least two values' continuations do. */
function isValueInSpiteOfItsName(candidate: Candidate, shared: ReadonlyMap<string, number>): boolean {
  let n = 0;
  for (const c of candidate.continuations) {
    if (!isLiteralContinuation(c)) continue;
    if ((shared.get(c) ?? 0) < 2) return false;
    n++;
  }
  return n >= 2;
}

/**
 * A literal with continuations of its own stays a literal. Where it also shares a literal continuation with
 * others it is a value there, and only what is its own stays behind.
 */
function valueOf(candidate: Candidate, shared: ReadonlyMap<string, number>): Value | undefined {
  const own: string[] = [];
  let common = 0;
  for (const c of candidate.continuations) {
    if (!isLiteralContinuation(c)) continue;
    if ((shared.get(c) ?? 0) >= 2) common++;
    else own.push(c);
  }
  return own.length > 0 && common === 0 ? undefined : { name: candidate.name, own };
}

/** Below this chance, that a caller's calls all went to one name is no chance. */
const CHANCE = 0.01;

/**
 * Candidates that a caller uses which uses none of the others, where that is no chance: if its m calls drew names as
 * all other callers' calls do (n of N calls each), they would fall on one name with the chance sum (n/N)^m.
 */
function withCallersOfTheirOwn(members: readonly Candidate[], parameter: Node | undefined): Set<Candidate> {
  const only = new Map<number, { member: Candidate; calls: number } | null>();
  let total = 0;
  for (const member of members) {
    total += member.node.calls;
    for (const [caller, calls] of member.node.callers.entries()) {
      only.set(caller, only.has(caller) ? null : { member, calls });
    }
  }
  const result = new Set<Candidate>();
  if (only.size + (parameter === undefined ? 0 : 1) < 2) return result;
  const sums = new Map<number, number>();
  for (const [caller, found] of only) {
    if (found === null || found.calls < 2 || total <= found.calls) continue;
    if (parameter?.callers.has(caller) === true) continue;
    if (chanceOfOneName(members, total, found, sums) < CHANCE) result.add(found.member);
  }
  return result;
}

/** More calls than this add nothing to the certainty that is asked for. */
const MOST_DRAWS = 8;

function chanceOfOneName(
  members: readonly Candidate[],
  total: number,
  found: { readonly member: Candidate; readonly calls: number },
  sums: Map<number, number>,
): number {
  const m = Math.min(found.calls, MOST_DRAWS);
  const rest = total - found.calls;
  if (found.calls * 10 > total) {
    // Few callers can have a tenth of all calls each; for them the sum is taken without the caller's own calls.
    let chance = 0;
    for (const member of members) {
      chance += ((member.node.calls - (member === found.member ? found.calls : 0)) / rest) ** m;
    }
    return chance;
  }
  let sum = sums.get(m);
  if (sum === undefined) {
    sum = 0;
    for (const member of members) sum += (member.node.calls / total) ** m;
    sums.set(m, sum);
  }
  // With its own calls in, the sum is at most (10/9)^8 = 2.3 times too large or small: of no account at 1 in 100.
  return sum;
}
