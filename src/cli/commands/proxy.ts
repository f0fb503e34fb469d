import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { InterlockError, parseSpiffeId, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  listenLocally,
  type NodeProxyDocument,
  openControlStream,
  openNodePorts,
  Proxy,
  type ProxyDocument,
  type ProxyOptions,
  readNodeProxyDocument,
  readProxyDocument,
  Spool,
  stateFiles,
} from '../../proxy/index.ts';
import { Addresses, type Clock, systemClock, X509Source } from '../../workload/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  InvalidArgumentError,
  Option,
  spiffeIdOption,
} from '../command.ts';
import { PROXY_SOCKET } from '../control/local-proxy.ts';
import { durationOption, serversOption } from '../control/options.ts';
import { EXIT } from '../exit.ts';
import { readText } from '../files.ts';
import { openLog } from '../log.ts';
import { untilStopped } from '../until-stopped.ts';
import { VERSION } from '../version.ts';

interface Options extends CommonOptions {
  readonly server?: readonly string[];
  readonly serverId?: SpiffeId;
  readonly workloadApi?: string;
  readonly instance?: string;
  readonly group?: number;
  readonly drain: number;
  readonly node?: true;
  readonly adminSocket: string;
}

/** `interlock proxy`: the built-in proxy of one workload, or of a node's. */
export const proxyCommand: CommandSpec<Options> = {
  name: 'proxy',
  args: '<file>',
  summary:
    'Run the built-in proxy before a workload, or with --node before those of a machine: mutual TLS both ways, the verdicts of its policies, evidence of every access. It starts from its last state when no control plane answers. Runs until it is stopped.',
  options: [
    new Option(
      '--server <host:port>',
      'the control plane; without it nothing is enforced beyond the last state. Where several share a database, all of them apart by commas: they are tried in turn',
    ).argParser(serversOption),
    new Option(
      '--server-id <id>',
      "the control plane's SPIFFE ID (default: /interlock/server of the own trust domain)",
    ).argParser(spiffeIdOption),
    new Option(
      '--node',
      'a node proxy for many workloads: the file is a NodeProxy, and the agent knows this proxy as a delegate',
    ),
    new Option(
      '--admin-socket <path>',
      "with --node: the agent's admin socket, which gives the workloads' identities",
    ).default('/run/interlock/admin.sock'),
    new Option('--workload-api <path>', "the agent's socket (default: SPIFFE_ENDPOINT_SOCKET)"),
    new Option(
      '--instance <name>',
      'which of the proxies of this workload; stable over restarts (default: the host and the name in the file)',
    ),
    new Option(
      '--group <gid>',
      'a group that may press the button here, beside root and this user',
    ).argParser(groupOption),
    new Option('--drain <duration>', 'how long open connections may take to end when it stops')
      .argParser(durationOption)
      .default(10_000, '10s'),
  ],
  example: 'interlock proxy cart-proxy.yaml --server 127.0.0.1:8443 --state /var/lib/interlock/cart',
  json: 'log lines on standard error: {level, time, msg, ...}',
  async run({ terminal, now }, [file = ''], options) {
    const log = openLog(terminal, now);
    const text = readText(file);
    const document = options.node ? readNodeProxyDocument(text, file) : readProxyDocument(text, file);
    const clock = { ...systemClock, now };
    const wanted = 'workloads' in document ? document.identity : document.workload;
    const source = await X509Source.open({
      ...(options.workloadApi === undefined ? {} : { endpoint: `unix://${resolve(options.workloadApi)}` }),
      ...(wanted === undefined ? {} : { pick: pickOf(wanted) }),
      onError: (error) => log.warn({ error }, 'the agent gives no identity now; it is asked again'),
    });
    const own = source.svid.spiffeId;
    const onFault = (error: unknown) => log.error({ error }, 'a fault');
    const state = resolve(options.state);
    const spool = await Spool.open({ dir: join(state, 'spool'), now, onFault });
    const { server } = options;
    const addresses = server && new Addresses(server, () => clock.random());
    const serverId = options.serverId ?? parseSpiffeId(`spiffe://${trustDomainOf(own)}/interlock/server`);
    const served =
      'workloads' in document
        ? nodeServed(document, resolve(options.adminSocket), source, clock, (error) =>
            log.warn({ error }, 'the agent says nothing of a process'),
          )
        : sidecarServed(document, source, file);
    const proxy = await Proxy.open({
      ...served,
      instance: options.instance ?? `${hostname()}-${document.name}`,
      version: VERSION,
      timeouts: document.timeouts,
      authentication: document.authentication,
      files: stateFiles(state),
      spool,
      clock,
      openStream:
        server === undefined
          ? undefined
          : (handlers) =>
              openControlStream({ address: addresses?.take() ?? '', server: serverId, source }, handlers),
      onLine: ({ event, reason, ...fields }) => log.warn({ event, ...fields }, reason),
      onOnline: (online, error) =>
        online
          ? log.info({ server }, 'the control plane is connected')
          : log.warn({ server, error }, 'the control plane is away'),
      onFault,
    });
    const local = await listenLocally({
      path: join(state, PROXY_SOCKET),
      group: options.group,
      proxy,
      clock,
      onAct: (act, details) => log.warn({ ...details }, `somebody on this machine: ${act}`),
    });
    const { inbound, outbound } = proxy.addresses;
    const { workloads } = proxy.status;
    log.info({ workloads, inbound, outbound }, 'the proxy serves');
    const signal = await untilStopped();
    log.info({ signal }, 'the proxy stops');
    await proxy.drain(options.drain);
    await local.close();
    source.close();
    return EXIT.done.code;
  },
};

type Served = Pick<
  ProxyOptions,
  'sources' | 'workloads' | 'inbound' | 'outbound' | 'outboundUsers' | 'openPorts'
>;

/** What a sidecar serves: the workload that it is. */
function sidecarServed(document: ProxyDocument, source: X509Source, file: string): Served {
  const workload = source.svid.spiffeId;
  checkRoutes(document, workload, file);
  return {
    sources: new Map([[workload, source]]),
    inbound: document.inbound.map((route) => ({ ...route, workload })),
    outbound: document.outbound.map((route) => ({ ...route, workload })),
    outboundUsers: document.outboundUsers,
  };
}

/** What a node proxy serves: the workloads of its document, each under what the agent gives its processes. */
function nodeServed(
  document: NodeProxyDocument,
  adminSocket: string,
  own: X509Source,
  clock: Clock,
  onFault: (error: InterlockError) => void,
): Served {
  const adminEndpoint = `unix://${adminSocket}`;
  return {
    sources: new Map(),
    workloads: document.workloads.map(({ id }) => id),
    inbound: [],
    outbound: [],
    openPorts: (parts) => openNodePorts({ document, adminEndpoint, own, clock, onFault }, parts),
  };
}

/** The SVID of a workload, where the agent gives several. */
function pickOf(workload: SpiffeId) {
  return <T extends { readonly spiffeId: SpiffeId }>(svids: readonly T[]): T | undefined =>
    svids.find(({ spiffeId }) => spiffeId === workload);
}

/** A sidecar serves the workload that it is: for others it has no identity. */
function checkRoutes({ inbound, outbound }: ProxyDocument, own: SpiffeId, file: string): void {
  for (const { workload } of [...inbound, ...outbound]) {
    if (workload === undefined || workload === own) continue;
    throw new InterlockError(
      'invalid_document',
      file,
      `${file} has a route of ${workload}, and the agent gives ${own}`,
    );
  }
}

function groupOption(text: string): number {
  const gid = Number(text);
  if (!/^\d{1,10}$/.test(text))
    throw new InvalidArgumentError('a group is given by its number, as "getent group NAME" shows it');
  return gid;
}
