import type { CommandSpec, CommonOptions } from '../../command.ts';
import { readSettings } from '../../config/read.ts';
import { serveOptionsOf } from '../../config/serve-options.ts';
import { flagOf, type SettingName } from '../../config/settings.ts';
import { EXIT } from '../../exit.ts';
import { openLog } from '../../log.ts';
import { untilStopped } from '../../until-stopped.ts';
import { VERSION } from '../../version.ts';

/** What of the settings of `interlock up` is about more than API and console. */
const OWN: readonly SettingName[] = [
  'listen',
  'endpoints',
  'endpoint-cert',
  'endpoint-key',
  'attestors',
  'federation-ca',
  'wait-for-agents',
  'parent',
  'node-proxy',
  'gates',
  'join-token',
  'join-token-file',
];

/** `interlock authority serve`: the control plane without HTTP. */
export const authorityServeCommand: CommandSpec<CommonOptions> = {
  name: 'authority serve',
  summary:
    'Run the control plane of the trust domain without API and console over HTTP ("interlock up" has them): agents attest and get their identities here, commands talk to it through the state directory. Runs until it is stopped.',
  options: OWN.map(flagOf),
  example: 'interlock authority serve --listen 0.0.0.0:8443 --endpoints 127.0.0.1:8444',
  json: 'log lines on standard error: {level, time, msg, ...}',
  async run({ terminal, now }, _args, options) {
    const { realTimers, serveIdentity } = await import('../../../server/index.ts');
    const log = openLog(terminal, now);
    // Commander has put the flags beside the other options.
    const flags = options as unknown as Readonly<Record<string, unknown>>;
    const token = process.env['INTERLOCK_JOIN_TOKEN'];
    const settings = readSettings({ flags, env: { INTERLOCK_JOIN_TOKEN: token } });
    const serving = await serveIdentity({
      ...(await serveOptionsOf(settings)),
      state: options.state,
      timers: { ...realTimers, now },
      log,
      version: VERSION,
    });
    const signal = await untilStopped();
    log.info({ signal }, 'the control plane stops');
    await serving.close();
    return EXIT.done.code;
  },
};
