import { BlockList, isIP } from 'node:net';
import type { Action, Principal } from '../../src/access/index.ts';
import {
  type AccessPolicy,
  type AccessRequest,
  type From,
  isTemplate,
  normalizePath,
  parseTemplate,
  type Rule,
  type To,
  type Verdict,
} from '../../src/policy/index.ts';

/** What a condition comes to: `error` where it fails over what is there, `unknown` where something is not there. */
export type ConditionResult = boolean | 'error' | 'unknown';

/**
 * The verdict by plain loops over every rule, written from the semantics alone: the oracle for `decide` and for
 * the evaluators of renderings. Conditions are the caller's to judge. Rules that have ended by `at` are not there.
 */
export function referenceVerdict(
  policies: readonly AccessPolicy[],
  request: AccessRequest,
  judge: (when: string, request: AccessRequest) => ConditionResult,
  at = Number.POSITIVE_INFINITY,
): Verdict {
  const own = policies
    .filter((policy) => policy.spec.protects.workload === request.to)
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  if (own.length === 0) return { allowed: true, decidedBy: 'no-policy' };
  const http = httpOf(request.action);
  if (http === 'unsafe') return { allowed: false, decidedBy: 'unsafe-path' };
  for (const policy of own) {
    for (const rule of policy.spec.deny) {
      if (!covers(rule, request, http, true)) continue;
      const held = holds(rule, request, judge);
      if (held === false) continue;
      return named(policy, rule, false, held === 'unknown');
    }
  }
  let unknown = false;
  for (const policy of own) {
    for (const rule of policy.spec.rules) {
      if (rule.until !== undefined && Date.parse(rule.until) <= at) continue;
      if (!covers(rule, request, http, false)) continue;
      const held = holds(rule, request, judge);
      if (held === true) return named(policy, rule, true, false);
      if (held === 'unknown') unknown = true;
    }
  }
  return { allowed: false, decidedBy: 'no-rule', ...(unknown ? { conditionUnknown: true } : {}) };
}

function named(policy: AccessPolicy, rule: Rule, allowed: boolean, unknown: boolean): Verdict {
  return {
    allowed,
    decidedBy: allowed ? 'rule' : 'deny',
    policy: policy.metadata.name,
    rule: rule.name,
    ...(unknown ? { conditionUnknown: true } : {}),
  };
}

interface Http {
  readonly method: string;
  readonly path: string;
}

/** The HTTP request inside, if there is one. */
function httpOf(action: Action): Http | undefined | 'unsafe' {
  if (action.kind === 'tcp') return undefined;
  const method = action.kind === 'grpc' ? 'POST' : action.method;
  const raw = action.kind === 'grpc' ? `/${action.service}/${action.method}` : action.path;
  if (isTemplate(raw)) return parseTemplate(raw).ok ? { method, path: raw } : 'unsafe';
  const normal = normalizePath(raw, method);
  return normal.ok ? { method, path: normal.path } : 'unsafe';
}

function holds(rule: Rule, request: AccessRequest, judge: Parameters<typeof referenceVerdict>[2]) {
  return rule.when === undefined || rule.when === '' ? true : judge(rule.when, request);
}

function covers(rule: Rule, request: AccessRequest, http: Http | undefined, denying: boolean): boolean {
  return (
    rule.from.some((from) => isFrom(from, request.from)) &&
    rule.to.some((to) => isTo(to, request.action.port, http, denying))
  );
}

function isFrom(from: From, principal: Principal): boolean {
  if ('unauthenticated' in from) {
    return principal.kind === 'unauthenticated' && isOrigin(from.unauthenticated.from, principal.from);
  }
  if (principal.kind !== 'workload') return false;
  if ('trustDomain' in from) return new URL(principal.id).host === from.trustDomain;
  if (!('workload' in from)) return false;
  if (from.workload.endsWith('/*')) return principal.id.startsWith(from.workload.slice(0, -1));
  return principal.id === from.workload;
}

function isOrigin(block: string, origin: string): boolean {
  const [first = '', bits] = block.split('/');
  if (bits === undefined) return origin === block;
  if (isIP(origin) === 0) return false;
  const list = new BlockList();
  list.addSubnet(first, Number(bits), isIP(first) === 4 ? 'ipv4' : 'ipv6');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(origin)?.[1];
  const address = mapped ?? origin;
  return isIP(first) === isIP(address) && list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}

function isTo(to: To, port: number, http: Http | undefined, denying: boolean): boolean {
  if (to.ports !== undefined && !to.ports.includes(port)) return false;
  if ('tcp' in to) return true;
  if (http === undefined) return denying;
  if ('grpc' in to) {
    const names = to.grpc.methods ?? ['{any}'];
    return http.method === 'POST' && names.some((name) => isPath(`/${to.grpc.service}/${name}`, http.path));
  }
  const { methods, paths } = to.http;
  return (
    (methods === undefined || methods.includes(http.method)) &&
    (paths === undefined || paths.some((path) => isPath(path, http.path)))
  );
}

/** As a regular expression: another way than the one that is tested. */
function isPath(text: string, path: string): boolean {
  const parsed = parseTemplate(text);
  if (!parsed.ok) throw new Error(parsed.reason);
  const { segments, rest } = parsed.template;
  const parts = segments.map((s) => s?.replace(/[^A-Za-z0-9]/g, '\\$&') ?? '(?!\\{[^/]*=\\*\\*\\})[^/]+');
  return new RegExp(`^/${[...parts, ...(rest ? ['.*'] : [])].join('/')}$`).test(path);
}
