import { InterlockError, parseSpiffeId } from '../../../access/index.ts';
import { STAGES, type Stage } from '../../../policy/index.ts';
import { AUTHENTICATION_STAGES, type AuthenticationStage } from '../../../rollout/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { followChange, tellProgress } from '../../control/change.ts';
import { durationOption, shareOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { type RolloutShown, stageCell } from './policy.ts';

const WAIT = new Option('--wait <duration>', 'how long to wait for proxies to confirm')
  .argParser(durationOption)
  .default(5000, '5s');
const JSON_SHAPE = '{rollout, progress: {confirmed: [{key, ms}], waiting: [{key, connected, fault?}]}}';

interface PromoteOptions extends CommonOptions {
  readonly to: Stage;
  readonly share?: number;
  readonly why?: string;
  readonly wait: number;
}

/** `interlock promote`: the next stage of a workload's target set, or back. */
export const promoteCommand: CommandSpec<PromoteOptions> = {
  name: 'promote',
  args: '<workload>',
  summary:
    'Move the target set of a workload to a stage: shadow (reported, nothing denied), canary (enforced on a share of its proxies; it widens by itself, and falls back by itself when a known-good access is refused), enforced; or back.',
  options: [
    new Option('--to <stage>', 'where to').choices(STAGES).makeOptionMandatory(),
    new Option('--share <share>', 'for a canary: 10% or 0.1').argParser(shareOption),
    new Option('--why <reason>', 'for the audit log'),
    WAIT,
  ],
  example: 'interlock promote spiffe://example.org/ns/shop/sa/cart --to canary --share 10%',
  json: JSON_SHAPE,
  async run({ terminal }, [workload = ''], { state, json, to, share, why, wait }) {
    const api = new Api(state);
    const { rollout, change } = await api.post<{ rollout: RolloutShown; change: string }>(
      '/v1/rollouts/move',
      {
        workload: parseSpiffeId(workload),
        to,
        ...(share === undefined ? {} : { share }),
        ...(why === undefined ? {} : { why }),
      },
    );
    return tell(terminal, api, rollout, change, wait, json);
  },
};

/** `interlock authentication`: how a workload takes connections. */
export const authenticationCommand: CommandSpec<CommonOptions & { readonly wait: number }> = {
  name: 'authentication',
  args: '<workload> <stage>',
  summary:
    'Change how a workload takes connections: plaintext, permissive (both on one port; callers in plain text are recorded), strict (mutual TLS alone). "interlock preflight strict" says who would be cut off.',
  options: [WAIT],
  example: 'interlock authentication spiffe://example.org/ns/shop/sa/cart strict',
  json: JSON_SHAPE,
  async run({ terminal }, [workload = '', stage = ''], { state, json, wait }) {
    const api = new Api(state);
    const body = { workload: parseSpiffeId(workload), stage: authenticationStage(stage) };
    const { rollout, change } = await api.post<{ rollout: RolloutShown; change: string }>(
      '/v1/rollouts/authentication',
      body,
    );
    return tell(terminal, api, rollout, change, wait, json);
  },
};

function authenticationStage(text: string): AuthenticationStage {
  const stage = AUTHENTICATION_STAGES.find((each) => each === text);
  if (stage === undefined)
    throw new InterlockError('usage', 'stage', `a stage is one of ${AUTHENTICATION_STAGES.join(', ')}`);
  return stage;
}

async function tell(
  terminal: Terminal,
  api: Api,
  rollout: RolloutShown,
  change: string,
  wait: number,
  json: true | undefined,
): Promise<number> {
  const progress = await followChange(api, change, wait);
  if (json) terminal.json({ rollout, progress });
  else {
    terminal.prose(`${rollout.workload}: ${stageCell(rollout)}, connections ${rollout.authentication}.`);
    tellProgress(terminal, progress);
  }
  return progress.waiting.some(({ connected }) => connected) ? EXIT.unconfirmed.code : EXIT.done.code;
}
