import {
  actionText,
  parsePrincipal,
  parseSpiffeId,
  principalText,
  recordedPath,
} from '../../../access/index.ts';
import type { Action, SpiffeId } from '../../../access/index.ts';
import {
  type AccessRequest,
  decide,
  explain,
  type Explanation,
  type PolicySet,
} from '../../../policy/index.ts';
import type { RecordedAccess } from './recorded.ts';
import type { Exception, PolicyCase, RecordingToTest } from './schema.ts';

/** What came of one test: it passed, it failed and why, or it was left out and why. */
export interface Outcome {
  /** `file: name of the document`. */
  readonly suite: string;
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** In one sentence or two; of what has failed, with the nearest rule and the field that did not match. */
  readonly why?: string;
}

/** Policies, at a time: milliseconds since 1970 UTC. */
export interface Judging {
  readonly set: PolicySet;
  readonly at: number;
}

/** Judges one case. A workload that no policy protects passes none: everything is allowed there, so nothing is tested. */
export function judgeCase({ set, at }: Judging, suite: string, one: PolicyCase): Outcome {
  const { name, expect, by } = one;
  const request = requestOf(one);
  const { verdict, sentence } = explain(set, request, at);
  const failed = (why: string): Outcome => ({ suite, name, outcome: 'failed', why });
  if (verdict.decidedBy === 'no-policy')
    return failed(`no policy here protects ${request.to}, so that everything is allowed there`);
  const word = verdict.allowed ? 'allow' : 'deny';
  if (word !== expect) return failed(`expected ${expect}, got ${word}. ${sentence}`);
  const { policy, rule } = verdict;
  if (by !== undefined && by !== rule && by !== `${policy}/${rule}`)
    return failed(`expected ${expect} by rule "${by}". ${sentence}`);
  if (verdict.conditionUnknown === true && expect === 'deny')
    return failed(`it is denied only because a condition needs what the case does not say. ${sentence}`);
  return { suite, name, outcome: 'passed' };
}

function requestOf({ from, to, action, host, headers, sourceAddress }: PolicyCase): AccessRequest {
  const sent = 'http' in action ? { path: action.http.path } : {};
  return {
    from: parsePrincipal(from),
    to: parseSpiffeId(to),
    action: actionOf(action),
    attributes: {
      ...sent,
      ...(host === undefined ? {} : { host }),
      ...(headers === undefined ? {} : { headers: lowerCase(headers) }),
      ...(sourceAddress === undefined ? {} : { sourceAddress }),
    },
  };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function actionOf(action: PolicyCase['action']): Action {
  const { port } = action;
  if ('tcp' in action) return { kind: 'tcp', port };
  if ('grpc' in action) return { kind: 'grpc', port, ...action.grpc };
  return { kind: 'http', port, method: action.http.method, path: recordedPath(action.http.path) };
}

/**
 * Judges every access of a recording: allowed, unless it is excepted, and then denied. An exception that nothing in the
 * recording fits, or that is allowed, is out of date. A recording of which nothing is judged fails.
 */
export function judgeRecording(
  judging: Judging,
  suite: string,
  { file, except }: RecordingToTest,
  accesses: readonly RecordedAccess[],
): Outcome[] {
  const used = new Set<Exception>();
  const outcomes = accesses.flatMap((access) => {
    if (access.count === 0 || access.to.kind !== 'workload') return [];
    const exception = except.find((each) => isExcepted(each, access));
    if (exception !== undefined) used.add(exception);
    return judgeAccess(judging, suite, access, access.to.id, exception);
  });
  const name = `recording ${file}`;
  for (const each of except.filter((exception) => !used.has(exception)))
    outcomes.push({
      suite,
      name: `${name}: except ${each.why}`,
      outcome: 'failed',
      why: 'nothing in the recording is excepted by it: take it away',
    });
  if (!outcomes.some(({ outcome }) => outcome !== 'skipped'))
    outcomes.push({
      suite,
      name,
      outcome: 'failed',
      why: 'it holds no access that a policy here decides about',
    });
  return outcomes;
}

function judgeAccess(
  { set, at }: Judging,
  suite: string,
  access: RecordedAccess,
  to: SpiffeId,
  exception: Exception | undefined,
): Outcome {
  const { from, action, collapsed } = access;
  const name = `${principalText(from)} -> ${to}: ${actionText(action)}`;
  const result = (outcome: Outcome['outcome'], why?: string): Outcome => ({
    suite,
    name,
    outcome,
    ...(why === undefined ? {} : { why }),
  });
  const { verdict, sentence } = replayed(set, { from, to, action }, at);
  if (verdict.decidedBy === 'no-policy') return result('skipped', 'no policy here protects the callee');
  if (exception === undefined) {
    if (verdict.allowed) return result('passed');
    const doubts = [
      ...(collapsed ? ['its paths were collapsed past the stored limit'] : []),
      ...(verdict.conditionUnknown === true ? ['a condition needs what was not recorded'] : []),
    ];
    const doubt = doubts.length === 0 ? '' : ` Not exact: ${doubts.join('; ')}.`;
    return result('failed', `observed, and denied. ${sentence}${doubt}`);
  }
  return verdict.allowed
    ? result('failed', `excepted (${exception.why}), and allowed. ${sentence}`)
    : result('passed');
}

/** A port that was not recorded is taken to be one at which it is allowed. */
function replayed(set: PolicySet, request: AccessRequest, at: number): Explanation {
  const { action } = request;
  if (action.port === 0)
    for (const port of set.portsOf(request.to)) {
      const other = { ...request, action: { ...action, port } };
      if (decide(set, other, at).decidedBy === 'rule') return explain(set, other, at);
    }
  return explain(set, request, at);
}

function isExcepted(each: Exception, { from, to, action }: RecordedAccess): boolean {
  const path =
    action.kind === 'http'
      ? action.path
      : action.kind === 'grpc'
        ? `/${action.service}/${action.method}`
        : '';
  const method = action.kind === 'tcp' ? '' : action.method;
  return (
    (each.from === undefined || each.from === principalText(from)) &&
    (each.to === undefined || each.to === principalText(to)) &&
    (each.method === undefined || each.method === method) &&
    (each.path === undefined || each.path === path) &&
    (each.port === undefined || each.port === action.port)
  );
}
