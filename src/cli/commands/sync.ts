import { InterlockError } from '../../access/index.ts';
import { type CommandSpec, type Context, InvalidArgumentError, Option } from '../command.ts';
import { Api } from '../control/api.ts';
import { type ApiOptions, durationOption, SERVER } from '../control/options.ts';
import { EXIT } from '../exit.ts';
import type { Consent, Drift } from '../gitops/drift.ts';
import { compareSides, type Done, type PassInput, readHere, runPass, type Sides } from '../gitops/pass.ts';
import { writeProposals } from '../gitops/proposals.ts';
import {
  driftJson,
  leftOutJson,
  sourceJson,
  sourceText,
  tellApplied,
  tellDrift,
  tellLeftOut,
  tellNotDone,
} from '../gitops/shown.ts';
import { Turn } from '../gitops/turn.ts';
import { watchTeller } from '../gitops/watch-teller.ts';
import type { Terminal } from '../terminal.ts';
import { untilStopped } from '../until-stopped.ts';
import { plural } from '../words.ts';

interface Options extends ApiOptions {
  readonly check?: true;
  readonly overwrite?: true;
  readonly prune?: true;
  readonly pruneAll?: true;
  readonly writeProposals?: true;
  readonly doubts?: true;
  readonly source?: string;
  readonly watch?: true;
  readonly envoy?: true;
  readonly interval?: number;
}

/** How often a watched directory and the control plane are compared without an event; milliseconds. */
const DEFAULT_INTERVAL_MS = 30_000;
const LEAST_INTERVAL_MS = 1000;
/** How long the end waits for calls that are under way, milliseconds: orchestrators kill after thirty seconds. */
const LATE_MS = 10_000;

/** `interlock sync DIR`: documents of a directory or Git checkout to a control plane, and proposals back. */
export const syncCommand: CommandSpec<Options> = {
  name: 'sync',
  args: '<dir>',
  summary:
    'Show how the AccessPolicy and IdentityRule documents below a directory and those of the control plane differ, and apply those of the directory to the target sets. What is in force stays until the new target is promoted.',
  options: [
    SERVER,
    new Option(
      '--watch',
      'go on: apply what changes in the directory, and look at both sides every --interval, until stopped',
    ).conflicts(['check', 'writeProposals']),
    new Option('--interval <duration>', 'with --watch: 30s where absent').argParser(intervalOption),
    new Option('--check', 'only show the drift; exit 3 if there is any').conflicts([
      'overwrite',
      'prune',
      'pruneAll',
      'writeProposals',
    ]),
    new Option(
      '--envoy',
      'also the Proxy documents that name their workload, for its Envoys: in force at once',
    ),
    new Option('--overwrite', 'also go over what was changed there since the last sync, or never synced'),
    new Option('--prune', 'also take away there what came from this directory and is no longer in it'),
    new Option('--prune-all', 'the same for what never came from here, and however much it is'),
    new Option(
      '--write-proposals',
      'apply nothing; write what was decided there, and the open proposals, into the files',
    ).conflicts(['overwrite', 'prune', 'pruneAll']),
    new Option('--doubts', 'with --write-proposals, those in doubt as well'),
    new Option(
      '--source <name>',
      'what the documents are said to come from; the origin of the checkout, or the name of its directory, where absent',
    ).argParser(sourceOption),
  ],
  example: 'interlock sync policies/ --check',
  json: '{source, commit?, branch?, drift: [{kind, workload?, name, state, needs, file?, of?, last?: {who, at, act}, lines}], elsewhere,\nleftOut: [{path, why}], others: {kind: n}, configuration: [{path, what, option}], applied?: [{workload?, created, changed, removed, change?, warnings?}], conflicts?, refused?: [name], written?: [{file, workload, isNew, rules}], skipped?}',
  async run(context, [dir = ''], options) {
    const api = new Api(options);
    const input = {
      api,
      dir: dirOf(dir),
      sourceName: options.source,
      withProxies: options.envoy === true,
    };
    if (options.watch) return watch(context, input, options);
    if (!options.check && !options.writeProposals) return applyAll(context, input, options);
    const [source, steady] = await readHere(input);
    const sides = await compareSides(input, source, steady);
    tellSides(context, sides, options);
    if (options.writeProposals) return writeBack(context, api, sides, options);
    if (options.json) context.terminal.json(sidesJson(sides));
    return isDrifting(sides.drift) ? EXIT.found.code : EXIT.done.code;
  },
};

async function applyAll(context: Context, input: PassInput, options: Options): Promise<number> {
  const { terminal } = context;
  const turn = new Turn(input.api, 'once', (why) => terminal.remark(`Waiting: ${why}.`));
  try {
    const run = { ...input, consents: consentsOf(options), turn };
    const done = await runPass(run, (sides) => tellSides(context, sides, options));
    return tellDone(terminal, done, options);
  } finally {
    await turn.giveBack();
  }
}

/** What was done, and what it ended on; gives the exit code, or throws it. */
function tellDone(terminal: Terminal, done: Done, { json }: Options): number {
  const { sides, plan, applied, conflicts, failure } = done;
  const { refused } = plan;
  if (json)
    terminal.json({ ...sidesJson(sides), applied, conflicts, refused: refused.map(({ name }) => name) });
  else tellApplied(terminal, applied);
  for (const { message } of conflicts) terminal.complain(message);
  tellNotDone(terminal, plan);
  if (failure !== undefined) throw failure;
  return refused.length + conflicts.length > 0 ? EXIT.failed.code : EXIT.done.code;
}

async function watch({ terminal, now }: Context, input: PassInput, options: Options): Promise<number> {
  const { watchDirectory } = await import('../gitops/watching.ts');
  const [stop, late] = [new AbortController(), new AbortController()];
  const watching = watchDirectory({
    ...input,
    api: new Api({ ...options, signal: late.signal }),
    consents: consentsOf(options),
    everyMs: options.interval ?? DEFAULT_INTERVAL_MS,
    signal: stop.signal,
    tell: watchTeller(terminal, now, options.json === true),
  });
  await untilStopped(watching);
  stop.abort();
  // What is under way comes to its end where the control plane answers.
  const timer = setTimeout(() => late.abort(), LATE_MS);
  await watching.finally(() => clearTimeout(timer));
  return EXIT.done.code;
}

async function writeBack(
  { terminal, now }: Context,
  api: Api,
  sides: Sides,
  { json, doubts }: Options,
): Promise<number> {
  const { written, skipped } = await writeProposals({
    api,
    ...sides,
    source: sides.source.name,
    withDoubts: doubts === true,
    now: now(),
  });
  if (json) terminal.json({ ...sidesJson(sides), written, skipped });
  else {
    for (const { file, rules, isNew } of written)
      terminal.prose(`${isNew ? 'created' : 'changed'}  ${file}  ${rules.join(', ')}`);
    terminal.line(written.length === 0 ? 'Nothing to write.' : `${plural(written.length, 'file')} written.`);
  }
  for (const sentence of skipped) terminal.remark(sentence);
  return EXIT.done.code;
}

function tellSides({ terminal, now }: Context, sides: Sides, { json }: Options): void {
  if (json) return;
  terminal.prose(sourceText(sides.source));
  tellLeftOut(terminal, sides.here);
  tellDrift(terminal, sides.drift, now());
}

const isDrifting = ({ policies, rules, proxies }: Drift) =>
  policies.length + rules.length + proxies.length > 0;

function consentsOf({ overwrite, prune, pruneAll }: Options): ReadonlySet<Consent> {
  const given = { overwrite, prune, 'prune-all': pruneAll };
  return new Set((Object.keys(given) as Consent[]).filter((consent) => given[consent] === true));
}

function sidesJson({ source, here, drift }: Sides): object {
  return {
    ...sourceJson(source),
    drift: [...drift.policies, ...drift.rules, ...drift.proxies].map(driftJson),
    elsewhere: drift.elsewhere,
    ...leftOutJson(here),
  };
}

function dirOf(dir: string): string {
  if (dir === '') throw new InterlockError('usage', 'sync', 'name the directory');
  return dir;
}

function intervalOption(text: string): number {
  const ms = durationOption(text);
  if (ms >= LEAST_INTERVAL_MS) return ms;
  throw new InvalidArgumentError('look once a second at most');
}

function sourceOption(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._~:/-]{0,300}$/.test(text) && !text.includes('//')) return text;
  throw new InvalidArgumentError('a source is written like github.com/acme/policies');
}
