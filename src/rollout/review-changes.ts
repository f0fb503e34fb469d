import { type Access, callsThatReached, type SpiffeId } from '../access/index.ts';
import {
  type AccessPolicy,
  compile,
  decide,
  type Difference,
  diffPolicies,
  type Grant,
  policiesAt,
  type Rule,
} from '../policy/index.ts';
import { replay } from './rehearse.ts';
import { isMaterial, reviewEvidence, weightOf } from './review-evidence.ts';
import { grantKey, judgingPolicy, toOfGrant, toOfGrants } from './review-grants.ts';
import type { Change, ChangeDoubt, Digest, Rejection, ReviewEvidence } from './review-types.ts';

/** What the evidence of a workload proposes: a `Proposal` of the learning room is one. */
export interface ProposedRules {
  readonly policies: readonly AccessPolicy[];
  readonly doubts: readonly (ChangeDoubt & { readonly rule?: Rule })[];
}

/** What the changes of one workload's target are worked out from. */
export interface ChangesInput {
  readonly workload: SpiffeId;
  readonly target: readonly AccessPolicy[];
  /** What an exception of the target allows at this time (milliseconds since 1970 UTC) is not proposed; all are over where absent. */
  readonly now?: number;
  readonly proposed: ProposedRules;
  /** The accesses of the graph to the workload. */
  readonly accesses: readonly Access[];
  readonly rejected: ReadonlyMap<string, Rejection>;
  readonly digest: Digest;
}

interface Wanted {
  readonly rule: Rule;
  readonly doubt?: ChangeDoubt;
}

interface OpenGrant {
  readonly grant: Grant;
  readonly key: string;
  readonly evidence: ReviewEvidence;
  readonly accesses: readonly Access[];
}

/**
 * What the evidence proposes and the target does not allow yet, rule by rule, ordinary ones before doubts. What the target
 * denies on purpose is not proposed, nor what was rejected, until its evidence is materially more.
 */
export function changesOf(input: ChangesInput): Change[] {
  const { workload, target, proposed, digest } = input;
  const wanted: Wanted[] = [
    ...proposed.policies
      .filter(({ spec }) => spec.protects.workload === workload)
      .flatMap(({ spec }) => spec.rules.map((rule) => ({ rule }))),
    ...proposed.doubts.flatMap(({ id, codes, reasons, rule }) =>
      rule === undefined ? [] : [{ rule, doubt: { id, codes, reasons } }],
    ),
  ];
  if (wanted.length === 0) return [];
  const missing = missingGrants(workload, policiesAt(target, input.now ?? Number.POSITIVE_INFINITY), wanted);
  const open = withEvidence(workload, missing, input.accesses).filter(
    ({ key, evidence }) => !isRejected(input.rejected.get(key), evidence),
  );
  const byRule = Map.groupBy(open, ({ grant }) => grant.rule);
  const changes = wanted.flatMap((each, i) => {
    const own = byRule.get(`r${i}`);
    return own === undefined ? [] : [changeOf(each, own, target, digest)];
  });
  // Two rules may come to say the same where a part of each is allowed already.
  return [...new Map(changes.map((change) => [change.id, change])).values()];
}

function isRejected(rejection: Rejection | undefined, evidence: ReviewEvidence): boolean {
  return rejection !== undefined && !isMaterial(rejection, weightOf(evidence));
}

/** The combinations of the wanted rules that no rule of the target allows, and none denies on purpose. */
function missingGrants(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  wanted: readonly Wanted[],
): Difference[] {
  const rules = wanted.map(({ rule }, i) => ({ name: `r${i}`, from: rule.from, to: rule.to }));
  const allowing = target.map((policy) => ({ ...policy, spec: { ...policy.spec, deny: [] } }));
  const { onlyInSecond } = diffPolicies(allowing, [judgingPolicy(workload, rules)]);
  const set = compile(target);
  return onlyInSecond.filter(
    ({ witness }) => witness === undefined || decide(set, witness).decidedBy !== 'deny',
  );
}

/** Each combination with the accesses that it would allow, by the verdict that a proxy would give. */
function withEvidence(
  workload: SpiffeId,
  grants: readonly Grant[],
  accesses: readonly Access[],
): OpenGrant[] {
  const rules = grants.map((grant, i) => ({ name: `g${i}`, from: [grant.from], to: [toOfGrant(grant)] }));
  const set = compile([judgingPolicy(workload, rules)]);
  const own = new Map<string, Access[]>();
  for (const access of accesses) {
    if (callsThatReached(access.evidence) === 0 && access.declared.length === 0) continue;
    const { rule } = replay(set, access, workload).verdict;
    if (rule === undefined) continue;
    const known = own.get(rule);
    if (known === undefined) own.set(rule, [access]);
    else known.push(access);
  }
  return grants.map((grant, i) => {
    const found = own.get(`g${i}`) ?? [];
    return { grant, key: grantKey(grant), evidence: reviewEvidence(found), accesses: found };
  });
}

function changeOf(
  { rule, doubt }: Wanted,
  open: readonly OpenGrant[],
  target: readonly AccessPolicy[],
  digest: Digest,
): Change {
  const grants = open.map(({ grant }) => grant);
  const { evidence: _, ...plain } = rule;
  const own: Rule = { ...plain, to: toOfGrants(grants) };
  const of = widenedBy(own, target);
  const keys = open.map(({ key }) => key).sort();
  const kind = of === undefined ? 'added' : 'widened';
  return {
    id: digest(JSON.stringify([kind, of, own.from, own.to, own.when])),
    kind,
    rule: own,
    ...(of === undefined ? {} : { of }),
    grants: keys,
    evidence: reviewEvidence(open.flatMap(({ accesses }) => accesses)),
    ...(doubt === undefined ? {} : { doubt }),
  };
}

/** The rule of the target that says the same but for its methods: it is widened in place of a second one beside it. */
function widenedBy(own: Rule, target: readonly AccessPolicy[]): Change['of'] {
  const [to] = own.to;
  if (own.to.length !== 1 || to === undefined || 'tcp' in to) return undefined;
  for (const { metadata, spec } of target) {
    const rule = spec.rules.find((each) => isSameButMethods(each, own));
    if (rule !== undefined) return { policy: metadata.name, rule: rule.name };
  }
  return undefined;
}

function isSameButMethods(rule: Rule, own: Rule): boolean {
  // What was widened would end with an exception.
  if (rule.to.length !== 1 || (rule.when ?? '').trim() !== '' || rule.until !== undefined) return false;
  return shape(rule) === shape(own);
}

function shape({ from, to: [to] }: Rule): string {
  if (to === undefined || 'tcp' in to) return '';
  const what = 'grpc' in to ? ['grpc', to.grpc.service] : ['http', to.http.paths];
  return JSON.stringify([from, what, to.ports]);
}

/** The rule with the methods of both. */
export function widened(rule: Rule, own: Rule): Rule {
  const [a] = rule.to;
  const [b] = own.to;
  if (a === undefined || b === undefined) return rule;
  const both = (x: readonly string[] | undefined, y: readonly string[] | undefined) =>
    x === undefined || y === undefined ? {} : { methods: [...new Set([...x, ...y])].sort() };
  if ('http' in a && 'http' in b) {
    const { methods, ...http } = a.http;
    return { ...rule, to: [{ ...a, http: { ...http, ...both(methods, b.http.methods) } }] };
  }
  if ('grpc' in a && 'grpc' in b) {
    const { methods, ...grpc } = a.grpc;
    return { ...rule, to: [{ ...a, grpc: { ...grpc, ...both(methods, b.grpc.methods) } }] };
  }
  return rule;
}
