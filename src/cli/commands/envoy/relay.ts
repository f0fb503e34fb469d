import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { parseSpiffeId, type SpiffeId, trustDomainOf } from '../../../access/index.ts';
import { listenLocally, openControlStream, Spool, stateFiles } from '../../../proxy/index.ts';
import { readRoutes, Relay, type RelayEvent } from '../../../relay/index.ts';
import { Addresses, ownerOf, systemClock, X509Source } from '../../../workload/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  InvalidArgumentError,
  Option,
  spiffeIdOption,
} from '../../command.ts';
import { PROXY_SOCKET } from '../../control/local-proxy.ts';
import { serversOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';
import { openLog } from '../../log.ts';
import { untilStopped } from '../../until-stopped.ts';
import { VERSION } from '../../version.ts';

/** Name of the socket for Envoy in the state directory. */
const ENVOY_SOCKET = 'envoy.sock';

interface Options extends CommonOptions {
  readonly workload: SpiffeId;
  readonly document: string;
  readonly server?: readonly string[];
  readonly serverId?: SpiffeId;
  readonly workloadApi?: string;
  readonly instance?: string;
  readonly group?: number;
  readonly socket?: string;
}

/** `interlock envoy relay`: an Envoy's way to the control plane, which goes on without it. */
export const envoyRelayCommand: CommandSpec<Options> = {
  name: 'envoy relay',
  summary:
    'Run beside one Envoy: gives it its configuration and takes its access logs on a Unix socket, from the last state when no control plane answers. "interlock release --local" reaches Envoy through it. Runs until it is stopped.',
  options: [
    new Option(
      '--workload <id>',
      'the SPIFFE ID that Envoy speaks as; the agent must give it to this process too',
    )
      .argParser(spiffeIdOption)
      .makeOptionMandatory(),
    new Option(
      '--document <file>',
      'the Proxy document of the workload: where Envoy listens, and whom it calls',
    ).makeOptionMandatory(),
    new Option(
      '--server <host:port>',
      'the control plane; without it nothing is enforced beyond the last state. Where several share a database, all of them apart by commas: they are tried in turn',
    ).argParser(serversOption),
    new Option(
      '--server-id <id>',
      "the control plane's SPIFFE ID (default: /interlock/server of the workload's trust domain)",
    ).argParser(spiffeIdOption),
    new Option('--workload-api <path>', "the agent's socket (default: SPIFFE_ENDPOINT_SOCKET)"),
    new Option(
      '--instance <name>',
      'which of the proxies of this workload; stable over restarts (default: the name of this host)',
    ),
    new Option('--socket <path>', 'where Envoy finds it (default: envoy.sock in the state)'),
    new Option(
      '--group <group>',
      'a group, by name or number, whose members may be this Envoy and press the button here, beside root and this user',
    ).argParser(groupOption),
  ],
  example:
    'interlock envoy relay --workload spiffe://example.org/ns/shop/sa/cart --document cart-proxy.yaml \\\n    --server interlock.example:8443 --state /var/lib/interlock/cart',
  json: 'log lines on standard error: {level, time, msg, ...}',
  async run({ terminal, now }, _args, options) {
    const log = openLog(terminal, now);
    const { workload, server, group, document } = options;
    const addresses = server && new Addresses(server, () => systemClock.random());
    const routes = readRoutes(readText(document), document, workload);
    const clock = { ...systemClock, now };
    const source = await X509Source.open({
      ...(options.workloadApi === undefined ? {} : { endpoint: `unix://${resolve(options.workloadApi)}` }),
      pick: (svids) => svids.find(({ spiffeId }) => spiffeId === workload),
      onError: (error) => log.warn({ error }, 'the agent gives no newer identity'),
    });
    const onFault = (error: unknown) => log.error({ error }, 'a fault');
    const state = resolve(options.state);
    const socket = resolve(options.socket ?? join(state, ENVOY_SOCKET));
    const serverId =
      options.serverId ?? parseSpiffeId(`spiffe://${trustDomainOf(workload)}/interlock/server`);
    const relay = await Relay.open({
      routes,
      source,
      socket,
      group,
      instance: options.instance ?? hostname(),
      version: `${VERSION} (envoy relay)`,
      files: stateFiles(state),
      spool: await Spool.open({ dir: join(state, 'spool'), now, onFault }),
      clock,
      openStream:
        server === undefined
          ? undefined
          : (handlers) =>
              openControlStream({ address: addresses?.take() ?? '', server: serverId, source }, handlers),
      onOnline: (online, error) =>
        online
          ? log.info({ server }, 'the control plane is connected')
          : log.warn({ server, error }, 'the control plane is away'),
      onEvent: (event) => tell(log, event),
      onFault,
    });
    const local = await listenLocally({
      path: join(state, PROXY_SOCKET),
      group,
      proxy: relay,
      clock,
      onAct: (act, details) => log.warn({ ...details }, `somebody on this machine: ${act}`),
    });
    log.info({ workload, socket }, 'the relay serves');
    const signal = await untilStopped();
    log.info({ signal }, 'the relay stops');
    await relay.close();
    await local.close();
    source.close();
    return EXIT.done.code;
  },
};

function tell(log: ReturnType<typeof openLog>, event: RelayEvent): void {
  switch (event.event) {
    case 'envoy':
      return event.what === 'connected' || event.what === 'left'
        ? log.info({ envoy: event.what }, `Envoy ${event.what === 'left' ? 'has left' : 'is connected'}`)
        : log.warn({ envoy: event.what, detail: event.detail, error: event.error }, 'Envoy');
    case 'confirmed':
      return log.info({ stateVersion: event.stateVersion }, 'Envoy has the state in force');
    case 'refused':
      return log.error(
        { stateVersion: event.stateVersion, detail: event.detail },
        event.back ? 'Envoy refused the state: the last good one goes back to it' : 'Envoy refused the state',
      );
    case 'logs-refused':
      return log.warn({ error: event.error }, 'access logs that were not taken');
    case 'wider':
      return log.warn({ detail: event.detail }, 'Envoy allows more than the policies say');
  }
}

function groupOption(text: string): number {
  try {
    return ownerOf(`:${text}`).gid;
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}
