import { type Action, grpcPath, MAX_PATH_LENGTH } from '../access/index.ts';
import type { PolicySet } from './compile.ts';
import { isCleanPath, normalizePath } from './path.ts';
import { Probe } from './probe.ts';
import type { AccessRequest, Verdict } from './request.ts';
import { isTemplate, parseTemplate } from './template.ts';

const NO_POLICY: Verdict = Object.freeze({ allowed: true, decidedBy: 'no-policy' });
const NO_RULE: Verdict = Object.freeze({ allowed: false, decidedBy: 'no-rule' });
const NO_RULE_UNKNOWN: Verdict = Object.freeze({ ...NO_RULE, conditionUnknown: true as const });
const UNSAFE_PATH: Verdict = Object.freeze({ allowed: false, decidedBy: 'unsafe-path' });

/** What is asked without a time: every end is past, so that whoever forgets the time allows less and not more. */
const NO_TIME = Number.POSITIVE_INFINITY;

/** Nothing here waits or calls back, so one search is enough for all. */
const probe = new Probe();

/**
 * The verdict of the set on one request, as all engines are to give it. It costs the same for any number of
 * rules: callers, ports, paths and methods are looked up. What it returns is shared and frozen.
 *
 * - Nothing protects the workload: allowed. A path that cannot be normalised safely: denied.
 * - A deny rule that matches denies; then the first rule that matches allows; else the request is denied.
 * - A request inside HTTP or gRPC also matches `tcp` rules of its port: the connection is admitted. An opaque
 *   TCP connection matches only `tcp` rules, but is denied by any deny rule about its requests as well.
 * - A condition that cannot be evaluated counts against the request on both sides.
 * - A rule that has ended by `at` (milliseconds since 1970 UTC) does not match. Without a time no rule that has an end
 *   does: give the time wherever `set.hasEnds`.
 */
export function decide(set: PolicySet, request: AccessRequest, at = NO_TIME): Verdict {
  return search(set, request, undefined, at);
}

/** The verdict at a time if exactly the conditions in `assumed` held: for comparing sets, where there is no request. */
export function decideAssuming(
  set: PolicySet,
  request: AccessRequest,
  assumed: ReadonlySet<string>,
  at: number,
): Verdict {
  return search(set, request, assumed, at);
}

function search(
  set: PolicySet,
  request: AccessRequest,
  assumed: ReadonlySet<string> | undefined,
  at: number,
): Verdict {
  const workload = set.workloads.get(request.to);
  if (workload === undefined) return NO_POLICY;
  const { action } = request;
  probe.port = action.port;
  probe.opaque = action.kind === 'tcp';
  if (action.kind !== 'tcp') {
    const path = pathOf(set, action);
    if (path === undefined) return UNSAFE_PATH;
    probe.path = path;
    probe.method = set.methods.get(action.kind === 'grpc' ? 'POST' : action.method) ?? 0;
  }
  probe.reset(request, assumed, at);
  const { deny, allow } = workload;
  return (
    (deny.size > 0 ? deny.search(probe, request.from) : undefined) ??
    allow.search(probe, request.from) ??
    none()
  );
}

function none(): Verdict {
  return probe.passedUnknown ? NO_RULE_UNKNOWN : NO_RULE;
}

/** The path as it is matched, or undefined where it is unsafe. */
function pathOf(set: PolicySet, action: Exclude<Action, { kind: 'tcp' }>): string | undefined {
  if (action.kind === 'grpc') {
    const known = set.grpcPaths.get(action.service)?.get(action.method);
    if (known !== undefined) return known;
    return matchedPath(grpcPath(action.service, action.method), 'POST');
  }
  return matchedPath(action.path, action.method);
}

function matchedPath(raw: string, method: string): string | undefined {
  if (raw.length <= MAX_PATH_LENGTH && isCleanPath(raw)) return raw;
  if (isTemplate(raw)) return parseTemplate(raw).ok ? raw : undefined;
  const normal = normalizePath(raw, method);
  return normal.ok ? normal.path : undefined;
}
