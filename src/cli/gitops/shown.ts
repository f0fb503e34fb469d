import { unmarked } from './content.ts';
import { type AnyDrift, type Drift, type RuleDrift, STATES } from './drift.ts';
import { distanceText } from '../control/words.ts';
import { printable, type Terminal } from '../terminal.ts';
import { plural } from '../words.ts';
import { wrap } from '../wrap.ts';
import type { Applied, Plan, Source } from './apply.ts';
import { type Documents, NO_KIND, OTHER_KINDS } from './documents.ts';
import { type DiffLine, fieldsDiff, policyDiff } from './rule-diff.ts';

/** Lines of one document that are printed; --json has all. */
const MOST_LINES = 20;
/** Characters of such a line. */
const LINE_WIDTH = 76;
/** Documents that are printed in full. */
const MOST_SHOWN = 100;

/** The differences of one document, line by line. */
export function linesOf(each: AnyDrift): DiffLine[] {
  const lines =
    each.kind === 'AccessPolicy'
      ? policyDiff(each.there, each.here)
      : each.here === undefined || each.there === undefined
        ? []
        : each.kind === 'Proxy'
          ? fieldsDiff('', each.there.document, each.here.document)
          : fieldsDiff('', flat(each.there), flat(each.here));
  const isSilent = lines.length === 0 && each.here !== undefined && each.there !== undefined;
  return isSilent ? [{ sign: '~', text: 'a list stands in another order' }] : lines;
}

function flat(rule: NonNullable<RuleDrift['here']>): object {
  const { metadata, spec } = unmarked(rule);
  return { ...metadata, ...spec };
}

/** Where documents come from, in a line. */
export function sourceText({ name, commit, branch }: Source): string {
  const at = commit === undefined ? ', no commit' : ` at ${commit.slice(0, 12)}`;
  return `${name}${at}${branch === undefined ? '' : ` (${branch})`}`;
}

/** Drift for people: what a sync would make of what is there. */
export function tellDrift(terminal: Terminal, drift: Drift, now: number): void {
  const all: readonly AnyDrift[] = [...drift.policies, ...drift.rules, ...drift.proxies];
  if (drift.elsewhere > 0)
    terminal.prose(
      `${plural(drift.elsewhere, 'document')} there ${drift.elsewhere === 1 ? 'is' : 'are'} kept elsewhere and not looked at.`,
    );
  if (all.length === 0) {
    terminal.line(terminal.paint('green', 'No drift: both sides say the same.'));
    return;
  }
  terminal.heading(`DRIFT: ${plural(all.length, 'document')}`);
  terminal.prose('+ what a sync adds there, - what it takes away, ~ what it changes');
  for (const each of all.slice(0, MOST_SHOWN)) tellOne(terminal, each, now);
  if (all.length > MOST_SHOWN)
    terminal.line(`and ${plural(all.length - MOST_SHOWN, 'document')} more (--json lists all)`);
  terminal.line();
}

function tellOne(terminal: Terminal, each: AnyDrift, now: number): void {
  const { name, file, state, last, of } = each;
  const what =
    each.kind === 'AccessPolicy'
      ? `${name} for ${each.workload}`
      : `${each.kind === 'Proxy' ? 'Envoy of' : 'identity rule'} ${name}`;
  terminal.line();
  terminal.prose(
    `${what}: ${STATES[state].means}${of === undefined ? '' : ` (${of})`}${file === undefined ? '' : ` [${file}]`}`,
  );
  if (last !== undefined)
    terminal.prose(`there last by ${last.who}, ${distanceText(last.at, now)} (${last.act})`, 2);
  const lines = linesOf(each);
  for (const { sign, text } of lines.slice(0, MOST_LINES)) {
    const colour = ({ '+': 'green', '-': 'red', '~': 'yellow' } as const)[sign];
    for (const [i, part] of wrap(printable(text), LINE_WIDTH).entries())
      terminal.line(`  ${i === 0 ? terminal.paint(colour, sign) : ' '} ${part}`);
  }
  if (lines.length > MOST_LINES)
    terminal.line(`  and ${plural(lines.length - MOST_LINES, 'line')} more (--json lists all)`);
}

type Unread = Pick<Documents, 'others' | 'configuration' | 'leftOut'>;

/** What was not read, so that nobody takes it for read. */
export function tellLeftOut(terminal: Terminal, { others, configuration, leftOut }: Unread): void {
  for (const { path, why } of leftOut) terminal.remark(`Left out: ${path}, ${why}.`);
  for (const { path, what, option } of configuration)
    terminal.remark(
      `Not synced: ${path}, ${what}: the control plane reads its own file, "interlock up ${option}", when it starts.`,
    );
  if (others.size === 0) return;
  const kinds = [...others].map(([kind, n]) => {
    const of = kind === NO_KIND ? 'without a kind' : `of kind ${kind}`;
    const by = OTHER_KINDS.get(kind);
    return `${n} ${of}${by === undefined ? '' : ` (${by})`}`;
  });
  terminal.remark(`Not synced: ${kinds.join(', ')}.`);
}

/** What was done, and what was not and why. */
export function tellApplied(terminal: Terminal, applied: readonly Applied[]): void {
  for (const { workload, kind, created, changed, removed, warnings = [] } of applied) {
    const on = workload ?? (kind === 'Proxy' ? '(Proxy of an Envoy, in force)' : '(identity rule, in force)');
    for (const [word, names] of Object.entries({ created, changed, removed }))
      for (const name of names) terminal.prose(`${word.padEnd(9)}  ${name}  ${on}`);
    for (const warning of warnings) terminal.remark(`Warning: ${warning}.`);
  }
  const cut = applied.flatMap(({ authorsCut = [] }) => authorsCut);
  if (cut.length > 0)
    terminal.remark(
      `Not all authors of ${cut.slice(0, 5).join(', ')}${cut.length > 5 ? ', ...' : ''} are known, and so not all are kept from approving: the checkout has no further history (fetch-depth: 0 in GitHub Actions, GIT_DEPTH: 0 in GitLab).`,
    );
  const workloads = applied.filter(({ workload }) => workload !== undefined).length;
  if (workloads > 0)
    terminal.prose(
      `${plural(workloads, 'workload')} with a new target. What is in force stays until that is promoted.`,
    );
  else if (applied.length === 0) terminal.line('Nothing was changed there.');
}

/** What a plan does not do, and the word that makes it. */
export function tellNotDone(terminal: Terminal, { refused, left }: Plan): void {
  const names = (list: readonly AnyDrift[]) =>
    `${list
      .slice(0, 5)
      .map(({ name }) => name)
      .join(', ')}${list.length > 5 ? ', ...' : ''}`;
  if (refused.length > 0)
    terminal.complain(
      `${plural(refused.length, 'document')} not applied, because work that was done there would be lost: ${names(refused)}. --write-proposals brings what was changed there alone into the files; --overwrite goes over it`,
    );
  for (const flag of ['prune', 'prune-all'] as const) {
    const list = left.filter(({ state }) => STATES[state].needs === flag);
    if (list.length > 0)
      terminal.remark(
        `Left there: ${names(list)} (${plural(list.length, 'document')}). --${flag} takes them away.`,
      );
  }
}

/** The same for machines. */
export function sourceJson({ name, commit, branch }: Source): object {
  return {
    source: name,
    ...(commit === undefined ? {} : { commit }),
    ...(branch === undefined ? {} : { branch }),
  };
}

/** What was not read, for machines. */
export function leftOutJson({ leftOut, others, configuration }: Unread): object {
  return { leftOut, others: Object.fromEntries(others), configuration };
}

/** One document that differs, for machines. */
export function driftJson(each: AnyDrift): unknown {
  const { kind, name, state, file, last, of } = each;
  return {
    kind,
    ...(each.kind === 'AccessPolicy' ? { workload: each.workload } : {}),
    name,
    state,
    needs: STATES[state].needs ?? null,
    ...(file === undefined ? {} : { file }),
    ...(of === undefined ? {} : { of }),
    ...(last === undefined ? {} : { last: { ...last, at: new Date(last.at).toISOString() } }),
    lines: linesOf(each).map(({ sign, text }) => `${sign} ${text}`),
  };
}
