import { kubernetesNameOf, principalText, shortNameOf, type SpiffeId } from '../../access/index.ts';
import { type Doubt, type Proposal, propose } from '../../learning/index.ts';
import { writePolicies } from '../../policy/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  incidentOption,
  Option,
  spiffeIdOption,
  timeOption,
} from '../command.ts';
import { EXIT } from '../exit.ts';
import { DOUBTS_ENDING, DOUBTS_FILE, isDoubtsFile, leftFrom, OutFiles, writeFiles } from '../files.ts';
import { loadEstate, unknownWorkload } from '../state.ts';
import type { Terminal } from '../terminal.ts';
import { tierOfWorkload } from '../tiers.ts';
import { idName, nameOf, plural } from '../words.ts';
import { yamlText } from '../yaml.ts';

interface Options extends CommonOptions {
  readonly to?: SpiffeId;
  readonly out?: string;
  readonly accept?: readonly string[];
  readonly baselineEnd?: number;
  readonly incident?: readonly { from: number; to: number }[];
}

/** `interlock propose`: AccessPolicy documents that allow what was observed or declared, and nothing else. */
export const proposeCommand: CommandSpec<Options> = {
  name: 'propose',
  summary: 'Propose least-privilege policies, one per protected workload, with the evidence of every rule.',
  options: [
    new Option('--to <id>', 'only for this workload').argParser(spiffeIdOption),
    new Option('--out <dir>', `write one file per workload, and ${DOUBTS_FILE}, instead of printing`),
    new Option('--accept <doubt...>', 'make these doubts into rules (their ids, or "all")'),
    new Option('--baseline-end <time>', 'accesses first seen later are doubts (ISO 8601)').argParser(
      timeOption,
    ),
    new Option('--incident <start/end>', 'accesses seen only in this window are doubts').argParser(
      incidentOption,
    ),
  ],
  example: 'interlock propose --out policies/',
  json: '{policies: [AccessPolicy], doubts: [{id, from, to, action, codes, reasons, evidence, rule?}],\nremarks: [{workload?, what}], covered: {accesses, calls, observed, declared, doubts, neverReached, outside}}',
  async run({ terminal }, _args, options) {
    const { graph } = await loadEstate(options.state);
    const { accept = [], baselineEnd, incident } = options;
    if (options.to !== undefined && !graph.workloads.has(options.to)) throw unknownWorkload(options.to);
    const unused = new Set(accept.filter((id) => id !== 'all'));
    const proposal = propose(graph, {
      ...(options.to === undefined ? {} : { to: options.to }),
      ...(baselineEnd === undefined ? {} : { baselineEnd }),
      ...(incident === undefined ? {} : { incidents: incident }),
      tierOf: tierOfWorkload,
      accept: (id) => unused.delete(id) || accept.includes('all') || accept.includes(id),
    });
    const files = proposalFiles(proposal, options.to);
    if (options.out !== undefined) writeFiles(options.out, files);
    if (options.json) terminal.json({ ...proposal, doubts: proposal.doubts.map(doubtJson) });
    else print(terminal, proposal, files, options.out, graph.trustDomain);
    if (options.out !== undefined && options.to === undefined) sayLeft(terminal, options.out, files);
    sayUnported(terminal, proposal);
    // No error: more evidence may have made a rule of it since the command was written down.
    if (unused.size > 0)
      terminal.aside().prose(`--accept: there is no doubt with the id ${[...unused].join(', ')} here.`);
    return EXIT.done.code;
  },
};

function sayLeft(terminal: Terminal, out: string, files: ReadonlyMap<string, string>): void {
  const left = leftFrom(out, files);
  if (left.length === 0) return;
  terminal
    .aside()
    .prose(
      `In ${out} are ${plural(left.length, 'file')} that this proposal did not write and that count as policies there: ${left.slice(0, 5).join(', ')}${left.length > 5 ? ', ...' : ''}. Remove what is out of date.`,
    );
}

function sayUnported(terminal: Terminal, { policies }: Proposal): void {
  const open = policies.flatMap(({ spec }) =>
    spec.rules.filter(({ to }) => to.some(({ ports }) => ports === undefined)),
  );
  if (open.length === 0) return;
  terminal
    .aside()
    .prose(
      `${plural(open.length, 'rule')} ${open.length === 1 ? 'names' : 'name'} no port, because the recording states none: they allow any. Observe the manifests as well, and the ports are known.`,
    );
}

/** A proposal for one workload leaves the doubts about the others where they are. */
function proposalFiles({ policies, doubts }: Proposal, only: SpiffeId | undefined): Map<string, string> {
  const out = new OutFiles();
  for (const policy of policies) {
    const { namespace = 'default', name } = policy.metadata;
    out.add(namespace, name, '.yaml', writePolicies([policy]));
  }
  if (only === undefined) return out.files.set(DOUBTS_FILE, doubtsText(doubts));
  const namespace = kubernetesNameOf(only)?.namespace ?? 'default';
  out.add(namespace, shortNameOf(only), DOUBTS_ENDING, doubtsText(doubts));
  return out.files;
}

function doubtsText(doubts: readonly Doubt[]): string {
  const head = '# Accesses that were not made into rules. Accept one with: interlock propose --accept ID\n';
  return `${head}${yamlText(doubts.map(doubtJson))}`;
}

const doubtJson = ({ id, from, ...doubt }: Doubt) => ({ id, from: principalText(from), ...doubt });

function print(
  terminal: Terminal,
  { policies, doubts, remarks }: Proposal,
  files: ReadonlyMap<string, string>,
  out: string | undefined,
  trustDomain: string,
): void {
  if (out === undefined) {
    for (const [name, text] of files) if (!isDoubtsFile(name)) terminal.out.write(`---\n${text}`);
    printRemarks(terminal.aside(), { policies, doubts, remarks }, trustDomain);
  } else {
    printTable(terminal, policies, trustDomain);
    terminal.line();
    terminal.prose(
      `Wrote ${plural(policies.length, 'policy', 'policies')} to ${out}, one file each; doubts are in ${[...files.keys()].find(isDoubtsFile)}.`,
    );
    printRemarks(terminal, { policies, doubts, remarks }, trustDomain);
  }
}

function printTable(terminal: Terminal, policies: Proposal['policies'], trustDomain: string): void {
  if (policies.length === 0) return;
  terminal.table([
    ['PROTECTS', 'TIER', 'RULES', 'FROM', 'DECLARED ONLY'],
    ...policies.map((policy) => {
      const { rules, protects, tier } = policy.spec;
      const callers = new Set(rules.flatMap((rule) => rule.from.map((from) => JSON.stringify(from))));
      const declared = rules.filter((rule) => rule.evidence?.count === 0).length;
      const name = idName(protects.workload, trustDomain);
      return [name, tier, `${rules.length}`, plural(callers.size, 'caller'), `${declared || '-'}`];
    }),
  ]);
}

function printRemarks(
  terminal: Terminal,
  { policies, doubts, remarks }: Pick<Proposal, 'policies' | 'doubts' | 'remarks'>,
  trustDomain: string,
): void {
  if (policies.length === 0) terminal.prose('No policy can be proposed from what is recorded here.');
  if (doubts.length > 0) {
    terminal.heading(`DOUBTS, not made into rules: ${doubts.length}`);
    terminal.table([
      ['ID', 'FROM', 'TO', 'ACTION', 'WHY'],
      ...doubts.map((doubt) => [
        doubt.id,
        nameOf(doubt.from, trustDomain),
        idName(doubt.to, trustDomain),
        doubt.action,
        doubt.reasons.join('; '),
      ]),
    ]);
  }
  if (remarks.length > 0) {
    terminal.heading('REMARKS');
    for (const { workload, what } of remarks) {
      terminal.prose(workload === undefined ? what : `${idName(workload, trustDomain)}: ${what}`, 2);
    }
  }
}
