import type { Received } from '../../../api/index.ts';
import { type CommandSpec, Option } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { plural } from '../../words.ts';

type Shown = Received<'agents.list'>;
type AgentShown = Shown['agents'][number];

/** `interlock authority agents`: the node agents. */
export const authorityAgentsCommand: CommandSpec<ApiOptions> = {
  name: 'authority agents',
  summary:
    'List the node agents: which are connected, and which have the newest bundles, rules and revocations.',
  options: [SERVER],
  example: 'interlock authority agents',
  json: '{versions: {bundles, rules, revocations}, agents: [{id, attestor, attributes, serial, notAfter, attestedAt,\nisEvicted, isConnected, address?, version?, since?, confirmed?: {bundles, rules, revocations}}]}',
  async run({ terminal, now }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('agents.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    const { versions, agents } = shown;
    terminal.listing([
      ['AGENT', 'STATE', 'FROM', 'SVID ENDS'],
      ...agents.map((agent) => [
        agent.id,
        stateOf(agent, versions),
        agent.address ?? '-',
        distanceText(agent.notAfter, now()),
      ]),
    ]);
    const connected = agents.filter(({ isConnected }) => isConnected).length;
    terminal.line();
    terminal.line(`${plural(agents.length, 'agent')}, ${connected} connected.`);
    return EXIT.done.code;
  },
};

function stateOf({ isEvicted, isConnected, confirmed }: AgentShown, versions: Shown['versions']): string {
  if (isEvicted) return 'evicted';
  if (!isConnected || confirmed === undefined) return 'away';
  const late = (['bundles', 'rules', 'revocations'] as const).filter(
    (what) => confirmed[what] < versions[what],
  );
  return late.length === 0 ? 'up to date' : `behind: ${late.join(', ')}`;
}

interface EvictOptions extends ApiOptions {
  readonly reason: string;
  readonly forget?: true;
}

/** `interlock authority evict`: lets an agent act no more. */
export const authorityEvictCommand: CommandSpec<EvictOptions> = {
  name: 'authority evict',
  args: '<agent-id>',
  summary:
    'Let an agent act no more, and revoke every SVID that was issued through it: for a node that was lost.',
  options: [
    SERVER,
    new Option(
      '--reason <words>',
      'for the audit log; a word of RFC 5280 such as keyCompromise also goes into the CRL',
    ).default('unspecified'),
    new Option('--forget', 'forget an agent that was evicted, so that its node may be attested again'),
  ],
  example: 'interlock authority evict spiffe://example.org/interlock/agent/join_token/node-1',
  json: '{revoked: number of SVIDs} or {forgotten: id}',
  async run({ terminal }, [id = ''], { state, server, json, reason, forget }) {
    const api = new Api({ state, server });
    if (forget === true) {
      const done = await api.call('agents.forget', { params: { agent: id } });
      if (json) terminal.json(done);
      else terminal.prose(`${id} is forgotten; its node may be attested again.`);
      return EXIT.done.code;
    }
    const done = await api.call('agents.evict', { params: { agent: id }, body: { reason } });
    if (json) terminal.json(done);
    else terminal.prose(`${id} is evicted; ${plural(done.revoked, 'SVID')} revoked.`);
    return EXIT.done.code;
  },
};
