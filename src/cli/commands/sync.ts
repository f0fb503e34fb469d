import { InterlockError } from '../../access/index.ts';
import { type CommandSpec, type Context, InvalidArgumentError, Option } from '../command.ts';
import { Api } from '../control/api.ts';
import { type ApiOptions, SERVER } from '../control/options.ts';
import { EXIT } from '../exit.ts';
import { apply, type Conflict, planOf, type Source } from '../gitops/apply.ts';
import { type Documents, readDirectory, workloadsOf } from '../gitops/documents.ts';
import { type Consent, type Drift, driftOf } from '../gitops/drift.ts';
import { checkoutAround, sourceNameOf } from '../gitops/git.ts';
import { writeProposals } from '../gitops/proposals.ts';
import { driftJson, tellApplied, tellDrift, tellLeftOut, tellNotDone } from '../gitops/shown.ts';
import { readPasts, readThere, type There } from '../gitops/there.ts';
import { plural } from '../words.ts';

interface Options extends ApiOptions {
  readonly check?: true;
  readonly overwrite?: true;
  readonly prune?: true;
  readonly pruneAll?: true;
  readonly writeProposals?: true;
  readonly doubts?: true;
  readonly source?: string;
}

/** Both sides at one moment. */
interface Sides {
  readonly here: Documents;
  readonly there: There;
  readonly drift: Drift;
  readonly past: Parameters<typeof driftOf>[0]['past'];
}

/** `interlock sync DIR`: documents of a directory or Git checkout to a control plane, and proposals back. */
export const syncCommand: CommandSpec<Options> = {
  name: 'sync',
  args: '<dir>',
  summary:
    'Show how the AccessPolicy and IdentityRule documents below a directory and those of the control plane differ, and apply those of the directory to the target sets. What is in force stays until the new target is promoted.',
  options: [
    SERVER,
    new Option('--check', 'only show the drift; exit 3 if there is any').conflicts([
      'overwrite',
      'prune',
      'pruneAll',
      'writeProposals',
    ]),
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
  json: '{source, commit?, drift: [{kind, workload?, name, state, needs, file?, of?, last?: {who, at, act}, lines}], elsewhere,\nleftOut: [{path, why}], others: {kind: n}, applied?: [{workload?, created, changed, removed, change?, warnings?}], conflicts?, refused?: [name], written?: [{file, workload, isNew, rules}], skipped?}',
  async run(context, [dir = ''], options) {
    const { terminal, now } = context;
    const checkout = checkoutAround(dirOf(dir));
    const name = sourceNameOf(dir, checkout, options.source);
    const commit = checkout?.commit;
    const source: Source = { name, ...(commit === undefined ? {} : { commit }) };
    const api = new Api(options);
    const sides = await look(api, dir, name);
    const shown = { ...source, ...sidesJson(sides) };
    if (!options.json) {
      terminal.prose(`${name}${commit === undefined ? ', no commit' : ` at ${commit.slice(0, 12)}`}`);
      tellLeftOut(terminal, sides.here);
      tellDrift(terminal, sides.drift, now());
    }
    if (options.check) {
      if (options.json) terminal.json(shown);
      return isDrifting(sides.drift) ? EXIT.found.code : EXIT.done.code;
    }
    if (options.writeProposals) return writeBack(context, api, sides, options, name, shown);
    return applyAll(context, { api, dir, sides, source, options, shown });
  },
};

async function applyAll(
  { terminal }: Context,
  given: { api: Api; dir: string; sides: Sides; source: Source; options: Options; shown: object },
): Promise<number> {
  const { api, dir, sides, source, options, shown } = given;
  const consents = consentsOf(options);
  checkWhole(sides.here, consents);
  const plan = planOf(sides.drift, consents);
  const { applied, conflicts: stale, failure } = await apply({ api, ...sides, plan, source });
  const conflicts =
    stale.length === 0 || failure !== undefined ? stale : await stillOpen(api, dir, source.name, stale);
  if (options.json)
    terminal.json({ ...shown, applied, conflicts, refused: plan.refused.map(({ name }) => name) });
  else tellApplied(terminal, applied);
  for (const { message } of conflicts) terminal.complain(message);
  tellNotDone(terminal, plan);
  if (failure !== undefined) throw failure;
  return plan.refused.length + conflicts.length > 0 ? EXIT.failed.code : EXIT.done.code;
}

async function writeBack(
  { terminal, now }: Context,
  api: Api,
  sides: Sides,
  { json, doubts }: Options,
  source: string,
  shown: object,
): Promise<number> {
  const { written, skipped } = await writeProposals({
    api,
    ...sides,
    source,
    withDoubts: doubts === true,
    now: now(),
  });
  if (json) terminal.json({ ...shown, written, skipped });
  else {
    for (const { file, rules, isNew } of written)
      terminal.prose(`${isNew ? 'created' : 'changed'}  ${file}  ${rules.join(', ')}`);
    terminal.line(written.length === 0 ? 'Nothing to write.' : `${plural(written.length, 'file')} written.`);
  }
  for (const sentence of skipped) terminal.remark(sentence);
  return EXIT.done.code;
}

async function look(api: Api, dir: string, source: string): Promise<Sides> {
  const here = await readDirectory(dir);
  const there = await readThere(api);
  const workloads = new Set([...workloadsOf(here.policies), ...there.targets.keys()]);
  const known = [...workloads].filter((workload) => there.versions.has(workload));
  const pasts = await readPasts(api, known);
  const past: Sides['past'] = (workload, policy) => pasts.get(workload)?.(policy) ?? {};
  return { here, there, past, drift: driftOf({ here, there, source, past }) };
}

/** Of what was changed there while it was looked at, what is not as it should be now: two syncs do the same work once. */
async function stillOpen(
  api: Api,
  dir: string,
  source: string,
  conflicts: readonly Conflict[],
): Promise<readonly Conflict[]> {
  const { drift } = await look(api, dir, source);
  const open = new Set<string>(drift.policies.map(({ workload }) => workload));
  if (drift.rules.length > 0) open.add('rules');
  return conflicts.filter(({ subject }) => open.has(subject));
}

const isDrifting = ({ policies, rules }: Drift) => policies.length + rules.length > 0;

function consentsOf({ overwrite, prune, pruneAll }: Options): ReadonlySet<Consent> {
  const given = { overwrite, prune, 'prune-all': pruneAll };
  return new Set((Object.keys(given) as Consent[]).filter((consent) => given[consent] === true));
}

/** What a directory that is not read as a whole does not hold may be in the rest of it. */
function checkWhole({ leftOut, policies, rules, root }: Documents, consents: ReadonlySet<Consent>): void {
  const takesAway = consents.has('prune') || consents.has('prune-all');
  const [first] = leftOut;
  if (takesAway && first !== undefined)
    throw new InterlockError(
      'usage',
      first.path,
      `nothing is pruned while a part of the directory is left out: ${first.path} is ${first.why}`,
    );
  if (policies.size + rules.size === 0)
    throw new InterlockError(
      'not_found',
      root,
      `there is no AccessPolicy or IdentityRule document below "${root}"`,
    );
}

function sidesJson({ here, drift }: Sides): object {
  return {
    drift: [...drift.policies, ...drift.rules].map(driftJson),
    elsewhere: drift.elsewhere,
    leftOut: here.leftOut,
    others: Object.fromEntries(here.others),
  };
}

function dirOf(dir: string): string {
  if (dir === '') throw new InterlockError('usage', 'sync', 'name the directory');
  return dir;
}

function sourceOption(text: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._~:/-]{0,300}$/.test(text) && !text.includes('//')) return text;
  throw new InvalidArgumentError('a source is written like github.com/acme/policies');
}
