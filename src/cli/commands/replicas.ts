import type { Received } from '../../api/index.ts';
import type { CommandSpec } from '../command.ts';
import { Api } from '../control/api.ts';
import { type ApiOptions, SERVER } from '../control/options.ts';
import { distanceText, shortId } from '../control/words.ts';
import { EXIT } from '../exit.ts';

type Replica = Received<'replicas.list'>['replicas'][number];

/** `interlock replicas`: the control planes of one state. */
export const replicasCommand: CommandSpec<ApiOptions> = {
  name: 'replicas',
  summary:
    'List the control planes that share a database: where each listens, whether it is ready, and which one leads. Without a database there is one.',
  options: [SERVER],
  example: 'interlock replicas',
  json: '{isShared, replicas: [{id, isThis, version?, startedAt?, host?, addresses?: {agents, http?, endpoints?}, agents, lastSeen,\nisSilent, leads, leadsSince?, isReady, checks: {NAME: "ok" or a code}}]}',
  async run({ terminal, now }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('replicas.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    terminal.listing([
      ['REPLICA', 'HOST', 'AGENTS AND PROXIES', 'API', 'VERSION', 'STARTED', 'SEEN', 'STATE'],
      ...shown.replicas.map((replica) => [
        shortId(replica.id),
        replica.host ?? '-',
        replica.addresses?.agents ?? '-',
        replica.addresses?.http ?? '-',
        replica.version ?? '-',
        replica.startedAt === undefined ? '-' : distanceText(replica.startedAt, now()),
        replica.isThis ? 'answers' : distanceText(replica.lastSeen, now()),
        stateOf(replica),
      ]),
    ]);
    return EXIT.done.code;
  },
};

function stateOf({ isSilent, isReady, leads, checks }: Replica): string {
  const faults = Object.entries(checks).filter(([, check]) => check !== 'ok');
  const state = isSilent
    ? 'silent'
    : isReady
      ? 'ready'
      : `not ready: ${faults.map(([name, code]) => `${name} ${code}`).join(', ') || 'starting'}`;
  return leads ? `${state}, leads` : state;
}
