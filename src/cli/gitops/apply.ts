import { InterlockError, isInterlockError, type SpiffeId } from '../../access/index.ts';
import { writePolicies } from '../../policy/index.ts';
import type { Api } from '../control/api.ts';
import { plural } from '../words.ts';
import { marked, policyDigest } from './content.ts';
import { type Documents, policyKey } from './documents.ts';
import { type Consent, type Drift, type PolicyDrift, type RuleDrift, STATES } from './drift.ts';
import type { There } from './there.ts';

/** Where the documents are from: the name of the source, and the commit that is checked out. */
export interface Source {
  readonly name: string;
  readonly commit?: string;
}

/** What a sync has made of one workload, or of the rules for identities. */
export interface Applied {
  /** Undefined for rules. */
  readonly workload?: SpiffeId;
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  /** The change that proxies confirm. */
  readonly change?: string;
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
  /** Held back: somebody's work there would be lost. */
  readonly refused: readonly (PolicyDrift | RuleDrift)[];
  /** Left there, because nobody asked to take it away. */
  readonly left: readonly (PolicyDrift | RuleDrift)[];
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
  const may = ({ state }: PolicyDrift | RuleDrift) => {
    const { needs } = STATES[state];
    return needs === undefined || INCLUDES[needs].some((consent) => consents.has(consent));
  };
  const isRefused = (each: PolicyDrift | RuleDrift) => !may(each) && STATES[each.state].needs === 'overwrite';
  const refused = [...drift.policies, ...drift.rules].filter(isRefused);
  const held = new Set(drift.policies.filter(isRefused).map(({ workload }) => workload));
  const policies = drift.policies.filter((each) => may(each) && !held.has(each.workload));
  const rules = drift.rules.some(isRefused) ? [] : drift.rules.filter(may);
  const left = [...drift.policies, ...drift.rules].filter((each) => !may(each) && !isRefused(each));
  const going = [...policies, ...rules].filter(({ here }) => here === undefined).length;
  if (going * 2 > drift.owned && going > 1 && !consents.has('prune-all'))
    throw new InterlockError(
      'limit',
      'prune',
      `${going} of ${plural(drift.owned, 'document')} that came from here would be removed, more than half: look whether this is the right directory, and say --prune-all if it is`,
    );
  return { policies, rules, refused, left };
}

export interface ApplyInput {
  readonly api: Api;
  readonly here: Documents;
  readonly there: There;
  readonly drift: Drift;
  readonly plan: Plan;
  readonly source: Source;
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
    try {
      const done = await step();
      if (done !== undefined) applied.push(done);
    } catch (error) {
      if (!isInterlockError(error)) throw error;
      // Whoever is refused one thing is likely to be refused the next: what was done until then has to be told.
      if (error.code !== 'conflict') return { applied, conflicts, failure: error };
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
  const held = new Set(input.plan.refused.flatMap((each) => ('workload' in each ? [each.workload] : [])));
  for (const workload of new Set([...changed.keys(), ...adopted.keys()])) {
    if (held.has(workload)) continue;
    const adopt = (adopted.get(workload) ?? []).map(({ document }) => document);
    yield () => applyWorkload(input, workload, changed.get(workload) ?? [], adopt);
  }
}

async function applyWorkload(
  { api, here, there, source }: ApplyInput,
  workload: SpiffeId,
  drift: readonly PolicyDrift[],
  adopt: readonly NonNullable<PolicyDrift['here']>[],
): Promise<Applied | undefined> {
  const put = drift.flatMap(({ name }) => here.policies.get(policyKey(workload, name)) ?? []);
  const documents = put.map(({ document, file }) => marked(document, source.name, file));
  const marks = Object.fromEntries(
    [...put.map(({ document }) => document), ...adopt].map((policy) => [
      policy.metadata.name,
      policyDigest(policy),
    ]),
  );
  const done = await api.call('policies.sync', {
    params: { workload },
    body: {
      version: there.versions.get(workload) ?? null,
      yaml: writePolicies(documents),
      remove: drift.flatMap(({ name, here: kept }) => (kept === undefined ? [name] : [])),
      source,
      marks,
    },
  });
  const { created, changed, removed, change } = done;
  if (created.length + changed.length + removed.length === 0) return undefined;
  return { workload, created, changed, removed, ...(change === undefined ? {} : { change }) };
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
    created: done.created,
    changed: done.changed.filter(isNews),
    removed: done.removed ?? [],
    warnings: done.warnings,
  };
}
