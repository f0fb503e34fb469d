import type { SpiffeId } from '../../access/index.ts';
import type { Received } from '../../api/index.ts';
import { type AccessPolicy, type Rule, writePolicies } from '../../policy/index.ts';
import { type Change, targetWith } from '../../rollout/index.ts';
import type { Api } from '../control/api.ts';
import { OutFiles } from '../files.ts';
import { countText, dayText, plural } from '../words.ts';
import { contentText, plainPolicy, unmarked, withoutEvidence } from './content.ts';
import { type Documents, type Located, policyKey } from './documents.ts';
import type { Drift, DriftInput, DriftState, PolicyDrift } from './drift.ts';
import { type Notes, patchPolicy } from './patch.ts';
import type { There } from './there.ts';
import { writeBelow } from './write.ts';

type Proposed = Received<'reviews.get'>['changes'][number];

/** A file that was written, and the rules of it that are other ones now. */
export interface Written {
  readonly file: string;
  readonly workload: SpiffeId;
  readonly isNew: boolean;
  readonly rules: readonly string[];
}

export interface WriteInput {
  readonly api: Api;
  readonly here: Documents;
  readonly there: There;
  readonly drift: Drift;
  /** As `sourceNameOf` gives it. */
  readonly source: string;
  readonly past: DriftInput['past'];
  /** Changes that are in doubt as well. */
  readonly withDoubts: boolean;
  readonly now: number;
}

/** States in which the work that was done there is newer than what is here. */
const TAKE_THERE: ReadonlySet<DriftState> = new Set(['changed-there', 'only-there']);
/** States in which nobody but a person can say which side is right. */
const ASK: ReadonlySet<DriftState> = new Set(['changed-both', 'unknown']);
/** States in which a policy there is none of this directory any more. */
const LEAVE_THERE: ReadonlySet<DriftState> = new Set(['gone-here', 'gone-here-changed-there']);

/**
 * Writes what was decided there since the last sync, and what is proposed, into the files of the policies; a policy without
 * one gets `NAMESPACE.NAME.yaml`. The control plane is left as it is. Says in a sentence what was not written, and why.
 */
export async function writeProposals(input: WriteInput): Promise<{ written: Written[]; skipped: string[] }> {
  const skipped: string[] = [];
  const edits = new Map<string, Edit[]>();
  for (const workload of await workloadsToWrite(input)) {
    const review = await input.api.call('reviews.get', { params: { workload } });
    const doubtful = review.changes.filter(({ doubt }) => doubt !== undefined).length;
    if (doubtful > 0 && !input.withDoubts)
      skipped.push(
        `${plural(doubtful, 'change')} of ${workload} left out, because in doubt: decide by "interlock review", or say --doubts.`,
      );
    if (review.isCut)
      skipped.push(`${workload} has more changes than were given: write again once these are decided.`);
    const changes = review.changes.filter(({ doubt }) => doubt === undefined || input.withDoubts);
    for (const edit of editsOf(input, workload, review.tier, changes, skipped))
      edits.set(edit.file, [...(edits.get(edit.file) ?? []), edit]);
  }
  return { written: [...edits].flatMap(([file, list]) => write(input.here, file, list)), skipped };
}

/** What becomes of one policy in one file. */
interface Edit {
  readonly file: string;
  readonly workload: SpiffeId;
  readonly at: Located<AccessPolicy> | undefined;
  readonly before: AccessPolicy;
  readonly after: AccessPolicy;
  readonly notes: Notes;
}

async function workloadsToWrite({ api, here, drift }: WriteInput): Promise<SpiffeId[]> {
  const found = new Set<SpiffeId>();
  for (let after: string | undefined; ; ) {
    const { reviews, next } = await api.call('reviews.list', { query: after === undefined ? {} : { after } });
    for (const { workload, counts } of reviews)
      if (counts.added + counts.widened + counts.removed + counts.doubts > 0) found.add(workload);
    if (next === undefined) break;
    after = next;
  }
  const kept = new Set([...here.policies.values()].map(({ document }) => document.spec.protects.workload));
  // A policy that never came from here is written where its workload is kept here.
  for (const { workload, state } of drift.policies)
    if (TAKE_THERE.has(state) && (state !== 'only-there' || kept.has(workload) || here.policies.size === 0))
      found.add(workload);
  return [...found].toSorted();
}

function editsOf(
  input: WriteInput,
  workload: SpiffeId,
  tier: AccessPolicy['spec']['tier'],
  changes: readonly Proposed[],
  skipped: string[],
): Edit[] {
  const { here, now } = input;
  const states = new Map(
    input.drift.policies.filter((each) => each.workload === workload).map((each) => [each.name, each]),
  );
  if (isKeptElsewhere(input, workload)) {
    skipped.push(`${workload} left out: policies of it are kept elsewhere.`);
    return [];
  }
  const base = baseOf(input, workload, states, skipped);
  // A policy without a rule would deny everything.
  if (base.length === 0 && changes.length === 0) return [];
  // The control plane says less of a change than it knows: what a rejection is of plays no part here.
  const made = changes.map((change): Change => ({ ...change, grants: [], evidence: evidenceOf(change) }));
  return targetWith(workload, base, made, tier).flatMap((policy) => {
    const { name } = policy.metadata;
    const at = here.policies.get(policyKey(workload, name));
    const before = at?.document ?? emptied(policy);
    const after = likeBefore(policy, at?.document);
    if (at !== undefined && contentText(before) === contentText(after)) return [];
    const old = new Map(
      (base.find(({ metadata }) => metadata.name === name) ?? before).spec.rules.map((rule) => [
        rule.name,
        rule,
      ]),
    );
    const notes = notesOf(policy, old, changes, now);
    return { file: at?.file ?? newFileOf(here, policy), workload, at, before, after, notes };
  });
}

/** Whether some policy of a workload was synced last from another source than this one. */
function isKeptElsewhere({ there, past, source }: WriteInput, workload: SpiffeId): boolean {
  return (there.targets.get(workload) ?? []).some(({ metadata }) => {
    const { synced } = past(workload, metadata.name);
    return synced !== undefined && !synced.source.startsWith(source);
  });
}

/** Each policy of a workload on the side on which it was changed last. */
function baseOf(
  { here, there }: WriteInput,
  workload: SpiffeId,
  states: ReadonlyMap<string, PolicyDrift>,
  skipped: string[],
): AccessPolicy[] {
  const base: AccessPolicy[] = [];
  const named = new Set<string>();
  for (const policy of there.targets.get(workload) ?? []) {
    const { name } = policy.metadata;
    named.add(name);
    const state = states.get(name)?.state;
    if (state !== undefined && LEAVE_THERE.has(state)) continue;
    if (state !== undefined && ASK.has(state))
      skipped.push(
        `${name} of ${workload}: different on both sides; what is here is kept, compare by --check.`,
      );
    const own = here.policies.get(policyKey(workload, name))?.document;
    base.push(own === undefined || (state !== undefined && TAKE_THERE.has(state)) ? unmarked(policy) : own);
  }
  for (const { document } of here.policies.values())
    if (document.spec.protects.workload === workload && !named.has(document.metadata.name))
      base.push(document);
  return base;
}

/** As it is to stand in a file: what rules rest on stays where it stands already, and is a comment where it is new. */
function likeBefore(policy: AccessPolicy, before: AccessPolicy | undefined): AccessPolicy {
  const known = new Map(
    [...(before?.spec.rules ?? []), ...(before?.spec.deny ?? [])].map((rule) => [rule.name, rule]),
  );
  const like = (rule: Rule): Rule => {
    const evidence = known.get(rule.name)?.evidence;
    return { ...withoutEvidence(rule), ...(evidence === undefined ? {} : { evidence }) };
  };
  const { rules, deny } = policy.spec;
  return { ...policy, spec: { ...policy.spec, rules: rules.map(like), deny: deny.map(like) } };
}

/** The document that a new file begins with. */
function emptied(policy: AccessPolicy): AccessPolicy {
  const plain = plainPolicy(policy);
  return { ...plain, spec: { ...plain.spec, rules: [], deny: [] } };
}

function newFileOf(
  { files }: Documents,
  { metadata: { namespace = 'default', name } }: AccessPolicy,
): string {
  const out = new OutFiles();
  // The names of all other files are taken.
  for (;;) {
    const file = out.add(namespace, name, '.yaml', '');
    if (!files.has(file)) return file;
  }
}

function write({ root, files }: Documents, file: string, edits: readonly Edit[]): Written {
  const before = files.get(file);
  let text = before ?? '';
  // The last one first: what is before it stays where it was read.
  const placed = edits.toSorted((a, b) => (b.at?.part.start ?? 0) - (a.at?.part.start ?? 0));
  for (const { at, before: was, after, notes } of placed) {
    if (at === undefined)
      text += `${text === '' ? '' : '---\n'}${patchPolicy(writePolicies([was]), was, after, notes)}`;
    else {
      const { start, text: own } = at.part;
      // What stands on the line of a marker goes below it.
      const below = start > 0 && text[start - 1] !== '\n' ? '\n' : '';
      text = `${text.slice(0, start)}${below}${patchPolicy(own, was, after, notes)}${text.slice(start + own.length)}`;
    }
  }
  writeBelow(root, file, text, before);
  const [first] = edits;
  if (first === undefined) throw new TypeError(`nothing is to be written into ${file}`);
  return { file, workload: first.workload, isNew: before === undefined, rules: edits.flatMap(changedRules) };
}

function changedRules({ before, after }: Edit): string[] {
  const rulesOf = ({ spec }: AccessPolicy) =>
    new Map([...spec.rules, ...spec.deny].map((rule) => [rule.name, contentText(rule)]));
  const [a, b] = [rulesOf(before), rulesOf(after)];
  return [...new Set([...a.keys(), ...b.keys()])].filter((name) => a.get(name) !== b.get(name));
}

/** What is said above each rule that is new or wider: what it rests on. */
function notesOf(
  policy: AccessPolicy,
  old: ReadonlyMap<string, Rule>,
  changes: readonly Proposed[],
  now: number,
): Notes {
  const notes = new Map<string, string[]>();
  const added = changes.filter(({ kind }) => kind === 'added');
  for (const rule of policy.spec.rules) {
    if (old.has(rule.name)) continue;
    const change = added.find(
      (each) =>
        contentText(each.rule.to) === contentText(rule.to) &&
        contentText(each.rule.from) === contentText(rule.from),
    );
    if (change !== undefined) notes.set(rule.name, noteOf('proposed', change, now));
  }
  for (const change of changes)
    if (change.kind === 'widened' && change.of?.policy === policy.metadata.name)
      notes.set(change.of.rule, noteOf('proposed to be widened', change, now));
  return notes;
}

function noteOf(word: string, { evidence, doubt }: Proposed, now: number): string[] {
  const { count, days, instances, sources, declared, lastSeen } = evidence;
  const parts = [
    count > 0
      ? `${countText(count)} ${count === 1 ? 'call' : 'calls'} on ${plural(days, 'day')} from ${plural(instances.length, 'instance')}`
      : 'never observed',
    ...(lastSeen === undefined ? [] : [`last ${dayText(lastSeen)}`]),
    ...(sources.length === 0 ? [] : [`seen by ${sources.join(', ')}`]),
    ...declared.slice(0, 3).map((where) => `declared in ${where}`),
  ];
  return [
    `${word} ${dayText(now)}: ${parts.join('; ')}`.slice(0, 500),
    ...(doubt === undefined ? [] : [`in doubt: ${doubt.reasons.join('; ')}`.slice(0, 500)]),
  ];
}

/** Evidence in the form of the rollout room, whose absent times are absent. */
function evidenceOf({ evidence }: Proposed): Change['evidence'] {
  return evidence;
}
