import type { SpiffeId } from '../../access/index.ts';
import type { Received } from '../../api/index.ts';
import type { IdentityRule } from '../../identity/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import type { Api } from '../control/api.ts';
import { type EnvoyProxy, policyKey } from './documents.ts';

/** Items of a page. */
const PAGE = 1000;
/** Entries of a workload's history that are looked through for the last sync. */
const MOST_ENTRIES = 1000;
/** Calls under way at one time. */
const AT_ONCE = 8;

/** Who did something to a workload, and when. */
export interface LastChange {
  readonly who: string;
  readonly at: number;
  readonly act: string;
}

/** What is known of one policy's past: what a sync left, and the last change of it. */
export interface PolicyPast {
  /** The digest that the last sync knew it by, and the source of that sync; undefined where none left it. */
  readonly synced?: { readonly source: string; readonly digest: string };
  readonly last?: LastChange;
}

/** What a control plane holds. */
export interface There {
  /** Versions of rollouts, by workload. */
  readonly versions: ReadonlyMap<SpiffeId, string>;
  /** Target sets, by workload. */
  readonly targets: ReadonlyMap<SpiffeId, readonly AccessPolicy[]>;
  /** Where a policy was synced from last, by `policyKey`. */
  readonly origins: ReadonlyMap<string, { readonly file: string; readonly commit?: string }>;
  readonly rules: readonly IdentityRule[];
  readonly rulesVersion: number;
  /** Proxy documents of Envoys, by workload, where they were asked for. */
  readonly proxies: ReadonlyMap<SpiffeId, ProxyThere>;
}

/** The Proxy document of an Envoy that a control plane holds. */
export interface ProxyThere {
  readonly text: string;
  /** Undefined for what cannot be read here. */
  readonly document: EnvoyProxy | undefined;
  /** The source that it was synced from; undefined where it was given by hand since. */
  readonly source: string | undefined;
}

/**
 * Reads what is there. The versions come first: what is changed while it is read is another version than the one that it
 * would be changed at, and so a conflict.
 */
export async function readThere(api: Api, withProxies = false): Promise<There> {
  const versions = new Map<SpiffeId, string>();
  for await (const { rollouts } of pages((query) => api.call('rollouts.list', { query })))
    for (const { workload, version } of rollouts) versions.set(workload, version);
  const targets = new Map<SpiffeId, AccessPolicy[]>();
  const origins = new Map<string, { readonly file: string; readonly commit?: string }>();
  for await (const { policies } of pages((query) => api.call('policies.list', { query }))) {
    for (const { workload, name, sets, document, origin } of policies) {
      if (!sets.includes('target')) continue;
      const list = targets.get(workload);
      if (origin !== undefined) origins.set(policyKey(workload, name), origin);
      if (list === undefined) targets.set(workload, [document]);
      else list.push(document);
    }
  }
  const rules: IdentityRule[] = [];
  let rulesVersion: number | undefined;
  for await (const page of pages((query) => api.call('rules.list', { query }))) {
    rulesVersion ??= page.version;
    // Documents, as the control plane keeps them.
    rules.push(...(page.rules as readonly IdentityRule[]));
  }
  return {
    versions,
    targets,
    origins,
    rules,
    rulesVersion: rulesVersion ?? 0,
    proxies: withProxies ? await readProxies(api) : new Map(),
  };
}

async function readProxies(api: Api): Promise<Map<SpiffeId, ProxyThere>> {
  const [{ proxies }, { knownProxy }] = await Promise.all([
    api.call('envoy-proxies.list'),
    import('./proxies.ts'),
  ]);
  return new Map(
    proxies.map(({ workload, text, origin }) => [
      workload,
      { text, document: knownProxy(text), source: origin?.source },
    ]),
  );
}

type Query = { readonly limit: number; readonly after?: string };

async function* pages<T extends { readonly next?: string | undefined }>(
  ask: (query: Query) => Promise<T>,
): AsyncGenerator<T> {
  for (let after: string | undefined; ; ) {
    const page = await ask({ limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield page;
    if (page.next === undefined) return;
    after = page.next;
  }
}

/** The past of the policies of a workload, as of a version of its rollout. */
export type Pasts = Map<SpiffeId, { readonly version: string; readonly of: (policy: string) => PolicyPast }>;

/**
 * Reads the past of policies, workload by workload. A workload that nothing has been done to has none. What is `known` of the
 * same version of a rollout is not asked for again: who only notes where a policy is kept changes no version, and forgets it.
 */
export async function readPasts(
  api: Api,
  versions: ReadonlyMap<SpiffeId, string>,
  known: Pasts = new Map(),
): Promise<Pasts> {
  const pasts: Pasts = new Map();
  const left: SpiffeId[] = [];
  for (const [workload, version] of versions) {
    const ready = known.get(workload);
    if (ready?.version === version) pasts.set(workload, ready);
    else left.push(workload);
  }
  const read = async () => {
    for (let workload = left.pop(); workload !== undefined; workload = left.pop()) {
      const query = { limit: MOST_ENTRIES };
      const { entries } = await api.call('history.get', { params: { workload }, query });
      const version = versions.get(workload) ?? '';
      pasts.set(workload, { version, of: (policy) => pastOf(policy, entries) });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, read));
  return pasts;
}

type Entry = Received<'history.get'>['entries'][number];

/** Acts that change what a target says. */
const CHANGES = /^(policy\.|review\.(approve|deny|edit)$)/;

/** The newest entries come first. */
function pastOf(policy: string, entries: readonly Entry[]): PolicyPast {
  let last: LastChange | undefined;
  for (const { who, at, act, details } of entries) {
    if (!CHANGES.test(act)) continue;
    const fields = recordOf(details);
    if (concerns(policy, act, fields)) last ??= { who, at, act };
    if (act !== 'policy.sync') continue;
    const mark = recordOf(fields['marks'])[policy];
    const source = fields['source'];
    if (typeof mark === 'string' && typeof source === 'string')
      return { synced: { source, digest: mark }, ...(last === undefined ? {} : { last }) };
    // A sync has taken it away: what was known of it before is over.
    if (listOf(fields['removed']).includes(policy)) break;
  }
  return last === undefined ? {} : { last };
}

/** Entries that list policies are about those alone; what was there already was not changed. */
function concerns(policy: string, act: string, fields: Readonly<Record<string, unknown>>): boolean {
  if (act !== 'policy.apply' && act !== 'policy.sync') return true;
  return ['created', 'changed', 'removed'].some((list) => listOf(fields[list]).includes(policy));
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  // A copy without a prototype: the names in it come from documents.
  return typeof value === 'object' && value !== null
    ? Object.assign(Object.create(null), value)
    : Object.create(null);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
