import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { AccessGraph, SpiffeId } from '../../access/index.ts';
import {
  accessUnits,
  type Doubt,
  propose,
  type Readiness,
  readiness,
  surprisesText,
} from '../../learning/index.ts';
import { TIERS, type Tier } from '../../policy/index.ts';
import { IDENTITY_FILE } from '../../store/index.ts';
import { type GateResult, judge, type TierVerdict } from '../../rollout/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  incidentOption,
  Option,
  spiffeIdOption,
  timeOption,
} from '../command.ts';
import { EXIT } from '../exit.ts';
import { type GatesOrigin, gatesOf } from '../gates-file.ts';
import { loadEstate } from '../state.ts';
import type { Terminal } from '../terminal.ts';
import { tierOfWorkload } from '../tiers.ts';
import { idName, plural, timeText } from '../words.ts';

interface Options extends CommonOptions {
  readonly to?: SpiffeId;
  readonly tier?: Tier;
  readonly gates?: string;
  readonly acknowledge?: readonly string[];
  readonly baselineEnd?: number;
  readonly incident?: readonly { from: number; to: number }[];
}

interface Judged {
  readonly readiness: Readiness;
  readonly tiers: readonly TierVerdict[];
}

/** `interlock readiness`: what is known of each workload, and what is missing before it may be enforced. */
export const readinessCommand: CommandSpec<Options> = {
  name: 'readiness',
  summary:
    'Judge the risk of enforcing: first-week surprises, calendar, blind spots, doubts, and the gates by tier.',
  options: [
    new Option('--to <id>', 'only this workload, in full').argParser(spiffeIdOption),
    new Option('--tier <tier>', 'only this tier; exit 3 if a workload is not ready for it').choices(TIERS),
    new Option(
      '--gates <file>',
      'thresholds (YAML by tier) instead of those of the control plane that serves the state; without one, the defaults',
    ),
    new Option('--acknowledge <id...>', 'blind spots that a person has acknowledged'),
    new Option('--baseline-end <time>', 'accesses first seen later are doubts (ISO 8601)').argParser(
      timeOption,
    ),
    new Option('--incident <start/end>', 'accesses seen only in this window are doubts').argParser(
      incidentOption,
    ),
  ],
  example: 'interlock readiness --to spiffe://example.org/ns/default/sa/cartservice',
  json: '{workloads: [{readiness: {workload, surprises, calendar, blindSpots, doubts, events, ...},\ntiers: [{tier, ready, gates: [{gate, state: passed|missing|later, have, need, what?}]}]}]}',
  async run({ terminal, now }, _args, options) {
    const { graph } = await loadEstate(options.state);
    const { gates, from } = await gatesOf({ state: options.state }, options.gates);
    const tiers = options.tier === undefined ? TIERS : [options.tier];
    const doubts = doubtsByCallee(graph, options);
    const judged = callees(graph, options.to).map((id): Judged => {
      const facts = judgedOf(graph, id, doubts.get(id) ?? [], options, now());
      return { readiness: facts, tiers: tiers.map((tier) => judge(facts, tier, gates)) };
    });
    if (options.json) terminal.json({ workloads: judged });
    else if (options.to === undefined) printAll(terminal, judged, graph);
    else for (const one of judged) printOne(terminal, one, graph);
    sayOrigin(terminal, from, options.state);
    sayUnknown(terminal, judged, options.acknowledge ?? []);
    const missing =
      options.tier !== undefined && judged.some(({ tiers }) => tiers.some(({ ready }) => !ready));
    return missing ? EXIT.found.code : EXIT.done.code;
  },
};

/** Whose thresholds these were, where a person may think that they were others. */
function sayOrigin(terminal: Terminal, from: GatesOrigin, state: string): void {
  if (from !== 'default' || !existsSync(join(state, IDENTITY_FILE))) return;
  terminal
    .aside()
    .prose('The control plane of this state does not run: these are the default gates, not its own.');
}

/** An acknowledgement that names no blind spot changes nothing: said, since a gate was meant to pass by it. */
function sayUnknown(terminal: Terminal, judged: readonly Judged[], acknowledged: readonly string[]): void {
  const open = new Set(judged.flatMap(({ readiness: { blindSpots } }) => blindSpots.map(({ id }) => id)));
  const unknown = acknowledged.filter((id) => !open.has(id)).map((id) => `"${id}"`);
  if (unknown.length > 0)
    terminal.aside().prose(`--acknowledge: there is no blind spot with the id ${unknown.join(', ')} here.`);
}

/** Workloads that anything calls, or is declared to call. */
function callees(graph: AccessGraph, only: SpiffeId | undefined): SpiffeId[] {
  if (only !== undefined) return [only];
  return [...new Set(graph.accesses.flatMap(({ to }) => (to.kind === 'workload' ? [to.id] : [])))];
}

function doubtsByCallee(graph: AccessGraph, options: Options): Map<SpiffeId, Doubt[]> {
  const { to, baselineEnd, incident } = options;
  const { doubts } = propose(graph, {
    ...(to === undefined ? {} : { to }),
    ...(baselineEnd === undefined ? {} : { baselineEnd }),
    ...(incident === undefined ? {} : { incidents: incident }),
  });
  return Map.groupBy(doubts, (doubt) => doubt.to);
}

/** Judged as of the end of what was recorded: the coming week is the one after it. */
function judgedOf(
  graph: AccessGraph,
  to: SpiffeId,
  doubts: readonly Doubt[],
  { acknowledge }: Options,
  now: number,
): Readiness {
  return readiness(graph, to, {
    now: Number.isFinite(graph.coverage.lastSeen) ? graph.coverage.lastSeen : now,
    units: accessUnits(graph, to),
    doubts: doubts.map(({ id, reasons }) => ({ id, reasons })),
    ...(acknowledge === undefined ? {} : { acknowledged: acknowledge }),
  });
}

function printAll(terminal: Terminal, judged: readonly Judged[], { trustDomain }: AccessGraph): void {
  const tiers = judged[0]?.tiers.map(({ tier }) => tier) ?? [];
  terminal.table(
    [
      [
        'WORKLOAD',
        'SURPRISES',
        'DAYS',
        'HOURS',
        'BLIND',
        'DOUBTS',
        ...tiers.map((tier) => tier.toUpperCase()),
      ],
      ...judged.map(({ readiness: r, tiers }) => [
        idName(r.workload, trustDomain),
        Number.isFinite(r.surprises.bound) ? `<= ${roundedUp(r.surprises.bound)}` : 'unknown',
        String(r.calendar.days),
        `${r.calendar.hoursOfWeek}/168`,
        String(r.blindSpots.length),
        String(r.doubts.length),
        ...tiers.map(({ ready, gates }) => (ready ? 'ready' : `missing ${missingOf(gates).length}`)),
      ]),
    ],
    { right: [2, 3, 4, 5], indent: 0 },
  );
  terminal.line();
  terminal.prose(
    'SURPRISES: accesses never seen before that may turn up in the first week (95 % bound). "ready" speaks of the evidence; shadow, approvals and the drill come later. In full: interlock readiness --to ID',
  );
}

/** The tier that the workload is marked with in full, the others in a line each. */
function printOne(terminal: Terminal, { readiness: r, tiers }: Judged, graph: AccessGraph): void {
  const { trustDomain } = graph;
  const workload = graph.workloads.get(r.workload);
  const ownTier = (workload === undefined ? undefined : tierOfWorkload(workload)) ?? 'standard';
  terminal.line(terminal.paint('bold', idName(r.workload, trustDomain)));
  terminal.prose(surprisesText(r.surprises), 2);
  terminal.prose(
    `Calendar: ${plural(r.calendar.days, 'day')}, ${r.calendar.hoursOfWeek} of 168 hours of the week` +
      `${r.calendar.missing === '' ? '' : `, missing ${r.calendar.missing} (UTC)`}; month's end ${r.calendar.monthEnd ? 'covered' : 'not covered'}.`,
    2,
  );
  if (r.lastDeployment !== undefined) {
    terminal.prose(
      `Last deployment of a caller: ${idName(r.lastDeployment.of, trustDomain)} at ${timeText(r.lastDeployment.at)}.`,
      2,
    );
  }
  if (r.blindSpots.length > 0) {
    terminal.heading('  Blind spots');
    for (const { id, what, toDo, acknowledged } of r.blindSpots) {
      terminal.prose(`${id}${acknowledged ? ' (acknowledged)' : ''}: ${what}. To do: ${toDo}.`, 4);
    }
    terminal.prose('To acknowledge one, give what stands before its colon: --acknowledge "KIND ..."', 4);
  }
  if (r.doubts.length > 0) {
    terminal.heading('  Doubts');
    for (const { id, reasons } of r.doubts) terminal.prose(`${id}: ${reasons.join('; ')}`, 4);
  }
  const own = tiers.length === 1 ? tiers[0]?.tier : ownTier;
  for (const { tier, ready, gates } of tiers) {
    const missing = missingOf(gates).map(({ gate }) => gate);
    const verdict = ready ? 'the evidence is enough' : `missing ${missing.join(', ')}`;
    if (tier !== own) {
      terminal.prose(`For tier ${tier}: ${verdict}. In full: --tier ${tier}`, 2);
      continue;
    }
    terminal.heading(`  For tier ${tier}: ${verdict}`);
    terminal.table([['GATE', 'STATE', 'HAVE', 'NEED', 'WHAT TO DO'], ...gates.map(gateRow)], { indent: 4 });
  }
  terminal.line();
}

/** Two figures after the point, rounded up: what is shown never looks better than what is compared. */
const roundedUp = (bound: number) => (Math.ceil(bound * 100 - 1e-9) / 100).toFixed(2);

const missingOf = (gates: readonly GateResult[]) => gates.filter(({ state }) => state === 'missing');

function gateRow(gate: GateResult): string[] {
  return [gate.gate, gate.state, gate.have, gate.need, gate.state === 'passed' ? '' : gate.what];
}
