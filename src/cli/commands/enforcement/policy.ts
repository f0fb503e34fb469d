import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import { readPolicies } from '../../../policy/index.ts';
import type { CommandSpec } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText, percentText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { policyFiles, readText } from '../../files.ts';
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
  async run({ terminal }, paths, { state, server, json }) {
    const files = paths.flatMap(policyFiles);
    if (files.length === 0)
      throw new InterlockError(
        'not_found',
        paths.join(' '),
        `there is no .yaml or .yml file in ${paths.join(', ')}`,
      );
    const texts = files.map((file) => readText(file));
    // Read here first: in what is sent as one nobody knows which file a mistake is in.
    for (const [index, file] of files.entries()) readPolicies(texts[index] ?? '', file);
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
    if (applied.workloads.length > 0)
      terminal.prose(
        `${plural(applied.workloads.length, 'workload')} with a new target. "interlock policy list" shows stages.`,
      );
    return EXIT.done.code;
  },
};

const list: CommandSpec<ApiOptions> = {
  name: 'policy list',
  summary: 'List the protected workloads: how far each has come, and how it takes connections.',
  options: [SERVER],
  example: 'interlock policy list',
  json: '{rollouts: [{workload, tier, stage, share, target: [name], enforced?: [name], authentication, since, by}]}',
  async run({ terminal, now }, _args, { state, server, json }) {
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
        rollout.tier,
        rollout.authentication,
        rollout.target.join(', ') || '-',
        distanceText(rollout.since, now()),
        rollout.by,
      ]),
    ]);
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
export const POLICY_COMMANDS: readonly CommandSpec<never>[] = [apply, list, remove];

/** The stage, with the share of a canary, and whether an older set stays in force beside it. */
export function stageCell({ stage, share, enforced }: RolloutShown): string {
  if (stage === 'canary') return `canary ${percentText(share)}`;
  return stage !== 'enforced' && enforced !== undefined ? `${stage}; older set enforced` : stage;
}
