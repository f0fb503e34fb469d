import type { Loss } from '../../src/engines/engine.ts';
import {
  type AccessRequest,
  decide,
  isTemplate,
  type PolicySet,
  type Verdict,
} from '../../src/policy/index.ts';
import { isRefused, requestLine } from '../evaluators/envoy-document.ts';

/** How an engine's answer stands to the verdict. */
export type Agreement = 'equal' | 'explained' | 'unexplained' | 'wider';

/**
 * `explained` is a denial of what the policy allows that a declared loss accounts for: of the rule that allows it,
 * or of a deny rule that now denies more.
 */
export function agreement(
  verdict: Verdict,
  allowed: boolean,
  losses: readonly Loss[],
  deniedBy?: string,
): Agreement {
  if (verdict.allowed === allowed) return 'equal';
  if (allowed) return 'wider';
  const narrower = losses.filter(({ effect }) => effect === 'narrower');
  const names = ({ policy, rule }: Loss) =>
    (policy === verdict.policy && rule === verdict.rule) || deniedBy?.endsWith(`/${policy}/${rule}`) === true;
  return narrower.some(names) ? 'explained' : 'unexplained';
}

/**
 * The verdict that a proxy is to give. On a port that is served as TCP it is the verdict on the connection where
 * `decide` refuses an unsafe path: the connection is what the tcp rule admits, whatever goes through it.
 */
export function verdictFor(
  set: PolicySet,
  request: AccessRequest,
  served: 'http' | 'tcp',
  at?: number,
): Verdict {
  const verdict = decide(set, request, at);
  if (served === 'http' || verdict.decidedBy !== 'unsafe-path') return verdict;
  return decide(set, { ...request, action: { kind: 'tcp', port: request.action.port } }, at);
}

/**
 * Whether a proxy can receive it and hand it to filters or refuse it as `decide` does: a recorded template is no
 * request, and what the codec refuses although the policy may allow it ("*", lower-case methods) says nothing.
 */
export function isReal({ action }: AccessRequest): boolean {
  if (action.kind === 'tcp') return true;
  const { method, path } = requestLine(action);
  if (isTemplate(path)) return false;
  return !isRefused({ kind: 'http', port: 0, method, path }) || (path !== '*' && !/[a-z]/.test(method));
}
