import { addressText, type Caller, type PathTemplate, type Target } from '../../policy/index.ts';
import type { Losses } from '../losses.ts';
import type { ReadRule } from '../rule-targets.ts';

/** security.istio.io/v1 Source: its fields are all to hold, the values of one field are alternatives. */
export interface Source {
  readonly principals?: readonly string[];
  readonly notPrincipals?: readonly string[];
  readonly ipBlocks?: readonly string[];
}

export interface Operation {
  readonly ports?: readonly string[];
  readonly methods?: readonly string[];
  readonly paths?: readonly string[];
}

export interface IstioRule {
  readonly from: readonly { readonly source: Source }[];
  /** Absent means anything: connections and requests. */
  readonly to?: readonly { readonly operation: Operation }[];
}

/** `*` is "present" in Istio: as a principal it is every caller that showed a certificate. */
const ANY_PRESENT = '*';
const UNAUTHENTICATED: Source = { notPrincipals: [ANY_PRESENT] };

/**
 * The rule for Istio: one about connections and one about requests, because a TCP chain drops a whole ALLOW rule
 * of which any operation is about HTTP. None where Istio can see none of its callers or requests.
 */
export function istioRules(rule: ReadRule, denying: boolean, losses: Losses): IstioRule[] {
  if (rule.when !== undefined) {
    if (!denying) {
      losses.add('narrower', 'condition', rule, 'Istio has no CEL conditions: the rule is left out.');
      return [];
    }
    losses.add(
      'narrower',
      'condition-in-deny',
      rule,
      'Istio has no CEL conditions: it is left off and more is denied.',
    );
  }
  const from = sourcesOf(rule, denying, losses);
  if (from.length === 0) return [];
  return (['tcp', 'requests'] as const).flatMap((kind): IstioRule[] => {
    const targets = rule.targets.filter((target) => (target.kind === 'tcp') === (kind === 'tcp'));
    const operations = targets.flatMap((target) => operationsOf(target, rule, denying, losses));
    if (operations.length === 0) return [];
    // An operation without fields is refused; it would be anything, which is what no `to` means.
    const any = operations.some((operation) => Object.keys(operation).length === 0);
    return [any ? { from } : { from, to: operations.map((operation) => ({ operation })) }];
  });
}

/** Sources are alternatives: one for all identities, one for each kind of the others. */
function sourcesOf(rule: ReadRule, denying: boolean, losses: Losses): { source: Source }[] {
  const principals = rule.callers.flatMap(principalsOf);
  const blocks = rule.callers.flatMap((caller) =>
    caller.kind === 'cidr' ? [`${addressText(caller.cidr)}/${caller.cidr.bits}`] : [],
  );
  const sources: Source[] = [];
  if (principals.length > 0) sources.push({ principals });
  // The peer's own address: remoteIpBlocks would believe what a forwarded header claims.
  if (blocks.length > 0) sources.push({ ...UNAUTHENTICATED, ipBlocks: blocks });
  if (unseen(rule, denying, losses)) sources.push(UNAUTHENTICATED);
  return sources.map((source) => ({ source }));
}

/**
 * Principals without `spiffe://`. A last `*` makes a prefix. Neither `namespaces` nor `serviceAccounts`: they
 * match any trust domain.
 */
function principalsOf(caller: Caller): string[] {
  switch (caller.kind) {
    case 'exact':
      return [caller.id.slice('spiffe://'.length)];
    case 'prefix':
      return [`${caller.prefix.slice('spiffe://'.length)}*`];
    case 'domain':
      return [caller.name, `${caller.name}/*`];
    default:
      return [];
  }
}

/** Tells of callers that Istio cannot see. Whether a deny rule must deny all unauthenticated ones for them. */
function unseen({ callers, ...rule }: ReadRule, denying: boolean, losses: Losses): boolean {
  let all = false;
  for (const caller of callers) {
    if (caller.kind === 'entity' && denying) {
      const what = `Istio does not know "${caller.name}": every caller without an identity is denied instead.`;
      losses.add('narrower', 'entity-as-unauthenticated', rule, what);
      all = true;
    } else if (caller.kind === 'entity') {
      losses.add(
        'narrower',
        'entity',
        rule,
        `Istio does not know "${caller.name}": it is left out; write a CIDR.`,
      );
    } else if (caller.kind === 'person' && denying) {
      losses.add(
        'wider',
        'person-in-deny',
        rule,
        'Users and groups are not rendered for Istio: they are not denied.',
      );
    } else if (caller.kind === 'person') {
      losses.add(
        'narrower',
        'person',
        rule,
        'Users and groups are not rendered for Istio: they are not allowed.',
      );
    }
  }
  return all;
}

function operationsOf(target: Target, rule: ReadRule, denying: boolean, losses: Losses): Operation[] {
  const ports = target.ports === undefined ? {} : { ports: target.ports.map(String) };
  if (target.kind === 'tcp') return [ports];
  const { methods, paths } = target;
  const operation: Operation = {
    ...ports,
    // Without a field of HTTP the rule would admit any connection: a method that is present is any request.
    ...(methods === undefined ? (paths === undefined ? { methods: [ANY_PRESENT] } : {}) : { methods }),
  };
  if (paths === undefined) return [operation];
  const rendered = denying ? deniedPaths(paths, rule, losses) : allowedPaths(paths, rule, losses);
  if (rendered === 'any') return [{ ...operation, methods: methods ?? [ANY_PRESENT] }];
  return rendered.length === 0 ? [] : [{ ...operation, paths: rendered }];
}

/** Istio refuses other characters in literal segments beside templates. */
const TEMPLATE_LITERAL = /^[A-Za-z0-9._~%!$&'()+,;:@-]+$/;
/** Longest template that Envoy takes. */
const MAX_TEMPLATE = 256;

/** Paths that match nothing but what the templates match; what cannot be said is left out. */
function allowedPaths(paths: readonly PathTemplate[], rule: ReadRule, losses: Losses): string[] {
  return paths.flatMap((path) => {
    const { segments, rest, text } = path;
    if (isLiteral(path)) {
      const literal = literalText(segments);
      if (rest) return [`${literal}/*`];
      if (!literal.endsWith('*')) return [literal];
      losses.add(
        'narrower',
        'path-star',
        rule,
        `Istio reads the last * of ${text} as a wildcard: the path is left out.`,
      );
      return [];
    }
    const template = `${segments.map((segment) => `/${segment ?? '{*}'}`).join('')}${rest ? '/{**}' : ''}`;
    const last = segments.length - 1;
    const said = segments.every(
      (segment, i) =>
        segment === undefined || (segment === '' && i === last) || TEMPLATE_LITERAL.test(segment),
    );
    if (!said || template.length > MAX_TEMPLATE) {
      losses.add('narrower', 'template', rule, `Istio cannot carry the template ${text}: it is left out.`);
      return [];
    }
    const what =
      'A template of Istio matches no segment with "[" or "]" (in older proxies "=" and "*" as well): those are denied.';
    losses.add('narrower', 'template-characters', rule, what);
    return [template];
  });
}

/** Paths that match at least what the templates match; `any` for all. */
function deniedPaths(paths: readonly PathTemplate[], rule: ReadRule, losses: Losses): string[] | 'any' {
  const rendered = paths.map((path) => {
    const { segments, rest, text } = path;
    if (isLiteral(path)) {
      const literal = literalText(segments);
      if (!rest && literal.endsWith('*')) {
        losses.add(
          'narrower',
          'path-star',
          rule,
          `Istio reads the last * of ${text} as a wildcard: more is denied.`,
        );
      }
      return rest ? `${literal}/*` : literal;
    }
    const [said, what] = aroundTemplate(path);
    losses.add('narrower', 'template-in-deny', rule, `In place of ${text} Istio denies everything ${what}.`);
    return said;
  });
  return rendered.includes('/*') ? 'any' : rendered;
}

/**
 * A template could miss a segment whose characters it does not know, which what denies must not: the literal end
 * of the template instead, or where it has none its literal start.
 */
function aroundTemplate({ segments, rest }: PathTemplate): readonly [said: string, what: string] {
  const end = rest ? '' : literalText(segments.slice(segments.lastIndexOf(undefined) + 1));
  // With a * at both ends it would be read as a prefix.
  if (end.length > 1 && !end.endsWith('*')) return [`*${end}`, `that ends in ${end}`];
  const start = literalText(segments.slice(0, segments.indexOf(undefined)));
  return [`${start}/*`, `below ${start}/`];
}

function isLiteral({ segments }: PathTemplate): boolean {
  return segments.every((segment) => segment !== undefined);
}

function literalText(segments: readonly (string | undefined)[]): string {
  return segments.map((segment) => `/${segment}`).join('');
}
