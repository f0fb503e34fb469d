import { basename } from 'node:path';
import {
  type AccessGraph,
  BLIND_SPOTS,
  type InterlockError,
  type KnownBlindSpot,
  principalText,
  type SpiffeId,
  trustDomainOf,
} from '../access/index.ts';
import type { Recording } from '../store/index.ts';
import { printable, type Terminal } from './terminal.ts';
import { countText, idName, nameOf, plural, spanText, timeText } from './words.ts';

/** What one `observe` did with its files. */
export interface Taken {
  readonly recordings: Recording[];
  /** Files that were taken in before. */
  readonly known: string[];
  readonly failed: { readonly files: readonly string[]; readonly error: InterlockError }[];
}

const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);

/** Prints what was read, accepted and skipped, and what the state now holds. */
export function printObserved(terminal: Terminal, taken: Taken, graph: AccessGraph, json: boolean): void {
  if (json) terminal.json(observedJson(taken, graph));
  else {
    printRecordings(terminal, taken);
    // Where nothing was taken in and there was nothing before, zeros would only hide what went wrong.
    if (graph.workloads.size + graph.accesses.length > 0 || taken.failed.length === 0)
      printEstate(terminal, graph);
  }
  for (const { error } of taken.failed) {
    if (!json) terminal.complain(error.message);
  }
}

function observedJson({ recordings, known, failed }: Taken, graph: AccessGraph): unknown {
  return {
    files: [
      ...recordings.flatMap(({ format, files }) =>
        files.map(({ name }) => ({ file: name, format, state: 'taken' })),
      ),
      ...known.map((file) => ({ file, state: 'known' })),
      ...failed.flatMap(({ files, error: { code, message } }) =>
        files.map((file) => ({ file, state: 'failed', error: { code, message } })),
      ),
    ],
    recordings: recordings.map(({ format, read, accepted, skips, lost }) => ({
      format,
      read,
      accepted,
      skips,
      lost: Object.fromEntries(lost),
    })),
    totals: {
      read: sum(recordings.map(({ read }) => read)),
      accepted: sum(recordings.map(({ accepted }) => accepted)),
      skipped: sum(recordings.flatMap(({ skips }) => skips.map(({ count }) => count))),
      lost: sum(recordings.flatMap(({ lost }) => [...lost.values()])),
      identities: graph.workloads.size,
      accesses: graph.accesses.length,
    },
    sharedAccounts: graph.sharedAccounts,
    blindSpots: graph.blindSpots.map(blindSpotJson),
  };
}

function printRecordings(terminal: Terminal, { recordings, known, failed }: Taken): void {
  if (recordings.length > 0) {
    terminal.table(
      [
        ['FILE', 'FORMAT', 'READ', 'ACCEPTED', 'SKIPPED', 'LOST', 'FROM', 'TO'],
        ...recordings.map(({ files, format, read, accepted, skips, lost, firstSeen, lastSeen }) => [
          files.map(({ name }) => basename(name)).join(' '),
          format,
          countText(read),
          countText(accepted),
          countText(sum(skips.map(({ count }) => count))),
          countText(sum(lost.values())),
          timeText(firstSeen),
          timeText(lastSeen),
        ]),
      ],
      { right: [2, 3, 4, 5], indent: 0 },
    );
  }
  for (const file of known) terminal.line(`${printable(file)}: taken in before, not counted again.`);
  for (const { files } of failed)
    terminal.line(`${files.map(printable).join(', ')}: failed, nothing of it was taken in.`);
  const skipped = recordings.flatMap(({ files, skips }) =>
    skips.map((skip) => ({ file: files[0]?.name ?? '', skip })),
  );
  if (skipped.length > 0) {
    terminal.heading('SKIPPED');
    terminal.table(
      [
        ['COUNT', 'REASON', 'FIRST', 'SAMPLE'],
        ...skipped.map(({ file, skip: { count, reason, firstLine, sample } }) => [
          countText(count),
          reason,
          firstLine > 0 ? `${basename(file)}:${firstLine}` : basename(file),
          sample.length > 60 ? `${sample.slice(0, 57)}...` : sample,
        ]),
      ],
      { right: [0] },
    );
  }
}

/** Blind spots that are printed of each kind; --json has all. */
const SHOWN_OF_A_KIND = 6;

function printBlindSpots(terminal: Terminal, { blindSpots, trustDomain }: AccessGraph): void {
  if (blindSpots.length === 0) return;
  terminal.heading('BLIND SPOTS: what happened and was not fully seen');
  for (const [kind, spots] of Map.groupBy(blindSpots, (spot) => spot.kind)) {
    terminal.prose(`${kind}: ${BLIND_SPOTS[kind]}`, 2);
    terminal.table(
      spots
        .slice(0, SHOWN_OF_A_KIND)
        .map(({ from, to, what, count }) => [
          countText(count),
          nameOf(from, trustDomain),
          '->',
          nameOf(to, trustDomain),
          what,
        ]),
      { indent: 4, right: [0], heading: false },
    );
    const more = spots.length - SHOWN_OF_A_KIND;
    if (more > 0) terminal.line(`    and ${countText(more)} more (--json lists all)`);
  }
}

function blindSpotJson({ kind, from, to, what, count, firstSeen, lastSeen }: KnownBlindSpot): unknown {
  const time = (ms: number) => (Number.isFinite(ms) ? new Date(ms).toISOString() : null);
  return {
    kind,
    from: principalText(from),
    to: principalText(to),
    what,
    count,
    firstSeen: time(firstSeen),
    lastSeen: time(lastSeen),
  };
}

/** "15: 8 in trust domain example.org, 7 in others"; one number where there is one domain. */
function identitiesText({ workloads, trustDomain }: AccessGraph): string {
  const own = [...workloads.keys()].filter((id) => trustDomainOf(id) === trustDomain).length;
  const others = workloads.size - own;
  const all = countText(workloads.size);
  return others === 0
    ? `${all} in trust domain ${trustDomain}`
    : `${all}: ${countText(own)} in trust domain ${trustDomain}, ${countText(others)} in others`;
}

/** Identities named in a line at most. */
const NAMESAKES_SHOWN = 3;

/**
 * One name in two trust domains is most often one workload: a recording says its whole identity, and manifests are read as of
 * the state's own trust domain. Nothing that was declared meets what was observed then.
 */
function printNamesakes(terminal: Terminal, { workloads, trustDomain }: AccessGraph): void {
  const ids = [...workloads.keys()];
  const pathOf = (id: SpiffeId) => id.slice(`spiffe://${trustDomainOf(id)}`.length);
  const own = new Map(ids.filter((id) => trustDomainOf(id) === trustDomain).map((id) => [pathOf(id), id]));
  const foreign = ids.filter((id) => trustDomainOf(id) !== trustDomain && own.has(pathOf(id)));
  for (const [domain, all] of Map.groupBy(foreign, trustDomainOf)) {
    const names = all.slice(0, NAMESAKES_SHOWN).map((id) => idName(own.get(pathOf(id)) ?? id, trustDomain));
    const more = all.length > names.length ? ` and ${countText(all.length - names.length)} more` : '';
    terminal.line();
    terminal.line(terminal.paint('yellow', `ANOTHER TRUST DOMAIN: ${printable(domain)}`));
    terminal.prose(
      `${names.join(', ')}${more} ${all.length === 1 ? 'is' : 'are'} known in ${domain} and in ${trustDomain}, as different ` +
        'workloads. If they are the same, this state has the wrong trust domain. Begin one with the right one: ' +
        `--trust-domain ${domain} --state DIR`,
      2,
    );
  }
}

function printEstate(terminal: Terminal, graph: AccessGraph): void {
  const { workloads, accesses, coverage, sharedAccounts } = graph;
  const seen = (view: 'observed' | 'declared') => accesses.filter(({ views }) => views.includes(view)).length;
  terminal.heading('THE STATE NOW');
  const rows = [
    ['identities', identitiesText(graph)],
    [
      'accesses',
      `${countText(accesses.length)}: ${countText(seen('observed'))} observed, ${countText(seen('declared'))} declared`,
    ],
    [
      'time covered',
      Number.isFinite(coverage.firstSeen)
        ? `${timeText(coverage.firstSeen)} to ${timeText(coverage.lastSeen)} (${spanText(coverage.lastSeen - coverage.firstSeen)})`
        : 'none',
    ],
    ['events known lost', countText(coverage.lost)],
  ];
  for (const [name = '', value = ''] of rows) terminal.line(`  ${name.padEnd(18)} ${value}`);
  if (workloads.size === 0 && accesses.length > 0) {
    terminal.line();
    terminal.prose(
      'NO CALL HAS A CALLER OR A CALLEE WITH A NAME: the recordings hold addresses only. Give the pods that held ' +
        'them at that time: kubectl get pods,deployments,services,configmaps,cronjobs -A -o json | interlock observe -',
    );
  }
  printBlindSpots(terminal, graph);
  printNamesakes(terminal, graph);
  for (const { namespace, serviceAccount, workloads } of sharedAccounts) {
    terminal.line();
    const account = printable(`${namespace}/${serviceAccount}`);
    terminal.line(terminal.paint('yellow', `SHARED SERVICE ACCOUNT: ${account}`));
    terminal.prose(
      `${plural(workloads.length, 'workload')} run under it and cannot be told apart by identity: ${workloads.join(', ')}. ` +
        'They are kept apart here by workload name. Give each an account of its own: interlock identities --out DIR',
      2,
    );
  }
}
