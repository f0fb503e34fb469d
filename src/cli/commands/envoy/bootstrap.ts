import { hostname } from 'node:os';
import { isAbsolute } from 'node:path';
import { InterlockError, parseSpiffeId, type SpiffeId, trustDomainOf } from '../../../access/index.ts';
import { type ConfigurationSource, envoyBootstrap } from '../../../engines/envoy/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  InvalidArgumentError,
  Option,
  spiffeIdOption,
} from '../../command.ts';
import { addressOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';

interface Options extends CommonOptions {
  readonly workload: SpiffeId;
  readonly server?: { readonly host: string; readonly port: number };
  readonly relay?: string;
  readonly serverId?: SpiffeId;
  readonly instance?: string;
  readonly cluster?: string;
  readonly agentSocket: string;
  readonly adminPort?: number;
  readonly protocol: 'delta' | 'whole';
}

/** `interlock envoy bootstrap`: what Envoy is started with. */
export const envoyBootstrapCommand: CommandSpec<Options> = {
  name: 'envoy bootstrap',
  summary:
    "Print the bootstrap of the Envoy in front of one workload, as JSON that works as it is: the agent's socket gives it certificate and trust, the control plane (or, with --relay, the relay beside it) everything else.",
  options: [
    new Option('--workload <id>', 'the SPIFFE ID that Envoy speaks as: the agent must give it to its process')
      .argParser(spiffeIdOption)
      .makeOptionMandatory(),
    new Option('--server <host:port>', 'the control plane').argParser(addressOption),
    new Option(
      '--relay <path>',
      'in place of --server: the socket of "interlock envoy relay" on this machine',
    ).argParser(socketOption),
    new Option(
      '--server-id <id>',
      "who must answer there (default: /interlock/server of the workload's trust domain)",
    ).argParser(spiffeIdOption),
    new Option(
      '--instance <name>',
      'which proxy of the workload it is, the same after a restart (default: the name of this host)',
    ),
    new Option('--cluster <name>', 'the cluster it runs in, as releases name it'),
    new Option('--agent-socket <path>', "the agent's socket")
      .argParser(socketOption)
      .default('/run/interlock/agent.sock'),
    new Option('--admin-port <n>', "Envoy's administration on 127.0.0.1 (default: none)").argParser(
      portOption,
    ),
    new Option('--protocol <how>', 'how configuration is asked for: what changed, or all of it')
      .choices(['delta', 'whole'])
      .default('delta'),
  ],
  example:
    'interlock envoy bootstrap --workload spiffe://example.org/ns/shop/sa/cart \\\n    --server interlock.example:8443 --instance cart-0 > envoy.json && envoy -c envoy.json',
  json: "the same: Envoy's bootstrap (envoy.config.bootstrap.v3.Bootstrap)",
  async run({ terminal }, _args, options) {
    const { workload, instance = hostname(), cluster, agentSocket, adminPort, protocol } = options;
    const bootstrap = envoyBootstrap({
      workload,
      instance,
      ...(cluster === undefined ? {} : { cluster }),
      agentSocket,
      ...sourceOf(options),
      protocol,
      ...(adminPort === undefined ? {} : { adminPort }),
    });
    if (options.json) terminal.json(bootstrap);
    else terminal.line(JSON.stringify(bootstrap, undefined, 2));
    return EXIT.done.code;
  },
};

/** Throws `usage` where it is not clear whom Envoy is to ask, and for what a relay does not take. */
function sourceOf({ workload, server, serverId, relay, cluster }: Options): ConfigurationSource {
  if (relay === undefined) {
    if (server === undefined)
      throw new InterlockError(
        'usage',
        '--server',
        'name the control plane with --server, or a relay with --relay',
      );
    return {
      controlPlane: server,
      serverId: serverId ?? parseSpiffeId(`spiffe://${trustDomainOf(workload)}/interlock/server`),
    };
  }
  const unused = { '--server': server, '--server-id': serverId, '--cluster': cluster };
  for (const [option, value] of Object.entries(unused))
    if (value !== undefined)
      throw new InterlockError(
        'usage',
        option,
        `${option} says nothing to a relay: leave it out with --relay`,
      );
  return { relaySocket: relay };
}

function socketOption(text: string): string {
  if (!isAbsolute(text)) throw new InvalidArgumentError('the path of a socket is absolute');
  return text;
}

function portOption(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 65_535) throw new InvalidArgumentError('a port is 1 to 65535');
  return port;
}
