import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { type AccessPolicy, writePolicies } from '../../policy/index.ts';
import type { Api } from '../control/api.ts';
import { plural } from '../words.ts';
import { marked, policyDigest } from './content.ts';
import { type Authors, MOST_AUTHORS } from './authors.ts';
import { type Documents, type Located, policyKey } from './documents.ts';
import {
  type AnyDrift,
  type Consent,
  type Drift,
  type PolicyDrift,
  type ProxyDrift,
  type RuleDrift,
  STATES,
} from './drift.ts';
import type { There } from './there.ts';

/** Where the documents are from: the name of the source, what is checked out, and the run that has its turn. */
export interface Source {
  readonly name: string;
  readonly commit?: string;
  readonly branch?: string;
  readonly holder?: string;
}

/** What a sync has made of one workload, or of the rules for identities. */
export interface Applied {
  /** Undefined for rules. */
  readonly workload?: SpiffeId;
  /** Where it is not the target of the workload: what is in force at once. */
  readonly kind?: 'IdentityRule' | 'Proxy';
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  /** The change that proxies confirm. */
  readonly change?: string;
  /** Policies of which not all authors are known: the history in the checkout does not go as far. */
  readonly authorsCut?: readonly string[];
  /** Sentences on rules that give nothing, or less than they say. */
  readonly warnings?: readonly string[];
}

/** What was to be changed and was not, because somebody else was faster. */
export interface Conflict {
  readonly subject: string;
  readonly message: string;
}

/** What a sync does about a drift. */
export interface Plan {
  readonly policies: readonly PolicyDrift[];
  readonly rules: readonly RuleDrift[];
  readonly proxies: readonly ProxyDrift[];
  /** Held back: somebody's work there would be lost. */
  readonly refused: readonly AnyDrift[];
  /** Left there, because nobody asked to take it away. */
  readonly left: readonly AnyDrift[];
}

/** A consent includes those before it, except that overwriting takes nothing away. */
const INCLUDES: Readonly<Record<Consent, readonly Consent[]>> = {
  overwrite: ['overwrite'],
  prune: ['prune', 'prune-all'],
  'prune-all': ['prune-all'],
};

/**
 * What is done with these consents. A workload of which something is refused is left as it is, whole. Throws `limit` where
 * more than half of what was synced from here would go and nobody has said so in so many words.
 */
export function planOf(drift: Drift, consents: ReadonlySet<Consent>): Plan {
  const may = ({ state }: AnyDrift) => {
    const { needs } = STATES[state];
    return needs === undefined || INCLUDES[needs].some((consent) => consents.has(consent));
  };
  const isRefused = (each: AnyDrift) => !may(each) && STATES[each.state].needs === 'overwrite';
  const all: readonly AnyDrift[] = [...drift.policies, ...drift.rules, ...drift.proxies];
  const refused = all.filter(isRefused);
  const held = new Set(drift.policies.filter(isRefused).map(({ workload }) => workload));
  const policies = drift.policies.filter((each) => may(each) && !held.has(each.workload));
  const rules = drift.rules.some(isRefused) ? [] : drift.rules.filter(may);
  const proxies = drift.proxies.filter(may);
  const left = all.filter((each) => !may(each) && !isRefused(each));
  const going = [...policies, ...rules, ...proxies].filter(({ here }) => here === undefined).length;
  if (going * 2 > drift.owned && going > 1 && !consents.has('prune-all'))
    throw new InterlockError(
      'limit',
      'prune',
      `${going} of ${plural(drift.owned, 'document')} that came from here would be removed, more than half: look whether this is the right directory, and say --prune-all if it is`,
    );
  return { policies, rules, proxies, refused, left };
}

export interface ApplyInput {
  readonly api: Api;
  readonly here: Documents;
  readonly there: There;
  readonly drift: Drift;
  readonly plan: Plan;
  readonly source: Source;
  /** Who has written of the document in a file since it was synced last. */
  readonly authorsOf: (file: string, since: string | undefined) => Authors;
  /** Nothing more is begun once it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** What was done, what somebody else was faster with, and what it ended on, if it did not come to its end. */
export interface Result {
  readonly applied: readonly Applied[];
  readonly conflicts: readonly Conflict[];
  readonly failure?: InterlockError;
}

/** Does it, workload by workload, each whole and on the version that was looked at, or not at all. */
export async function apply(input: ApplyInput): Promise<Result> {
  const applied: Applied[] = [];
  const conflicts: Conflict[] = [];
  for (const step of stepsOf(input)) {
    if (input.signal?.aborted === true) break;
    try {
      const done = await step();
      if (done !== undefined) applied.push(done);
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      // Whoever is refused one thing is likely to be refused the next: what was done until then has to be told.
      if (error.code !== 'conflict' || error.details?.['turn'] !== undefined)
        return { applied, conflicts, failure: error };
      conflicts.push({ subject: error.subject, message: error.message });
    }
  }
  return { applied, conflicts };
}

/** Identities first: a policy may name what a rule gives. Then each workload with something to do or to adopt. */
function* stepsOf(input: ApplyInput): Generator<() => Promise<Applied | undefined>> {
  yield () => applyRules(input);
  const adopted = Map.groupBy(
    input.drift.toAdopt.policies.flatMap((key) => input.here.policies.get(key) ?? []),
    ({ document }) => document.spec.protects.workload,
  );
  const changed = Map.groupBy(input.plan.policies, ({ workload }) => workload);
  const held = new Set(
    input.plan.refused.flatMap((each) => (each.kind === 'AccessPolicy' ? [each.workload] : [])),
  );
  for (const workload of new Set([...changed.keys(), ...adopted.keys()])) {
    if (held.has(workload)) continue;
    yield () => applyWorkload(input, workload, changed.get(workload) ?? [], adopted.get(workload) ?? []);
  }
  // Last: what an Envoy listens to may need what came before.
  for (const { name, here } of input.plan.proxies)
    yield () => (here === undefined ? removeProxy(input, name) : applyProxy(input, name, true));
  for (const name of input.drift.toAdopt.proxies) yield () => applyProxy(input, name, false);
}

async function applyWorkload(
  input: ApplyInput,
  workload: SpiffeId,
  drift: readonly PolicyDrift[],
  adopt: readonly Located<AccessPolicy>[],
): Promise<Applied | undefined> {
  const { api, here, there, source } = input;
  const put = drift.flatMap(({ name }) => here.policies.get(policyKey(workload, name)) ?? []);
  const documents = put.map(({ document, file }) => marked(document, source.name, file));
  const kept = [...put, ...adopt];
  const marks = Object.fromEntries(
    kept.map(({ document }) => [document.metadata.name, policyDigest(document)]),
  );
  const origins = originsOf(input, workload, kept);
  const remove = drift.flatMap(({ name, here: document }) => (document === undefined ? [name] : []));
  const removedBy = removersOf(input, workload, remove);
  const done = await api.call('policies.sync', {
    params: { workload },
    body: {
      version: there.versions.get(workload) ?? null,
      yaml: writePolicies(documents),
      remove,
      ...(removedBy === undefined ? {} : { removedBy }),
      source,
      marks,
      origins,
    },
  });
  const { created, changed, removed, change } = done;
  if (created.length + changed.length + removed.length === 0) return undefined;
  const authorsCut = [...created, ...changed].filter((name) => origins[name]?.authorsCut === true);
  return {
    workload,
    created,
    changed,
    removed,
    ...(change === undefined ? {} : { change }),
    ...(authorsCut.length === 0 ? {} : { authorsCut }),
  };
}

type Origins = Readonly<
  Record<string, { readonly file: string; readonly authors: readonly string[]; readonly authorsCut?: true }>
>;

/** By policy: its file, and who has written of it since it was synced last. */
function originsOf(
  { there, authorsOf }: ApplyInput,
  workload: SpiffeId,
  located: readonly Located<AccessPolicy>[],
): Origins {
  return Object.fromEntries(
    located.map(({ document, file }) => {
      const { name } = document.metadata;
      const { authors, isCut } = authorsOf(file, there.origins.get(policyKey(workload, name))?.commit);
      return [name, { file, authors, ...(isCut ? { authorsCut: true as const } : {}) }];
    }),
  );
}

/** Who has taken policies away; undefined where the history does not tell all, as of one that never came from here. */
function removersOf(
  { there, authorsOf }: ApplyInput,
  workload: SpiffeId,
  names: readonly string[],
): string[] | undefined {
  const all = names.map((name) => {
    const origin = there.origins.get(policyKey(workload, name));
    return origin === undefined ? undefined : authorsOf(origin.file, origin.commit);
  });
  const authors = new Set(all.flatMap((each) => each?.authors ?? []));
  const isTold = all.every((each) => each?.isCut === false && each.authors.length > 0);
  return isTold && names.length > 0 && authors.size <= MOST_AUTHORS ? [...authors] : undefined;
}

/** Gives an Envoy its document: whoever was faster there is not gone over. `isNews`: it says something else than before. */
async function applyProxy(
  { api, here, there, source }: ApplyInput,
  workload: SpiffeId,
  isNews: boolean,
): Promise<Applied | undefined> {
  const located = here.proxies.get(workload);
  if (located === undefined) return undefined;
  const { document, file } = located;
  const { text: yaml } = document;
  const known = there.proxies.get(workload);
  const { change } = await api.call('envoy-proxies.apply', {
    body: { yaml, file, source, was: known?.text ?? null },
  });
  if (!isNews) return undefined;
  const lists =
    known === undefined ? { created: [workload], changed: [] } : { created: [], changed: [workload] };
  return { kind: 'Proxy', ...lists, removed: [], change };
}

async function removeProxy({ api }: ApplyInput, workload: SpiffeId): Promise<Applied> {
  await api.call('envoy-proxies.remove', { params: { workload } });
  return { kind: 'Proxy', created: [], changed: [], removed: [workload] };
}

async function applyRules({
  api,
  here,
  there,
  drift,
  plan,
  source,
}: ApplyInput): Promise<Applied | undefined> {
  const names = plan.rules.filter((each) => each.here !== undefined).map(({ name }) => name);
  const adopt = plan.refused.some(({ kind }) => kind === 'IdentityRule') ? [] : drift.toAdopt.rules;
  const rules = [...names, ...adopt].flatMap((name) => {
    const found = here.rules.get(name);
    return found === undefined ? [] : [marked(found.document, source.name, found.file)];
  });
  const remove = plan.rules.flatMap(({ name, here: kept }) => (kept === undefined ? [name] : []));
  if (rules.length + remove.length === 0) return undefined;
  const done = await api.call('rules.apply', {
    body: { rules, remove, source },
    ifMatch: String(there.rulesVersion),
  });
  const isNews = (name: string) => names.includes(name);
  return {
    kind: 'IdentityRule',
    created: done.created,
    changed: done.changed.filter(isNews),
    removed: done.removed ?? [],
    warnings: done.warnings,
  };
}
