import type { Target } from '../../policy/index.ts';
import type { Grant } from '../grants.ts';
import type { Losses } from '../losses.ts';
import { targetPattern } from '../path-pattern.ts';
import { ALL_PATHS, intersectPaths, type PathSet, pathSetOf, subtractPaths } from '../path-sets.ts';

/**
 * Largest RE2 program that Envoy takes where its bootstrap says nothing, as Cilium's does. A larger one makes it
 * refuse all policies of the endpoint (cilium/cilium#41314), so such a pattern is never written.
 */
export const MAX_PATTERN_SIZE = 100;

/** Methods of RFC 9110 and RFC 5789, for "any but some": RE2 has no "not". */
const METHODS = ['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'TRACE'];

/** Requests by method (undefined: any) and path; `star` is `OPTIONS *`, which has no path. */
interface Requests {
  readonly methods: readonly string[] | undefined;
  readonly paths: PathSet | 'star';
}

/**
 * The `http` rules that let through what the grants allow without what the deny rules deny. `grants` are of one
 * caller; `denied` are deny rules that hold for that caller.
 */
export function httpRules(
  grants: readonly Grant[],
  denied: readonly Grant[],
  losses: Losses,
): Record<string, string>[] {
  const rules = new Map<string, Record<string, string>>();
  for (const grant of grants) {
    for (const requests of requestsOf(grant.target)) {
      for (const left of withoutDenied(requests, grant, denied, losses)) {
        const rule = ruleOf(left, grant, losses);
        if (rule !== undefined) rules.set(JSON.stringify(rule), rule);
      }
    }
  }
  return [...rules.values()];
}

function requestsOf(target: Target): Requests[] {
  if (target.kind === 'tcp') return anyPath(undefined);
  const { methods, paths } = target;
  if (paths === undefined) return anyPath(methods);
  return paths.map((path) => ({ methods, paths: pathSetOf(path) }));
}

function anyPath(methods: readonly string[] | undefined): Requests[] {
  const star = methods === undefined || methods.includes('OPTIONS');
  return [{ methods, paths: ALL_PATHS }, ...(star ? [{ methods: ['OPTIONS'], paths: 'star' as const }] : [])];
}

function withoutDenied(
  requests: Requests,
  grant: Grant,
  denied: readonly Grant[],
  losses: Losses,
): readonly Requests[] {
  let left: readonly Requests[] = [requests];
  for (const deny of denied) {
    for (const taken of requestsOf(deny.target)) {
      const next = left.map((one) => subtract(one, taken, grant, losses));
      if (next.every((one) => one !== undefined)) left = next.flat();
      else {
        const what = `A CiliumNetworkPolicy cannot deny requests, and what rule ${grant.rule} allows cannot be written without them: they are let through.`;
        losses.add('wider', 'deny-on-l7', deny, what);
      }
    }
  }
  return left;
}

/** The requests without those taken, or undefined where no pattern can say that. */
function subtract(requests: Requests, taken: Requests, grant: Grant, losses: Losses): Requests[] | undefined {
  const { methods, paths } = requests;
  if (paths === 'star' || taken.paths === 'star') {
    const same = paths === taken.paths && (taken.methods === undefined || taken.methods.includes('OPTIONS'));
    return same ? [] : [requests];
  }
  const both = intersectPaths(paths, taken.paths);
  const meet =
    methods === undefined || taken.methods === undefined || methods.some((m) => taken.methods?.includes(m));
  if (both === undefined || !meet) return [requests];
  const elsewhere = subtractPaths(paths, taken.paths);
  if (elsewhere === undefined || elsewhere.some((piece) => targetPattern(piece, true) === undefined))
    return undefined;
  const kept =
    taken.methods === undefined ? [] : (methods ?? METHODS).filter((m) => !taken.methods?.includes(m));
  if (methods === undefined && taken.methods !== undefined) {
    const what = 'Methods beside those of RFC 9110 and PATCH are denied: "any but some" has no pattern.';
    losses.add('narrower', 'other-methods', grant, what);
  }
  return [
    ...elsewhere.map((piece) => ({ methods, paths: piece })),
    ...(kept.length > 0 ? [{ methods: kept, paths: both }] : []),
  ];
}

function ruleOf(
  { methods, paths }: Requests,
  grant: Grant,
  losses: Losses,
): Record<string, string> | undefined {
  const method = methods === undefined ? {} : { method: methods.join('|') };
  // The asterisk form of OPTIONS (RFC 9110, section 7.1).
  if (paths === 'star') return { ...method, path: '\\*' };
  const full = targetPattern(paths, false);
  if (full !== undefined && full.size <= MAX_PATTERN_SIZE) return { ...method, path: full.text };
  const plain = targetPattern(paths, true);
  if (plain === undefined || plain.size > MAX_PATTERN_SIZE) {
    const what = `A path of the rule is longer than Cilium's proxy takes by default (an RE2 program of ${MAX_PATTERN_SIZE}): it is left out.`;
    losses.add('narrower', 'pattern-too-large', grant, what);
    return undefined;
  }
  const what = `Only letters, digits and -._~:@ are let through as parameters of a long path: with more, its pattern would be larger than Cilium's proxy takes by default (an RE2 program of ${MAX_PATTERN_SIZE}).`;
  losses.add('narrower', 'plain-parameters', grant, what);
  return { ...method, path: plain.text };
}
