import type { SpiffeId } from '../../access/index.ts';
import type { IdentityRule } from '../../identity/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import { contentText, isSameRule, markOf, plainPolicy, policyDigest } from './content.ts';
import { type Documents, type EnvoyProxy, policyKey } from './documents.ts';
import type { LastChange, PolicyPast, There } from './there.ts';

/** What somebody has to say before a sync goes over something. */
export const CONSENTS = ['overwrite', 'prune', 'prune-all'] as const;
export type Consent = (typeof CONSENTS)[number];

/** How a document of the directory and the one that is there can differ, and what a sync may do about it. */
export const STATES = {
  'only-here': { means: 'not there yet', needs: undefined },
  'changed-here': { means: 'changed here', needs: undefined },
  'changed-there': { means: 'changed there since the last sync', needs: 'overwrite' },
  'changed-both': { means: 'changed here and there since the last sync', needs: 'overwrite' },
  'removed-there': { means: 'removed there since the last sync', needs: 'overwrite' },
  unknown: { means: 'different, and never synced from here', needs: 'overwrite' },
  'of-another': { means: 'different, and synced from elsewhere', needs: 'overwrite' },
  'gone-here': { means: 'no longer here', needs: 'prune' },
  'gone-here-changed-there': { means: 'no longer here, and changed there since', needs: 'prune-all' },
  'only-there': { means: 'there alone, and never synced', needs: 'prune-all' },
} as const satisfies Readonly<Record<string, { means: string; needs: Consent | undefined }>>;
export type DriftState = keyof typeof STATES;

interface Differs {
  readonly state: DriftState;
  readonly name: string;
  /** Where it is here. */
  readonly file?: string;
  readonly last?: LastChange;
  /** The source that it was synced from last, where that is another one. */
  readonly of?: string;
}

/** A policy that is not the same on both sides; each side without where it is kept and what its rules rest on. */
export interface PolicyDrift extends Differs {
  readonly kind: 'AccessPolicy';
  readonly workload: SpiffeId;
  readonly here?: AccessPolicy;
  readonly there?: AccessPolicy;
}

/** A rule for identities that is not the same on both sides. */
export interface RuleDrift extends Differs {
  readonly kind: 'IdentityRule';
  readonly here?: IdentityRule;
  readonly there?: IdentityRule;
}

/** A Proxy document of an Envoy that is not the same on both sides; its name is its workload. */
export interface ProxyDrift extends Differs {
  readonly kind: 'Proxy';
  readonly name: SpiffeId;
  readonly here?: EnvoyProxy;
  readonly there?: EnvoyProxy;
}

/** Any document that differs. */
export type AnyDrift = PolicyDrift | RuleDrift | ProxyDrift;

/** How a directory and a control plane differ. */
export interface Drift {
  readonly policies: readonly PolicyDrift[];
  readonly rules: readonly RuleDrift[];
  readonly proxies: readonly ProxyDrift[];
  /** The same on both sides, and the control plane does not know yet that it is kept here. */
  readonly toAdopt: {
    readonly policies: readonly string[];
    readonly rules: readonly string[];
    readonly proxies: readonly SpiffeId[];
  };
  /** Documents there that are kept in other places, and no business of this directory. */
  readonly elsewhere: number;
  /** Documents there that were synced from here. */
  readonly owned: number;
}

export interface DriftInput {
  readonly here: Documents;
  readonly there: There;
  /** As `sourceNameOf` gives it. */
  readonly source: string;
  readonly past: (workload: SpiffeId, policy: string) => PolicyPast;
}

/** Compares both sides. A kind that neither the directory holds nor was ever synced from it is not compared. */
export function driftOf(input: DriftInput): Drift {
  const policies = policyDrift(input);
  const rules = ruleDrift(input);
  const proxies = proxyDrift(input);
  return {
    policies: policies.drift,
    rules: rules.drift,
    proxies: proxies.drift,
    toAdopt: { policies: policies.adopt, rules: rules.adopt, proxies: proxies.adopt },
    elsewhere: policies.elsewhere + rules.elsewhere + proxies.elsewhere,
    owned: policies.owned + rules.owned + proxies.owned,
  };
}

interface Compared<T, Name extends string = string> {
  drift: T[];
  readonly adopt: Name[];
  elsewhere: number;
  owned: number;
}

const isOf = (source: string, known: string | undefined) => known?.startsWith(source) === true;

function policyDrift({ here, there, source, past }: DriftInput): Compared<PolicyDrift> {
  const result: Compared<PolicyDrift> = { drift: [], adopt: [], elsewhere: 0, owned: 0 };
  const left = new Map(
    [...there.targets].flatMap(([workload, target]) =>
      target.map((policy) => [policyKey(workload, policy.metadata.name), { workload, policy }] as const),
    ),
  );
  for (const [key, { document, file }] of here.policies) {
    const workload = document.spec.protects.workload;
    const { name } = document.metadata;
    const known = past(workload, name);
    const ours = plainPolicy(document);
    const other = left.get(key)?.policy;
    left.delete(key);
    const theirs = other === undefined ? undefined : plainPolicy(other);
    const isOwned = isOf(source, known.synced?.source);
    if (isOwned && theirs !== undefined) result.owned++;
    const digest = {
      here: policyDigest(ours),
      there: theirs === undefined ? undefined : policyDigest(theirs),
    };
    if (theirs !== undefined && contentText(ours) === contentText(theirs)) {
      if (known.synced === undefined || (isOwned && known.synced.digest !== digest.here))
        result.adopt.push(key);
      continue;
    }
    const state = stateOf(isOwned, known, digest);
    result.drift.push({
      kind: 'AccessPolicy',
      state,
      workload,
      name,
      file,
      here: ours,
      ...(theirs === undefined ? {} : { there: theirs }),
      ...(known.last === undefined ? {} : { last: known.last }),
      ...(state === 'of-another' && known.synced !== undefined ? { of: known.synced.source } : {}),
    });
  }
  for (const { workload, policy } of left.values()) {
    const { name } = policy.metadata;
    const known = past(workload, name);
    const isOwned = isOf(source, known.synced?.source);
    if (known.synced !== undefined && !isOwned) {
      result.elsewhere++;
      continue;
    }
    if (isOwned) result.owned++;
    const theirs = plainPolicy(policy);
    const isChanged = isOwned && known.synced?.digest !== policyDigest(theirs);
    const state = isChanged ? 'gone-here-changed-there' : isOwned ? 'gone-here' : 'only-there';
    const last = known.last === undefined ? {} : { last: known.last };
    result.drift.push({ kind: 'AccessPolicy', state, workload, name, there: theirs, ...last });
  }
  return here.policies.size === 0 && result.owned === 0 ? { ...result, drift: [] } : result;
}

function stateOf(
  isOwned: boolean,
  { synced }: PolicyPast,
  digest: { readonly here: string; readonly there: string | undefined },
): DriftState {
  if (digest.there === undefined) return isOwned ? 'removed-there' : 'only-here';
  if (synced === undefined) return 'unknown';
  if (!isOwned) return 'of-another';
  if (synced.digest === digest.there) return 'changed-here';
  return synced.digest === digest.here ? 'changed-there' : 'changed-both';
}

function ruleDrift({ here, there, source }: DriftInput): Compared<RuleDrift> {
  const theirs = new Map(
    there.rules.map((rule) => [rule.metadata.name, { document: rule, mark: markOf(rule) }] as const),
  );
  const { drift, ...rest } = markedDrift(source, here.rules, theirs, isSameRule);
  return { ...rest, drift: drift.map((each) => ({ kind: 'IdentityRule', ...each })) };
}

function proxyDrift({ here, there, source }: DriftInput): Compared<ProxyDrift, SpiffeId> {
  const theirs = new Map(
    [...there.proxies].map(([name, { document, source: mark }]) => [name, { document, mark }] as const),
  );
  const isSame = (a: EnvoyProxy, b: EnvoyProxy | undefined) =>
    b !== undefined && contentText(a.document) === contentText(b.document);
  const { drift, ...rest } = markedDrift(source, here.proxies, theirs, isSame);
  return { ...rest, drift: drift.map((each) => ({ kind: 'Proxy', ...each })) };
}

type Marked<T, Name> = Differs & {
  readonly name: Name;
  readonly here?: T;
  readonly there?: NonNullable<T>;
};

/**
 * A document that says where it is kept is as the last sync left it: whatever else changes it replaces all of it, and the
 * note with it.
 */
function markedDrift<T extends object, There extends T | undefined, Name extends string>(
  source: string,
  here: ReadonlyMap<Name, { readonly document: T; readonly file: string }>,
  there: ReadonlyMap<Name, { readonly document: There; readonly mark: string | undefined }>,
  isSame: (a: T, b: There) => boolean,
): Compared<Marked<T, Name>, Name> {
  const result: Compared<Marked<T, Name>, Name> = { drift: [], adopt: [], elsewhere: 0, owned: 0 };
  const left = new Map(there);
  for (const [name, { document, file }] of here) {
    const other = left.get(name);
    left.delete(name);
    const mark = other?.mark;
    if (isOf(source, mark)) result.owned++;
    if (other !== undefined && isSame(document, other.document)) {
      if (mark === undefined) result.adopt.push(name);
      continue;
    }
    const state =
      other === undefined
        ? 'only-here'
        : isOf(source, mark)
          ? 'changed-here'
          : mark === undefined
            ? 'unknown'
            : 'of-another';
    result.drift.push({
      state,
      name,
      file,
      here: document,
      ...(other?.document === undefined ? {} : { there: other.document }),
      ...(state === 'of-another' && mark !== undefined ? { of: mark } : {}),
    });
  }
  for (const [name, { document, mark }] of left) {
    const isOwned = isOf(source, mark);
    if (mark !== undefined && !isOwned) {
      result.elsewhere++;
      continue;
    }
    if (isOwned) result.owned++;
    result.drift.push({
      state: isOwned ? 'gone-here' : 'only-there',
      name,
      ...(document === undefined ? {} : { there: document }),
    });
  }
  return here.size === 0 && result.owned === 0 ? { ...result, drift: [] } : result;
}
