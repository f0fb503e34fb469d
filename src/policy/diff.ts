import type { Action, SpiffeId } from '../access/index.ts';
import { compile, type PolicySet } from './compile.ts';
import { decideAssuming } from './decide.ts';
import { type Grant, grantsOf } from './grants.ts';
import {
  ANY_METHOD,
  principalOf,
  type Region,
  regionContains,
  regionOf,
  regionsOverlap,
  sampleCallers,
  samplePaths,
} from './region.ts';
import type { AccessRequest } from './request.ts';
import type { AccessPolicy, Rule } from './types.ts';

/** A grant that the other set does not authorize. */
export interface Difference extends Grant {
  /** The other set authorizes a part of it. */
  readonly partly?: true;
  /** A request that this set authorizes and the other does not; absent where only conditions tell them apart. */
  readonly witness?: AccessRequest;
}

/** What one set authorizes and the other does not. Being unprotected authorizes nothing: it enforces nothing. */
export interface PolicyDiff {
  readonly onlyInFirst: readonly Difference[];
  readonly onlyInSecond: readonly Difference[];
  /** Workloads that only one of the sets protects: the other enforces nothing on them. */
  readonly protectedOnlyInFirst: readonly SpiffeId[];
  readonly protectedOnlyInSecond: readonly SpiffeId[];
}

/** Most requests tried for one grant; beyond, it is reported although no witness was found. */
const MAX_WITNESSES = 20_000;

/**
 * Compares what two sets authorize, deny rules included and stages not. A grant is in the result exactly when
 * some request of it is authorized on one side only. A condition counts as itself: it is met by the same text. Sets are
 * compared for all time: a rule that ends later than its like on the other side authorizes more.
 */
export function diffPolicies(first: readonly AccessPolicy[], second: readonly AccessPolicy[]): PolicyDiff {
  const [a, b] = [new Authority(first), new Authority(second)];
  return {
    onlyInFirst: a.without(b),
    onlyInSecond: b.without(a),
    protectedOnlyInFirst: a.protectedWithout(b),
    protectedOnlyInSecond: b.protectedWithout(a),
  };
}

/** One set, indexed for comparing. */
class Authority {
  readonly set: PolicySet;
  readonly #allow: Region[];
  readonly #byRule = new Map<string, Region[]>();
  /** Regions by workload, those of one exact caller apart: they cannot overlap those of another. */
  readonly #exact = new Map<string, Region[]>();
  readonly #wide = new Map<string, Region[]>();
  readonly #deny = new Map<string, Region[]>();

  constructor(policies: readonly AccessPolicy[]) {
    this.set = compile(policies);
    const regions = (list: (policy: AccessPolicy) => readonly Rule[]) =>
      policies.flatMap((policy) => list(policy).flatMap((rule) => grantsOf(policy, rule).map(regionOf)));
    this.#allow = regions(({ spec }) => spec.rules);
    for (const region of this.#allow) {
      const { caller, grant } = region;
      push(this.#byRule, ruleKey(grant.to, grant.policy, grant.rule), region);
      if (caller.kind === 'exact') push(this.#exact, `${grant.to} ${caller.id}`, region);
      else push(this.#wide, grant.to, region);
    }
    for (const region of regions(({ spec }) => spec.deny)) push(this.#deny, region.grant.to, region);
  }

  protectedWithout(other: Authority): SpiffeId[] {
    // The keys are the checked IDs of the policies.
    return [...this.set.workloads.keys()].filter((id) => !other.set.workloads.has(id)) as SpiffeId[];
  }

  without(other: Authority): Difference[] {
    return this.#allow.flatMap((region) => this.#difference(region, other) ?? []);
  }

  /** Allow regions that may overlap this one. */
  #near({ caller, grant }: Region): readonly Region[] {
    const wide = this.#wide.get(grant.to) ?? [];
    if (caller.kind === 'exact') return [...(this.#exact.get(`${grant.to} ${caller.id}`) ?? []), ...wide];
    return this.#allow.filter((region) => region.grant.to === grant.to);
  }

  #denies(region: Region): Region[] {
    return (this.#deny.get(region.grant.to) ?? []).filter((deny) => regionsOverlap(deny, region));
  }

  #difference(region: Region, other: Authority): Difference | undefined {
    const { grant } = region;
    if (region.caller.kind === 'person') {
      return other.#allow.some((o) => o.grant.to === grant.to && covers(o, region)) ? undefined : grant;
    }
    const denies = other.#denies(region);
    if (denies.length === 0 && other.#oneRuleCovers(region)) return undefined;
    const near = other.#near(region).filter((o) => regionsOverlap(o, region));
    const ownDenies = this.#denies(region);
    // Without a search, so that what stands in both sets is never beyond its limit: one rule of the other allows
    // it all, and what the other denies is denied here as well.
    if (
      near.some((o) => covers(o, region)) &&
      denies.every((deny) => ownDenies.some((own) => covers(own, deny)))
    )
      return undefined;
    const conditions = [undefined, ...new Set(denies.flatMap(({ grant }) => grant.when ?? []))];
    const requests = samples(
      region,
      [...near, ...denies, ...ownDenies],
      freePort([this.set, other.set], grant.to),
    );
    const last = lastMoment(region);
    let witness: AccessRequest | undefined;
    let both = false;
    let tried = 0;
    for (const request of requests) {
      for (const condition of conditions) {
        const assumed = new Set([grant.when, condition].filter((text) => text !== undefined));
        if (++tried > MAX_WITNESSES)
          return { ...grant, partly: true, ...(witness === undefined ? {} : { witness }) };
        // Rules only go as time passes: what the other authorizes last, it has authorized all the time.
        if (!authorizes(this.set, request, assumed, last)) continue;
        if (authorizes(other.set, request, assumed, last)) both = true;
        else {
          witness ??= request;
          if (other.set.hasEnds && authorizes(other.set, request, assumed, FIRST_MOMENT)) both = true;
        }
        if (both && witness !== undefined) return { ...grant, partly: true, witness };
      }
    }
    return witness === undefined ? undefined : { ...grant, witness };
  }

  /** The usual case, decided without a search: the rule that authorizes one request of it authorizes them all. */
  #oneRuleCovers(region: Region): boolean {
    const [request] = samples(region, [], freePort([this.set], region.grant.to));
    if (request === undefined) return false;
    const { when } = region.grant;
    const verdict = decideAssuming(
      this.set,
      request,
      new Set(when === undefined ? [] : [when]),
      lastMoment(region),
    );
    if (verdict.decidedBy !== 'rule') return false;
    const regions =
      this.#byRule.get(ruleKey(region.grant.to, verdict.policy ?? '', verdict.rule ?? '')) ?? [];
    return regions.some((candidate) => regionContains(candidate, region));
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function ruleKey(to: string, policy: string, rule: string): string {
  return `${to} ${policy} ${rule}`;
}

/** Whether the outer rule holds wherever the inner one does. */
function covers(outer: Region, inner: Region): boolean {
  const { when } = outer.grant;
  if (outer.ends < inner.ends) return false;
  return (when === undefined || when === inner.grant.when) && regionContains(outer, inner);
}

/** Before every end. */
const FIRST_MOMENT = Number.NEGATIVE_INFINITY;

/** The last moment at which a region's rule holds; after every end for a rule without one. */
function lastMoment({ ends }: Region): number {
  return Number.isFinite(ends) ? ends - 1 : Number.MAX_SAFE_INTEGER;
}

function authorizes(
  set: PolicySet,
  request: AccessRequest,
  assumed: ReadonlySet<string>,
  at: number,
): boolean {
  return decideAssuming(set, request, assumed, at).decidedBy === 'rule';
}

/** A port that no rule about the workload names: it stands for any other. */
function freePort(sets: readonly PolicySet[], to: SpiffeId): number | undefined {
  const named = new Set(sets.flatMap((set) => set.portsOf(to)));
  for (let port = 1; port <= 65_535; port++) if (!named.has(port)) return port;
  return undefined;
}

/** Requests that stand for all of a region, as far as the others tell them apart. */
function* samples(
  region: Region,
  others: readonly Region[],
  free: number | undefined,
): Generator<AccessRequest> {
  const { caller, port, grant } = region;
  const distinct = <T>(values: (T | undefined)[]) =>
    [...new Set(values)].filter((value) => value !== undefined);
  const callers = sampleCallers(
    caller,
    others.map((other) => other.caller),
  );
  const ports = port === undefined ? distinct([free, ...others.map((other) => other.port)]) : [port];
  const inside = others.filter((other) => other.http !== undefined).map((other) => other.http);
  const method = region.http?.method;
  const methods =
    method === undefined ? distinct([ANY_METHOD, ...inside.map((http) => http?.method)]) : [method];
  const paths = samplePaths(
    region.http?.path,
    inside.map((http) => http?.path),
  );
  for (const text of callers) {
    const from = principalOf(caller, text);
    for (const port of ports) {
      const actions: Action[] = methods.flatMap((method) =>
        paths.map((path) => ({ kind: 'http', port, method, path }) as const),
      );
      if (region.http === undefined) actions.unshift({ kind: 'tcp', port });
      for (const action of actions) yield { from, to: grant.to, action };
    }
  }
}
