import { actionText, grpcPath, type Principal, principalText } from '../access/index.ts';
import { parseAddress } from './address.ts';
import { type Caller, callerContains, parseCaller } from './caller.ts';
import type { PolicySet } from './compile.ts';
import { bindingsOf, parseCondition, TRUE, UNKNOWN } from './condition.ts';
import { decide } from './decide.ts';
import { normalizePath } from './path.ts';
import type { AccessRequest, Verdict } from './request.ts';
import { type Target, targetOf } from './target.ts';
import { isTemplate, matchTemplate, parseTemplate } from './template.ts';
import type { AccessPolicy, From, Rule, To } from './types.ts';
import { isOver } from './until.ts';

/** The fields of a rule in the order in which they are compared: the nearest rule gets furthest. */
export const RULE_FIELDS = [
  'from',
  'port',
  'protocol',
  'service',
  'path',
  'method',
  'when',
  'until',
] as const;
export type RuleField = (typeof RULE_FIELDS)[number];

/** The rule that came nearest to allowing a request, and the first field that did not match. */
export interface NearestRule {
  readonly policy: string;
  readonly rule: string;
  readonly field: RuleField;
  readonly expected: string;
  readonly actual: string;
}

/** A verdict with its reason, as data and as one sentence. */
export interface Explanation {
  readonly verdict: Verdict;
  readonly sentence: string;
  /** For `no-rule`, where the workload has any rule. */
  readonly nearest?: NearestRule;
  /** For `unsafe-path`: what is wrong with the path. */
  readonly reason?: string;
}

/**
 * Decides and says why, at a time as `decide` takes it. It looks at every rule of the workload: for people, not for every
 * request.
 */
export function explain(set: PolicySet, request: AccessRequest, at = Number.POSITIVE_INFINITY): Explanation {
  const verdict = decide(set, request, at);
  const { policy, rule } = verdict;
  switch (verdict.decidedBy) {
    case 'no-policy':
      return { verdict, sentence: `Allowed: no policy protects ${request.to}.` };
    case 'rule':
      return {
        verdict,
        sentence: `Allowed by rule "${rule}" of policy "${policy}"${endText(set, request, verdict)}.`,
      };
    case 'deny': {
      const doubt = verdict.conditionUnknown ? ', whose condition cannot be evaluated on what is known' : '';
      const unseen = request.action.kind === 'tcp' && !isAboutConnections(set, request, policy, rule);
      const why = unseen ? ': it is about requests, and those of a connection cannot be seen' : '';
      return { verdict, sentence: `Denied by deny rule "${rule}" of policy "${policy}"${doubt}${why}.` };
    }
    case 'unsafe-path': {
      const reason = unsafeReason(request);
      return { verdict, reason, sentence: `Denied: its path cannot be matched safely, ${reason}.` };
    }
    case 'no-rule': {
      const nearest = nearestRule(set.policiesOf(request.to), request, at);
      return nearest === undefined
        ? { verdict, sentence: `Denied: ${request.to} is protected and has no rule that allows anything.` }
        : { verdict, nearest, sentence: nearestSentence(nearest, request) };
    }
  }
}

/** Whether a deny rule says something of whole connections, not only of requests. */
function isAboutConnections(set: PolicySet, { to }: AccessRequest, policy?: string, rule?: string): boolean {
  return set
    .policiesOf(to)
    .filter(({ metadata }) => metadata.name === policy)
    .some(({ spec }) =>
      spec.deny.some((deny) => deny.name === rule && deny.to.some((item) => 'tcp' in item)),
    );
}

/** ` until TIME` for a rule that has an end. */
function endText(set: PolicySet, { to }: AccessRequest, { policy, rule }: Verdict): string {
  const { spec } = set.policiesOf(to).find(({ metadata }) => metadata.name === policy) ?? {};
  const { until } = spec?.rules.find(({ name }) => name === rule) ?? {};
  return until === undefined ? '' : ` until ${until}`;
}

function nearestSentence(
  { policy, rule, field, expected, actual }: NearestRule,
  { action }: AccessRequest,
): string {
  const start = `Denied: no rule allows ${actionText(action)}. The nearest is rule "${rule}" of policy "${policy}"`;
  if (field === 'when') return `${start}, but its condition ${expected} ${actual}.`;
  if (field === 'until')
    return actual === ''
      ? `${start}, but it ends, and the time is not known.`
      : `${start}, but it ended ${expected}.`;
  const word = field === 'from' ? 'caller' : field;
  return `${start}, but its ${word} is ${expected}, not ${actual}.`;
}

function unsafeReason({ action }: AccessRequest): string {
  if (action.kind === 'tcp') return '';
  const path = action.kind === 'grpc' ? grpcPath(action.service, action.method) : action.path;
  const method = action.kind === 'grpc' ? 'POST' : action.method;
  const result = isTemplate(path) ? parseTemplate(path) : normalizePath(path, method);
  return result.ok ? '' : result.reason;
}

function nearestRule(
  policies: readonly AccessPolicy[],
  request: AccessRequest,
  at: number,
): NearestRule | undefined {
  let best: NearestRule | undefined;
  let bestScore = -1;
  for (const { metadata, spec } of policies) {
    for (const rule of spec.rules) {
      for (const to of rule.to) {
        const fields = compare(rule, to, request, at);
        // Most fields in order: an earlier field outweighs all later ones.
        const score = fields.reduce((sum, { matched }) => sum * 2 + (matched ? 1 : 0), 0);
        const failed = fields.find(({ matched }) => !matched);
        if (score <= bestScore || failed === undefined) continue;
        bestScore = score;
        const { field, expected, actual } = failed;
        best = { policy: metadata.name, rule: rule.name, field, expected, actual };
      }
    }
  }
  return best;
}

interface Compared {
  readonly field: RuleField;
  readonly matched: boolean;
  readonly expected: string;
  readonly actual: string;
}

/** Every field of one rule and one of its targets against the request, in order; always eight. */
function compare(rule: Rule, to: To, request: AccessRequest, at: number): Compared[] {
  const { from, action } = request;
  const { port } = action;
  const target = targetOf(to);
  const seen = httpOf(request);
  const opaque = target.kind !== 'tcp' && seen === undefined;
  return [
    {
      field: 'from',
      matched: rule.from.some((item) => isFrom(item, from)),
      expected: listed(rule.from.map(fromText)),
      actual: principalText(from),
    },
    {
      field: 'port',
      matched: target.ports?.includes(port) ?? true,
      expected: listed((target.ports ?? []).map(String)),
      actual: port === 0 ? 'an unknown port' : String(port),
    },
    { field: 'protocol', matched: !opaque, expected: target.kind, actual: action.kind },
    ...compareHttp(to, target, seen),
    compareCondition(rule, request),
    {
      field: 'until',
      matched: !isOver(rule, at),
      expected: rule.until ?? '',
      actual: Number.isFinite(at) ? new Date(at).toISOString() : '',
    },
  ];
}

interface Seen {
  readonly method: string;
  readonly path: string;
}

function compareHttp(to: To, target: Target, seen: Seen | undefined): Compared[] {
  if (target.kind === 'tcp' || seen === undefined) {
    const matched = target.kind === 'tcp';
    return (['service', 'path', 'method'] as const).map((field) => ({
      field,
      matched,
      expected: 'any',
      actual: 'none',
    }));
  }
  const { method, path } = seen;
  const onPath = target.paths?.some((template) => matchTemplate(template, path)) ?? true;
  const postMatched = target.methods?.includes(method) ?? true;
  if (!('grpc' in to)) {
    return [
      { field: 'service', matched: true, expected: 'any', actual: 'any' },
      {
        field: 'path',
        matched: onPath,
        expected: listed((target.paths ?? []).map(({ text }) => text)),
        actual: path,
      },
      { field: 'method', matched: postMatched, expected: listed(target.methods ?? []), actual: method },
    ];
  }
  const { service, methods } = to.grpc;
  const [, asked = '', name = ''] = path.split('/');
  return [
    { field: 'service', matched: asked === service, expected: service, actual: asked },
    { field: 'path', matched: true, expected: 'any', actual: path },
    {
      field: 'method',
      matched: onPath && postMatched,
      expected: postMatched ? listed(methods ?? ['any of the service']) : 'POST',
      actual: postMatched ? name : method,
    },
  ];
}

function compareCondition({ when }: Rule, request: AccessRequest): Compared {
  const parsed = when === undefined || when.trim() === '' ? undefined : parseCondition(when);
  const outcome = parsed?.ok === true ? parsed.condition.evaluate(bindingsOf(request)) : TRUE;
  const actual = outcome === UNKNOWN ? 'needs an attribute that the request does not carry' : 'does not hold';
  return { field: 'when', matched: outcome === TRUE, expected: when ?? '', actual };
}

/** The request as rules match it, where there is one to be seen. */
function httpOf({ action }: AccessRequest): Seen | undefined {
  if (action.kind === 'tcp') return undefined;
  if (action.kind === 'grpc') return { method: 'POST', path: grpcPath(action.service, action.method) };
  const normal = isTemplate(action.path) ? undefined : normalizePath(action.path, action.method);
  return { method: action.method, path: normal?.ok === true ? normal.path : action.path };
}

function isFrom(from: From, principal: Principal): boolean {
  const parsed = parseCaller(from);
  return parsed.ok && callerContains(parsed.caller, callerFor(principal));
}

function callerFor(principal: Principal): Caller {
  if (principal.kind === 'workload') return { kind: 'exact', id: principal.id };
  const address = parseAddress(principal.from);
  if (address === undefined) return { kind: 'entity', name: principal.from };
  return { kind: 'cidr', cidr: { ...address, bits: address.family === 4 ? 32 : 128 } };
}

function fromText(from: From): string {
  if ('workload' in from) return from.workload;
  if ('trustDomain' in from) return `anyone of trust domain ${from.trustDomain}`;
  if ('unauthenticated' in from) return `unauthenticated from ${from.unauthenticated.from}`;
  return 'group' in from ? `group ${from.group}` : `user ${from.user.subject} of ${from.user.issuer}`;
}

/** `a, b or c`, at most three by name. */
function listed(items: readonly string[]): string {
  const shown = items.length > 4 ? [...items.slice(0, 3), `${items.length - 3} more`] : items;
  const last = shown.at(-1) ?? '';
  return shown.length < 2 ? last : `${shown.slice(0, -1).join(', ')} or ${last}`;
}
