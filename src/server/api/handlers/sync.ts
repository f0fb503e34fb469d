import { InterlockError, type SpiffeId } from '../../../access/index.ts';
import { type AccessPolicy, readPolicies } from '../../../policy/index.ts';
import { UNKNOWN_AUTHOR } from '../../../rollout/index.ts';
import type { Json } from '../../../store/index.ts';
import type { Checked } from '../../../api/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';
import type { Origin } from '../sync-origins.ts';
import { SyncTurns } from '../sync-turns.ts';
import { versionOf } from '../versions.ts';

/** What a sync makes of the target of one workload. */
interface Synced {
  readonly target: readonly AccessPolicy[];
  readonly created: string[];
  readonly changed: string[];
  readonly removed: string[];
  readonly unchanged: string[];
}

/** People and machines that have written of one target: beyond it is to be promoted before more is synced. */
const MOST_AUTHORS = 1000;

/** The target sets of workloads, as a directory of documents says them, and whose turn it is to say so. */
export function syncHandlers({
  enforcing,
  plane,
  syncOrigins,
  timers,
}: ApiParts): Handlers<'policies.sync' | 'syncs.list' | 'syncs.take'> {
  const { rollouts } = enforcing;
  const turns = new SyncTurns({ store: plane.store, recorder: plane.recorder, timers });
  return {
    'syncs.list': async () => ({ syncs: await turns.list() }),
    'syncs.take': ({ who, body }) => turns.take(who, body),
    'policies.sync': async ({ who, params: { workload }, body }) => {
      const { version, yaml, remove, removedBy, source, marks, origins } = body;
      await turns.check(source.name, source.holder);
      const policies = policiesFor(workload, yaml);
      const before = rollouts.all.get(workload);
      // Where nobody is protected yet, `null` is the version that was looked at.
      if ((before === undefined ? null : versionOf(before)) !== version)
        throw new InterlockError('conflict', workload, `${workload} was changed meanwhile: look again`);
      const { target, ...lists } = synced(workload, before?.target ?? [], policies, remove);
      checkMarks(workload, target, marks);
      const { name, commit, branch } = source;
      const checkedOut = {
        source: name,
        ...(commit === undefined ? {} : { commit }),
        ...(branch === undefined ? {} : { branch }),
      };
      const from = originsOf(target, marks, origins, { ...checkedOut, by: who, at: timers.now() });
      const authors = authorsOf(from, lists, { isCommitted: commit !== undefined, removedBy });
      const known = new Set([...(before?.authors ?? []), ...authors]);
      if (authors.length > 0 && known.size > MOST_AUTHORS)
        throw new InterlockError(
          'limit',
          workload,
          `more than ${MOST_AUTHORS} people have written of the target of ${workload}: promote it first`,
        );
      const details: { readonly [key: string]: Json } = {
        ...checkedOut,
        ...lists,
        marks,
        ...(authors.length === 0 ? {} : { authors }),
      };
      const keep = syncOrigins.change(workload, from, [...target, ...(before?.enforced ?? [])]);
      if (lists.created.length + lists.changed.length + lists.removed.length === 0) {
        // What is there already is from there from now on: the next sync knows what it has left here.
        const { recorder } = plane;
        await recorder.commit([keep], recorder.entry(who, 'policy.sync', workload, details));
        await recorder.within(syncOrigins.follow([workload]));
        return lists;
      }
      const order = {
        target,
        alsoBy: authors,
        decidedOn: before,
        act: 'policy.sync',
        details,
        also: [keep],
        onKept: () => {},
      };
      const { change } = await enforcing.following(() => rollouts.retarget(who, workload, order));
      await plane.recorder.within(syncOrigins.follow([workload]));
      return { ...lists, change };
    },
  };
}

type Sent = Checked<'policies.sync', 'body'>;
type SyncedPolicy = { readonly policy: AccessPolicy } & Omit<Origin, 'hash'>;

/** Where each policy comes from that is marked: its file is kept with it. Throws `usage` for one without a mark. */
function originsOf(
  target: readonly AccessPolicy[],
  marks: Sent['marks'],
  origins: Sent['origins'],
  all: Pick<Origin, 'source' | 'commit' | 'branch' | 'by' | 'at'>,
): ReadonlyMap<string, SyncedPolicy> {
  const marked = new Map(Object.entries(marks));
  const stranger = Object.keys(origins).find((name) => !marked.has(name));
  if (stranger !== undefined)
    throw new InterlockError('usage', stranger, `"${stranger}" has an origin, and is not marked`);
  const policies = new Map(target.map((policy) => [policy.metadata.name, policy]));
  return new Map(
    Object.entries(origins).flatMap(([name, { file, authors, authorsCut }]) => {
      const policy = policies.get(name);
      if (policy === undefined) return [];
      const cut = authorsCut === true ? { authorsCut } : {};
      return [[name, { ...all, policy, file, authors: [...authors], ...cut }] as const];
    }),
  );
}

/** Who has written of what is another one now. Of what the history does not tell, or of what has gone, somebody who is not known. */
function authorsOf(
  origins: ReadonlyMap<string, SyncedPolicy>,
  { created, changed, removed }: Pick<Synced, 'created' | 'changed' | 'removed'>,
  { isCommitted, removedBy }: { readonly isCommitted: boolean; readonly removedBy: Sent['removedBy'] },
): string[] {
  const told = [...created, ...changed].map((name) => origins.get(name));
  // What has changed without a new commit, as after a forced push back, somebody has changed all the same.
  const isUntold = told.some(
    (origin) => origin === undefined || origin.authorsCut === true || origin.authors.length === 0,
  );
  const isGone = removed.length > 0;
  const unknown = isCommitted && (isUntold || (isGone && removedBy === undefined)) ? [UNKNOWN_AUTHOR] : [];
  const gone = isGone ? (removedBy ?? []) : [];
  return [...new Set([...told.flatMap((origin) => origin?.authors ?? []), ...gone, ...unknown])];
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
