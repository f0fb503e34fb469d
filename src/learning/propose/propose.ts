import {
  type Access,
  type AccessGraph,
  actionText,
  callsThatReached,
  kubernetesNameOf,
  pathOf,
  type Principal,
  principalText,
  shortNameOf,
  type SpiffeId,
  trustDomainOf,
  type Workload,
} from '../../access/index.ts';
import {
  type AccessPolicy,
  API_VERSION,
  POLICY_KIND,
  type Rule,
  type RuleEvidence,
  type Tier,
} from '../../policy/index.ts';
import {
  baselineEndOf,
  type Circumstances,
  DOUBT_REASONS,
  type DoubtReason,
  doubtsAbout,
  instancesOfCallers,
  type TimeWindow,
} from './doubts.ts';
import { shortHash } from './hash.ts';
import { documentName, withUniqueNames } from './names.ts';
import { blindSpotRemarks, overlapRemarks, type Remark, unwritableRemarks } from './remarks.ts';
import { learnRoutes, type Routes } from './routes.ts';
import { evidenceOf, fromOf, rulesOf } from './rules.ts';
import { type Unit, unitKey, unitsOf } from './units.ts';

/** What a proposal is made with; everything has a default. */
export interface ProposeOptions {
  /** Only for this workload. */
  readonly to?: SpiffeId;
  /** Which doubts become rules, by {@link Doubt.id}. Default: none. */
  readonly accept?: (doubtId: string) => boolean;
  /** Milliseconds since 1970 UTC; what was first seen later is doubted. */
  readonly baselineEnd?: number;
  readonly incidents?: readonly TimeWindow[];
  /** Default: every tier is `standard`. */
  readonly tierOf?: (workload: Workload) => Tier | undefined;
  /** Routes of a workload as its OpenAPI document has them, see `openApiTemplates`. */
  readonly openApi?: (id: SpiffeId) => readonly string[] | undefined;
  /** Of every caller of the estate, where the graph has the accesses to one callee alone. */
  readonly instances?: ReadonlyMap<string, ReadonlySet<string>>;
}

/** An access that was not made into a rule, and why. */
export interface Doubt {
  /** Stable: the same caller, callee and action have the same ID in every proposal. */
  readonly id: string;
  readonly from: Principal;
  readonly to: SpiffeId;
  /** As people read it: `GET /orders/{id} :8080`. */
  readonly action: string;
  readonly codes: readonly DoubtReason[];
  /** The same in plain words. */
  readonly reasons: readonly string[];
  readonly evidence: RuleEvidence;
  /** The rule it becomes when it is accepted; absent where no policy can name the caller. */
  readonly rule?: Rule;
}

/** What became of the accesses of the graph. */
export interface Covered {
  /** Accesses that reached a protected workload, and their calls. */
  readonly accesses: number;
  readonly calls: number;
  /** Accesses (as templates) with a rule because they were observed, because they are declared, and doubts left. */
  readonly observed: number;
  readonly declared: number;
  readonly doubts: number;
  /** Accesses that only failed or were denied, which are no evidence, and accesses to what is no workload. */
  readonly neverReached: number;
  readonly outside: number;
}

export interface Proposal {
  /** One for each workload that has a rule, sorted by namespace and name. */
  readonly policies: readonly AccessPolicy[];
  readonly doubts: readonly Doubt[];
  readonly remarks: readonly Remark[];
  readonly covered: Covered;
}

/**
 * Least-privilege policies that allow what was observed to reach its callee, and what is declared and was not
 * observed. What is doubtful is listed apart and becomes a rule only where `accept` says so.
 */
export function propose(graph: AccessGraph, options: ProposeOptions = {}): Proposal {
  const { byCallee, outside } = accessesByCallee(graph);
  const instances = options.instances ?? instancesOfCallers(graph);
  const callees: Callee[] = [];
  for (const to of [...new Set([...byCallee.keys(), ...blindlyCalled(graph)])].sort()) {
    if (options.to !== undefined && to !== options.to) continue;
    const accesses = byCallee.get(to) ?? [];
    const routes = learnRoutes(accesses, options.openApi?.(to));
    callees.push({ to, accesses, routes, units: unitsOf(to, accesses, routes) });
  }
  const idOf = doubtIds(callees.flatMap(({ units }) => units));
  const parts = callees.map((callee) => {
    const judged = {
      baselineEnd: baselineEndOf(graph, callee.accesses, options.baselineEnd),
      incidents: options.incidents ?? [],
      instances,
      requestPorts: requestPorts(callee.accesses),
    };
    return proposeFor(graph, callee, judged, idOf, options);
  });
  return {
    policies: withUniqueNames(parts.flatMap((part) => part.policy ?? [])),
    doubts: parts.flatMap((part) => part.doubts),
    remarks: [
      ...parts.flatMap((part) => part.remarks),
      ...(options.to === undefined ? outsideRemarks(outside) : []),
    ],
    covered: countCovered(parts, outside.length),
  };
}

/** One protected workload with what is known of its calls. */
interface Callee {
  readonly to: SpiffeId;
  readonly accesses: readonly Access[];
  readonly routes: Routes;
  readonly units: readonly Unit[];
}

/**
 * Gives units their doubts' IDs. Callers choose their paths, and with them can make two units of one hash: then
 * neither has that ID, so that who accepts one accepts nothing else.
 */
function doubtIds(units: readonly Unit[]): (unit: Unit) => string {
  const bearers = new Map<string, number>();
  for (const unit of units) {
    const id = shortHash(unitKey(unit));
    bearers.set(id, (bearers.get(id) ?? 0) + 1);
  }
  return (unit) => {
    const key = unitKey(unit);
    const id = shortHash(key);
    return bearers.get(id) === 1 ? id : `${id}-${shortHash(`again ${key}`)}`;
  };
}

interface Part {
  readonly policy: AccessPolicy | undefined;
  readonly doubts: readonly Doubt[];
  readonly remarks: readonly Remark[];
  readonly accesses: readonly Access[];
  readonly rules: readonly Unit[];
}

function proposeFor(
  graph: AccessGraph,
  { to, accesses, routes, units }: Callee,
  circumstances: Circumstances,
  idOf: (unit: Unit) => string,
  options: ProposeOptions,
): Part {
  const rules: Unit[] = [];
  const doubts: Doubt[] = [];
  for (const unit of units) {
    const codes = doubtsAbout(unit, circumstances);
    const id = idOf(unit);
    const accepted = codes.length === 0 || options.accept?.(id) === true;
    if (accepted && fromOf(unit.from) !== undefined) rules.push(unit);
    else doubts.push(doubtOf(id, unit, codes));
  }
  const remarks = [
    ...blindSpotRemarks(graph, to),
    ...unwritableRemarks(to, routes.unwritable),
    ...overlapRemarks(to, rules),
  ];
  if (rules.length === 0) remarks.push({ workload: to, what: `no policy is proposed: ${whyNone(doubts)}.` });
  const policy = rules.length === 0 ? undefined : policyOf(graph, to, rulesOf(rules), options);
  return { policy, doubts, remarks, accesses, rules };
}

function whyNone(doubts: readonly Doubt[]): string {
  return doubts.length > 0
    ? 'everything known of its callers is in doubt'
    : 'no call from a known caller is known to have reached it';
}

function doubtOf(id: string, unit: Unit, codes: readonly DoubtReason[]): Doubt {
  const [rule] = fromOf(unit.from) === undefined ? [] : rulesOf([unit]);
  return {
    id,
    from: unit.from,
    to: unit.to,
    action: actionText(unit.action),
    codes,
    reasons: [
      ...codes.map((code) => DOUBT_REASONS[code]),
      ...(rule === undefined
        ? ['no rule can name this caller: it has neither an identity nor an address']
        : []),
    ],
    evidence: evidenceOf([unit]),
    ...(rule === undefined ? {} : { rule }),
  };
}

function policyOf(
  graph: AccessGraph,
  to: SpiffeId,
  rules: readonly Rule[],
  { tierOf }: ProposeOptions,
): AccessPolicy {
  const workload = graph.workloads.get(to);
  // The ID's namespace first: a recording may give the workload one that no document can have.
  const namespace = documentName(kubernetesNameOf(to)?.namespace ?? workload?.namespace ?? '');
  return {
    apiVersion: API_VERSION,
    kind: POLICY_KIND,
    metadata: {
      name: documentName(shortNameOf(to)) || `workload-${shortHash(to)}`,
      ...(namespace === '' ? {} : { namespace }),
    },
    spec: {
      protects: { workload: to },
      tier: (workload === undefined ? undefined : tierOf?.(workload)) ?? 'standard',
      stage: 'draft',
      rules,
      deny: [],
    },
  };
}

/**
 * Accesses by the workload of this estate that they are to, and those to anything else. A trust domain's own ID
 * is no workload's.
 */
function accessesByCallee(graph: AccessGraph): { byCallee: Map<SpiffeId, Access[]>; outside: Access[] } {
  const byCallee = new Map<SpiffeId, Access[]>();
  const outside: Access[] = [];
  for (const access of graph.accesses) {
    const { to } = access;
    const ours =
      to.kind === 'workload' &&
      pathOf(to.id) !== '' &&
      (graph.workloads.has(to.id) || trustDomainOf(to.id) === graph.trustDomain);
    if (!ours) {
      outside.push(access);
      continue;
    }
    const list = byCallee.get(to.id);
    if (list === undefined) byCallee.set(to.id, [access]);
    else list.push(access);
  }
  return { byCallee, outside };
}

/** Workloads of the estate that something is known to have called, and not fully seen. */
function blindlyCalled({ blindSpots, workloads }: AccessGraph): SpiffeId[] {
  return blindSpots.flatMap(({ to, count }) =>
    to.kind === 'workload' && count > 0 && workloads.has(to.id) ? [to.id] : [],
  );
}

/** Ports on which each caller's requests are known, HTTP or gRPC, that reached the callee. */
function requestPorts(accesses: readonly Access[]): Map<string, Set<number>> {
  const result = new Map<string, Set<number>>();
  for (const { from, action, evidence } of accesses) {
    if (action.kind === 'tcp' || callsThatReached(evidence) === 0) continue;
    const key = principalText(from);
    result.set(key, (result.get(key) ?? new Set()).add(action.port));
  }
  return result;
}

function outsideRemarks(outside: readonly Access[]): Remark[] {
  const callees = new Map<string, number>();
  for (const { to, evidence } of outside) {
    const key = principalText(to);
    callees.set(key, (callees.get(key) ?? 0) + callsThatReached(evidence));
  }
  if (callees.size === 0) return [];
  const names = [...callees.keys()].sort();
  const shown = names.slice(0, 3).join(', ') + (names.length > 3 ? ` and ${names.length - 3} more` : '');
  const calls = [...callees.values()].reduce((sum, n) => sum + n, 0);
  return [
    { what: `not protected, because they are no workloads of this estate: ${shown} (${calls} calls).` },
  ];
}

function countCovered(parts: readonly Part[], outside: number): Covered {
  const covered = { accesses: 0, calls: 0, observed: 0, declared: 0, doubts: 0, neverReached: 0, outside };
  for (const { accesses, rules, doubts } of parts) {
    for (const { evidence, views } of accesses) {
      const reached = callsThatReached(evidence);
      covered.calls += reached;
      if (reached > 0) covered.accesses++;
      else if (views.includes('observed')) covered.neverReached++;
    }
    for (const { reached } of rules) covered[reached > 0 ? 'observed' : 'declared']++;
    covered.doubts += doubts.length;
  }
  return covered;
}
