import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import type { Received } from '../../../api/index.ts';
import { STAGES, type Stage } from '../../../policy/index.ts';
import { AUTHENTICATION_STAGES, type AuthenticationStage } from '../../../rollout/index.ts';
import { askYes, canAsk } from '../../ask.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { followChange, tellProgress } from '../../control/change.ts';
import { type ApiOptions, SERVER, durationOption, shareOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';
import { checkRows, failedIn } from './checks.ts';
import { type RolloutShown, stageCell } from './policy.ts';

const WAIT = new Option('--wait <duration>', 'how long to wait for proxies to confirm')
  .argParser(durationOption)
  .default(5000, '5s');
const JSON_SHAPE = '{rollout, progress: {confirmed: [{key, ms}], waiting: [{key, connected, fault?}]}}';

interface PromoteOptions extends ApiOptions {
  readonly to: Stage;
  readonly share?: number;
  readonly why?: string;
  readonly anyway?: string;
  readonly wait: number;
}

/** `interlock promote`: the next stage of a workload's target set, or back. */
export const promoteCommand: CommandSpec<PromoteOptions> = {
  name: 'promote',
  args: '<workload>',
  summary:
    'Move the target set of a workload to a stage: shadow (reported, nothing denied), canary (enforced on a share of its proxies; it widens by itself, and falls back by itself when a known-good access is refused), enforced; or back. Where checks of "interlock preflight" are not passed, canary and enforced are refused, but for --anyway, or a yes on a terminal. Exits with 4, and names them, while proxies have not confirmed: also those that have left within the last hour.',
  options: [
    SERVER,
    new Option('--to <stage>', 'where to').choices(STAGES).makeOptionMandatory(),
    new Option('--share <share>', 'for a canary: 10% or 0.1').argParser(shareOption),
    new Option('--why <reason>', 'for the audit log'),
    new Option(
      '--anyway <reason>',
      'go on though checks of "interlock preflight" are not passed: needs the role approver as well',
    ),
    WAIT,
  ],
  example: 'interlock promote spiffe://example.org/ns/shop/sa/cart --to canary --share 10%',
  json: JSON_SHAPE,
  async run({ terminal }, [text = ''], options) {
    const { state, server, json, wait } = options;
    const workload = workloadOf(text);
    const api = new Api({ state, server });
    const { rollout, change } = await moved(api, workload, options, terminal);
    return tell(terminal, api, rollout, change, wait, json);
  },
};

/** `interlock authentication`: how a workload takes connections. */
export const authenticationCommand: CommandSpec<ApiOptions & { readonly wait: number }> = {
  name: 'authentication',
  args: '<workload> <stage>',
  summary:
    'Change how a workload takes connections: plaintext, permissive (both on one port; callers in plain text are recorded), strict (mutual TLS alone). "interlock preflight strict" says who would be cut off. Exits with 4 as "promote" does.',
  options: [SERVER, WAIT],
  example: 'interlock authentication spiffe://example.org/ns/shop/sa/cart strict',
  json: JSON_SHAPE,
  async run({ terminal }, [workload = '', stage = ''], { state, server, json, wait }) {
    const api = new Api({ state, server });
    const { rollout, change } = await api.call('rollouts.authenticate', {
      params: { workload: workloadOf(workload) },
      body: { stage: authenticationStage(stage) },
    });
    return tell(terminal, api, rollout, change, wait, json);
  },
};

/** An argument that is no ID is a misuse, as the value of an option is. */
function workloadOf(text: string): SpiffeId {
  try {
    return parseSpiffeId(text);
  } catch (cause) {
    if (!isInterlockError(cause)) throw cause;
    throw new InterlockError('usage', text, cause.message, { cause });
  }
}

type Moved = Received<'rollouts.move'>;

/**
 * Moves it; where checks are not passed, shows them and asks on a terminal whether to go on all the same. Throws what the
 * control plane answers.
 */
async function moved(
  api: Api,
  workload: SpiffeId,
  { json, to, share, why, anyway }: PromoteOptions,
  terminal: Terminal,
): Promise<Moved> {
  const reason = anyway?.trim();
  if (reason === '') throw new InterlockError('usage', '--anyway', 'say why: --anyway "reason"');
  const move = (goOn: string | undefined) =>
    api.call('rollouts.move', { params: { workload }, body: { to, share, why, anyway: goOn } });
  try {
    return await move(reason);
  } catch (error) {
    const failed = failedIn(error);
    if (failed === undefined || json === true) throw error;
    const aside = terminal.aside();
    aside.listing(checkRows(failed));
    aside.line();
    if (reason !== undefined || !canAsk(terminal)) throw error;
    const question = `${plural(failed.length, 'check')} not passed. Move it to ${to} anyway?`;
    if (!(await askYes(terminal, question))) throw error;
    return move('answered yes at the terminal');
  }
}

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
  return progress.waiting.length === 0 ? EXIT.done.code : EXIT.unconfirmed.code;
}
