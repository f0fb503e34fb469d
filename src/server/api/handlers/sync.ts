import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import { type AccessPolicy, readPolicies } from '../../../policy/index.ts';
import type { Json } from '../../../store/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';
import { versionOf } from '../versions.ts';

/** What a sync makes of the target of one workload. */
interface Synced {
  readonly target: readonly AccessPolicy[];
  readonly created: string[];
  readonly changed: string[];
  readonly removed: string[];
  readonly unchanged: string[];
}

/** The target sets of workloads, as a directory of documents says them. */
export function syncHandlers({ enforcing, plane }: ApiParts): Handlers<'policies.sync'> {
  const { rollouts } = enforcing;
  return {
    'policies.sync': async ({
      who,
      params: { workload },
      body: { version, yaml, remove, source, marks },
    }) => {
      const policies = policiesFor(workload, yaml);
      const before = rollouts.all.get(workload);
      // Where nobody is protected yet, `null` is the version that was looked at.
      if ((before === undefined ? null : versionOf(before)) !== version)
        throw new InterlockError('conflict', workload, `${workload} was changed meanwhile: look again`);
      const { target, ...lists } = synced(workload, before?.target ?? [], policies, remove);
      checkMarks(workload, target, marks);
      const { name, commit } = source;
      const details: { readonly [key: string]: Json } = {
        source: name,
        ...(commit === undefined ? {} : { commit }),
        ...lists,
        marks,
      };
      if (lists.created.length + lists.changed.length + lists.removed.length === 0) {
        // What is there already is from there from now on: the next sync knows what it has left here.
        const { recorder } = plane;
        await recorder.commit([], recorder.entry(who, 'policy.sync', workload, details));
        return lists;
      }
      const order = { target, decidedOn: before, act: 'policy.sync', details, also: [], onKept: () => {} };
      const { change } = await enforcing.following(() => rollouts.retarget(who, workload, order));
      return { ...lists, change };
    },
  };
}

function policiesFor(workload: SpiffeId, yaml: string): AccessPolicy[] {
  const policies = readPolicies(yaml);
  const stranger = policies.find(({ spec }) => spec.protects.workload !== workload);
  if (stranger === undefined) return policies;
  const { metadata, spec } = stranger;
  throw new InterlockError(
    'invalid_document',
    metadata.name,
    `"${metadata.name}" protects ${spec.protects.workload}, not ${workload}`,
  );
}

/** What is kept in the audit log for good is about policies that there are, and so bounded. Throws `usage`. */
function checkMarks(
  workload: SpiffeId,
  target: readonly AccessPolicy[],
  marks: Readonly<Record<string, string>>,
): void {
  const known = new Set(target.map(({ metadata }) => metadata.name));
  const stranger = Object.keys(marks).find((name) => !known.has(name));
  if (stranger === undefined) return;
  throw new InterlockError('usage', stranger, `"${stranger}" is marked, and is no policy of ${workload}`);
}

/** Throws `not_found` for a policy to be taken away that is not there, `usage` where one is given as well. */
function synced(
  workload: SpiffeId,
  before: readonly AccessPolicy[],
  policies: readonly AccessPolicy[],
  remove: readonly string[],
): Synced {
  const target = new Map(before.map((policy) => [policy.metadata.name, policy]));
  const lists = { created: [], changed: [], removed: [], unchanged: [] } as Record<
    'created' | 'changed' | 'removed' | 'unchanged',
    string[]
  >;
  for (const name of remove) {
    if (!target.delete(name))
      throw new InterlockError('not_found', name, `${workload} has no policy "${name}"`);
    lists.removed.push(name);
  }
  for (const policy of policies) {
    const { name } = policy.metadata;
    if (lists.removed.includes(name))
      throw new InterlockError('usage', name, `"${name}" is both given and to be taken away`);
    const known = target.get(name);
    const isSame = JSON.stringify(known) === JSON.stringify(policy);
    lists[known === undefined ? 'created' : isSame ? 'unchanged' : 'changed'].push(name);
    target.set(name, policy);
  }
  return { target: [...target.values()], ...lists };
}
