import type { CommandSpec, CommonOptions } from '../../command.ts';
import { openPlace } from '../../config/place.ts';
import { readSettings } from '../../config/read.ts';
import { serveOptionsOf } from '../../config/serve-options.ts';
import { flagOf, type SettingName } from '../../config/settings.ts';
import { EXIT } from '../../exit.ts';
import { openLog } from '../../log.ts';
import { untilStopped } from '../../until-stopped.ts';
import { VERSION } from '../../version.ts';

/** What of the settings of `interlock up` is about more than API and console. */
const OWN: readonly SettingName[] = [
  'database',
  'key-file',
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
    const { INTERLOCK_JOIN_TOKEN, INTERLOCK_DATABASE, INTERLOCK_KEY_FILE } = process.env;
    const env = { INTERLOCK_JOIN_TOKEN, INTERLOCK_DATABASE, INTERLOCK_KEY_FILE };
    const settings = readSettings({ flags, env });
    const { state } = options;
    const served = await serveOptionsOf(settings);
    const open = await openPlace(settings, state, { ...realTimers, now }, log);
    try {
      const { place, timers } = open;
      const serving = await serveIdentity({ ...served, state, place, timers, log, version: VERSION });
      const signal = await untilStopped();
      log.info({ signal }, 'the control plane stops');
      await serving.close();
    } finally {
      await open.close();
    }
    return EXIT.done.code;
  },
};
