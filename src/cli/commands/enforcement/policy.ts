import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import { exceptionsOf, readPolicies } from '../../../policy/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText, percentText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { policyFiles, readText } from '../../files.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';

/** A rollout as the control plane lists it. */
export type RolloutShown = Received<'rollouts.list'>['rollouts'][number];

const apply: CommandSpec<ApiOptions> = {
  name: 'policy apply',
  args: '<path...>',
  summary:
    'Add AccessPolicy documents of files or directories to the target sets, or replace those of the same names; all or none. What is in force stays until the new target is promoted.',
  options: [SERVER],
  example: 'interlock policy apply policies.yaml',
  json: '{workloads: [ID], created: [name], changed: [name], unchanged: [name], change}',
  async run({ terminal, now }, paths, { state, server, json }) {
    const files = paths.flatMap(policyFiles);
    if (files.length === 0)
      throw new InterlockError(
        'not_found',
        paths.join(' '),
        `there is no .yaml or .yml file in ${paths.join(', ')}`,
      );
    const texts = files.map((file) => readText(file));
    // Read here first: in what is sent as one nobody knows which file a mistake is in.
    const policies = files.flatMap((file, index) => readPolicies(texts[index] ?? '', file));
    // One call, so that all are taken or none.
    const yaml = texts.join('\n---\n');
    const applied = await new Api({ state, server }).call('policies.apply', {
      body: { yaml, ...(files.length === 1 ? { file: files[0] } : {}) },
    });
    if (json) {
      terminal.json(applied);
      return EXIT.done.code;
    }
    for (const word of ['created', 'changed', 'unchanged'] as const)
      for (const name of applied[word]) terminal.line(`${word.padEnd(9)}  ${name}`);
    const over = exceptionsOf(policies).filter(({ ends }) => ends <= now());
    for (const { policy, rule, until } of over)
      terminal.prose(`${policy}/${rule} allows nothing: it ended ${until}.`);
    if (applied.workloads.length > 0)
      terminal.prose(
        `${plural(applied.workloads.length, 'workload')} with a new target. "interlock policy list" shows stages.`,
      );
    return EXIT.done.code;
  },
};

const list: CommandSpec<ApiOptions & { readonly exceptions?: true }> = {
  name: 'policy list',
  summary:
    'List the protected workloads: how far each has come, and how it takes connections. Or the rules that end by themselves.',
  options: [SERVER, new Option('--exceptions', 'the rules that have an end, the first to end first')],
  example: 'interlock policy list --exceptions',
  json: '{rollouts: [{workload, tier, floor?, stage, share, target: [name], enforced?: [name], authentication, since, by}]}\nwith --exceptions: {exceptions: [{workload, policy, rule, from: [ID], until, ends, over, reason?, owners: [name],\nsets: [target|enforced]}]}',
  async run({ terminal, now }, _args, { state, server, json, exceptions }) {
    if (exceptions === true)
      return listExceptions(terminal, now(), new Api({ state, server }), json === true);
    const shown = await new Api({ state, server }).call('rollouts.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    if (shown.rollouts.length === 0) {
      terminal.line('No policy yet: interlock policy apply');
      return EXIT.done.code;
    }
    terminal.listing([
      ['WORKLOAD', 'STAGE', 'TIER', 'CONNECTIONS', 'POLICIES', 'SINCE', 'BY'],
      ...shown.rollouts.map((rollout) => [
        rollout.workload,
        stageCell(rollout),
        rollout.floor === undefined ? rollout.tier : `${rollout.tier}, judged as ${rollout.floor}`,
        rollout.authentication,
        rollout.target.join(', ') || '-',
        distanceText(rollout.since, now()),
        rollout.by,
      ]),
    ]);
    return EXIT.done.code;
  },
};

/** Every rule that has an end: what it allows, whose workload it is, and how long yet. */
async function listExceptions(terminal: Terminal, now: number, api: Api, json: boolean): Promise<number> {
  const all: Received<'exceptions.list'>['exceptions'][number][] = [];
  for (let after: string | undefined; ; ) {
    const page = await api.call('exceptions.list', { query: after === undefined ? {} : { after } });
    all.push(...page.exceptions);
    after = page.next;
    if (after === undefined) break;
  }
  if (json) terminal.json({ exceptions: all });
  else if (all.length === 0) terminal.line('No rule has an end.');
  else
    terminal.listing([
      ['WORKLOAD', 'RULE', 'CALLERS', 'UNTIL', 'LEFT', 'IN', 'OWNERS', 'REASON'],
      ...all.map(({ workload, policy, rule, from, until, ends, over, sets, owners, reason }) => [
        workload,
        `${policy}/${rule}`,
        from.join(', '),
        until,
        over ? `over, ${distanceText(ends, now)}` : distanceText(ends, now),
        sets.join(', '),
        owners.join(', ') || '-',
        reason ?? '-',
      ]),
    ]);
  return EXIT.done.code;
}

const holdCommand: CommandSpec<ApiOptions & { readonly why?: string; readonly end?: true }> = {
  name: 'policy hold',
  args: '<workload>',
  summary:
    'Keep a workload where it is: it moves forward by itself no more, neither to a canary nor in one, until --end or until somebody moves it. A canary that refuses what is known to be good still falls back.',
  options: [
    SERVER,
    new Option('--why <reason>', 'for who finds it so later'),
    new Option('--end', 'let it move by itself again'),
  ],
  example: 'interlock policy hold spiffe://example.org/ns/shop/sa/cart --why "a sale until Monday"',
  json: '{rollout}',
  async run({ terminal }, [id = ''], { state, server, json, why, end }) {
    if ((why === undefined) === (end === undefined))
      throw new InterlockError('usage', 'policy hold', 'say why (--why "reason"), or --end');
    const params = { workload: parseSpiffeId(id) };
    const shown = await new Api({ state, server }).call('rollouts.hold', {
      params,
      body: { why: why ?? null },
    });
    if (json) terminal.json(shown);
    else
      terminal.prose(
        end === true
          ? `${id} may move forward by itself again.`
          : `${id} stays in ${stageCell(shown.rollout)} until somebody moves it, or says --end.`,
      );
    return EXIT.done.code;
  },
};

const remove: CommandSpec<ApiOptions> = {
  name: 'policy remove',
  args: '<workload> <policy>',
  summary:
    'Take a policy out of the target set of its workload. What is in force stays until that is promoted.',
  options: [SERVER],
  example: 'interlock policy remove spiffe://example.org/ns/shop/sa/cart cart',
  json: '{rollout, change}',
  async run({ terminal }, [workload = '', policy = ''], { state, server, json }) {
    const params = { workload: parseSpiffeId(workload), policy };
    const shown = await new Api({ state, server }).call('policies.remove', { params });
    if (json) terminal.json(shown);
    else terminal.prose(`${policy} is no longer in the target of ${workload}.`);
    return EXIT.done.code;
  },
};

/** `interlock policy ...`. */
export const POLICY_COMMANDS: readonly CommandSpec<never>[] = [apply, list, holdCommand, remove];

/** The stage, with the share of a canary, whether it is held there, and whether an older set stays in force beside it. */
export function stageCell({ stage, share, enforced, held }: RolloutShown): string {
  const isHeld = held === undefined ? '' : ', held';
  if (stage === 'canary') return `canary ${percentText(share)}${isHeld}`;
  return `${stage}${isHeld}${stage !== 'enforced' && enforced !== undefined ? '; older set enforced' : ''}`;
}
