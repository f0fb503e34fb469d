import { ALL_PATHS, type PathSet, partitionPaths, pathSetOf, type Piece, unrolled } from '../path-sets.ts';
import { callersMeet, type Grant } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { rawPathPattern } from '../path-pattern.ts';
import type { Callers, Client } from './callers.ts';
import { clientsOf } from './clients.ts';

/** Methods that an HTTPRoute can name (Gateway API, HTTPMethod). */
const METHODS = ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'] as const;
/** Longest value of a path match (Gateway API, HTTPPathMatch). */
const MAX_VALUE = 1024;

/** Requests with the clients that may send them; those of nobody are there to be kept from wider routes. */
export interface Route {
  readonly clients: readonly Client[];
  readonly matches: readonly Readonly<Record<string, unknown>>[];
}

/** What the rules of one port say: allow rules about requests, allow rules about all of it, deny rules about requests. */
export interface PortRules {
  readonly requests: readonly Grant[];
  readonly whole: readonly Grant[];
  readonly denied: readonly Grant[];
}

/**
 * The routes of one port. Of several routes that match a request as well, Linkerd takes whichever is first, and a
 * route that names the method before one that does not. So the paths are cut into sets without common paths, and
 * every set names its methods or none.
 */
export function routesOf(rules: PortRules, callers: Callers, losses: Losses): Route[] {
  const sets = [...rules.requests, ...rules.whole, ...rules.denied].flatMap((tag) =>
    pathsOf(tag).map((paths) => ({ paths, tag })),
  );
  const pieces = partitionPaths(sets);
  if (pieces === undefined) {
    const what =
      'The paths of the port overlap in too many ways to be cut into routes: all requests are denied.';
    for (const grant of rules.requests) losses.add('narrower', 'too-many-routes', grant, what);
    return [];
  }
  const allowing = new Set([...rules.requests, ...rules.whole]);
  const routes = new Map<
    string,
    { clients: readonly Client[]; matches: Readonly<Record<string, unknown>>[] }
  >();
  for (const { paths, tags } of pieces.flatMap(withRootApart)) {
    const path = pathMatch(paths);
    const allow = tags.filter((tag) => allowing.has(tag));
    if (path === undefined) {
      const what =
        'A path of the rule would need a longer pattern than an HTTPRoute takes: requests for it are denied.';
      for (const grant of allow) losses.add('narrower', 'pattern-too-large', grant, what);
      continue;
    }
    const deny = tags.filter((tag) => !allowing.has(tag));
    const rows = byMethod(paths, tags, losses).map(([method, of]) => ({
      method,
      clients: clientsOf(allow.filter(of), deny.filter(of), callers, losses),
    }));
    const anyMethod = rows.some(({ method, clients }) => method === undefined && clients.length > 0);
    for (const { method, clients } of rows) {
      // Nobody's requests need a route only where one for any method would take them.
      if (clients.length === 0 && !(anyMethod && method !== undefined)) continue;
      const key = JSON.stringify(clients);
      const route = routes.get(key) ?? { clients, matches: [] };
      route.matches.push(method === undefined ? { path } : { path, method });
      routes.set(key, route);
    }
  }
  tellMethods(rules, losses);
  return [...routes.values()];
}

/** "/" apart from the other paths: it alone is no longer than the prefix "/" that catches the rest. */
function withRootApart(piece: Piece<Grant>): Piece<Grant>[] {
  if (piece.paths.segments.length > 0) return [piece];
  return unrolled(piece.paths).map((paths) => ({ paths, tags: piece.tags }));
}

/** The methods that some tag names, and `undefined` for all others; with the tags that are about each. */
function byMethod(
  paths: PathSet,
  tags: readonly Grant[],
  losses: Losses,
): [string | undefined, (tag: Grant) => boolean][] {
  const about = (method: string | undefined) => (tag: Grant) => {
    const methods = methodsOf(tag);
    return methods === undefined || (method !== undefined && methods.includes(method));
  };
  // "/" is as long as the prefix "/" that catches the rest: only a method makes it the better match.
  const isRoot =
    paths.segments.length === 1 && !paths.rest && JSON.stringify(paths.segments) === '[{"literal":""}]';
  for (const tag of tags) {
    if (!isRoot || methodsOf(tag) !== undefined) continue;
    const what =
      'Routes for "/" have to name their method: methods beside those of the Gateway API are denied there.';
    losses.add('narrower', 'other-methods', tag, what);
  }
  const named = METHODS.filter((m) => isRoot || tags.some((tag) => methodsOf(tag)?.includes(m) === true));
  const list: (string | undefined)[] = isRoot ? [...named] : [...named, undefined];
  return list.map((method) => [method, about(method)]);
}

function methodsOf({ target }: Grant): readonly string[] | undefined {
  return target.kind === 'tcp' ? undefined : target.methods;
}

function pathsOf({ target }: Grant): readonly PathSet[] {
  return target.kind === 'tcp' || target.paths === undefined ? [ALL_PATHS] : target.paths.map(pathSetOf);
}

function pathMatch(paths: PathSet): Record<string, string> | undefined {
  const texts = paths.segments.flatMap((segment) => ('literal' in segment ? segment.literal : []));
  if (!paths.rest && texts.length === paths.segments.length) {
    const value = `/${texts.join('/')}`;
    return value.length <= MAX_VALUE ? { type: 'Exact', value } : undefined;
  }
  const value = rawPathPattern(paths);
  return value === undefined || value.length > MAX_VALUE ? undefined : { type: 'RegularExpression', value };
}

function tellMethods({ requests, whole, denied }: PortRules, losses: Losses): void {
  const unknown = (grant: Grant) =>
    methodsOf(grant)?.filter((m) => !(METHODS as readonly string[]).includes(m)) ?? [];
  for (const grant of requests) {
    const methods = unknown(grant);
    if (methods.length === 0) continue;
    losses.add(
      'narrower',
      'method',
      grant,
      `An HTTPRoute cannot name the method ${methods.join(', ')}: it is denied.`,
    );
  }
  for (const grant of denied) {
    const methods = unknown(grant);
    const met = [...requests, ...whole].some(
      (one) => methodsOf(one) === undefined && callersMeet(one.caller, grant.caller),
    );
    if (methods.length === 0 || !met) continue;
    const what = `An HTTPRoute cannot name the method ${methods.join(', ')}: it is let through where another rule allows every method.`;
    losses.add('wider', 'method', grant, what);
  }
}
