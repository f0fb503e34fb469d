import { InterlockError, isInterlockError, parseSpiffeId, type SpiffeId } from '../../../access/index.ts';
import { STAGES, type Stage } from '../../../policy/index.ts';
import { AUTHENTICATION_STAGES, type AuthenticationStage, isStep } from '../../../rollout/index.ts';
import { askYes, canAsk } from '../../ask.ts';
import { type CommandSpec, type Context, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { followChange, tellProgress } from '../../control/change.ts';
import { type ApiOptions, SERVER, durationOption, shareOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import type { Terminal } from '../../terminal.ts';
import { plural } from '../../words.ts';
import { checkRows, checksOf, failedOf } from './checks.ts';
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
    'Move the target set of a workload to a stage: shadow (reported, nothing denied), canary (enforced on a share of its proxies; it widens by itself, and falls back by itself when a known-good access is refused), enforced; or back. Where checks of "interlock preflight" fail, canary and enforced ask on a terminal and are refused elsewhere, but for --anyway. Exits with 4, and names them, while proxies have not confirmed: also those that have left within the last hour.',
  options: [
    SERVER,
    new Option('--to <stage>', 'where to').choices(STAGES).makeOptionMandatory(),
    new Option('--share <share>', 'for a canary: 10% or 0.1').argParser(shareOption),
    new Option('--why <reason>', 'for the audit log'),
    new Option('--anyway <reason>', 'to canary or enforced though checks of "interlock preflight" fail'),
    WAIT,
  ],
  example: 'interlock promote spiffe://example.org/ns/shop/sa/cart --to canary --share 10%',
  json: JSON_SHAPE,
  async run({ terminal }, [text = ''], options) {
    const { state, server, json, to, share, why, wait } = options;
    const workload = workloadOf(text);
    const api = new Api({ state, server });
    const anyway = await anywayOf(api, workload, options, { terminal });
    const { rollout, change } = await api.call('rollouts.move', {
      params: { workload },
      body: { to, share, why, anyway },
    });
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

/** Why a promotion goes on though checks fail; undefined where none does. Throws `conflict` where nobody says why. */
async function anywayOf(
  api: Api,
  workload: SpiffeId,
  { state, server, json, to, share, anyway }: PromoteOptions,
  { terminal }: Pick<Context, 'terminal'>,
): Promise<{ reason: string; missing: string[] } | undefined> {
  const reason = anyway?.trim();
  if (reason === '') throw new InterlockError('usage', '--anyway', 'say why: --anyway "reason"');
  if (to !== 'canary' && to !== 'enforced') return undefined;
  const { stage } = await api.call('rollouts.get', { params: { workload } });
  // A step that is none is refused for that, whatever else there is.
  if (!isStep(stage, to) || (to === 'canary' && !(share !== undefined && share > 0))) return undefined;
  const failed = failedOf(await checksOf({ state, server }, workload, 'enforce'));
  if (failed.length === 0) return undefined;
  const missing = failed.map(({ check }) => check);
  if (reason !== undefined) return { reason, missing };
  if (json !== true) {
    const aside = terminal.aside();
    aside.listing(checkRows(failed));
    aside.line();
  }
  if (
    json !== true &&
    canAsk(terminal) &&
    (await askYes(terminal, `${plural(failed.length, 'check')} failed. Move it to ${to} anyway?`))
  )
    return { reason: 'answered yes at the terminal', missing };
  throw new InterlockError(
    'conflict',
    workload,
    `${workload} stays in ${stage}: ${plural(failed.length, 'check')} failed (${missing.join(', ')}). Do what they say, or go on with --anyway "reason"`,
  );
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
