import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { InterlockError, isInterlockError, parseTrustDomain, type SpiffeId } from '../../access/index.ts';
import {
  type Bundles,
  certificatesFromPem,
  parseBundle,
  parseCertificate,
  readJoinToken,
} from '../../identity/index.ts';
import {
  Agent,
  DockerEngine,
  githubEvidence,
  joinTokenEvidence,
  kubernetesEvidence,
  type NodeEvidence,
  oidcFileEvidence,
  PodList,
  readControlPlaneId,
  type ServerTrust,
  systemTimers,
  trustByPin,
  x509Evidence,
} from '../../node/index.ts';
import {
  type CommandSpec,
  type CommonOptions,
  InvalidArgumentError,
  Option,
  spiffeIdOption,
} from '../command.ts';
import { serversOption } from '../control/options.ts';
import { EXIT } from '../exit.ts';
import { type JoinTokenOptions, joinTokenOf, joinTokenOptions } from '../join-token.ts';
import { openLog } from '../log.ts';
import { untilStopped } from '../until-stopped.ts';
import { VERSION } from '../version.ts';

const ATTESTORS = ['join-token', 'kubernetes', 'x509', 'oidc', 'github'] as const;

interface Options extends CommonOptions, JoinTokenOptions {
  readonly server: readonly string[];
  readonly attest: (typeof ATTESTORS)[number];
  readonly tokenFile?: string;
  readonly cluster: string;
  readonly cert?: string;
  readonly key?: string;
  readonly audience: string;
  readonly trustBundle?: string;
  readonly serverId?: SpiffeId;
  readonly socket?: string;
  readonly adminSocket?: string;
  readonly delegate?: readonly SpiffeId[];
  readonly pods?: string;
  readonly podsToken?: string;
  readonly podsCa?: string;
  readonly docker?: string;
}

const K8S_TOKEN = '/var/run/secrets/tokens/interlock-agent';
const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';

/** `interlock agent`: the node's agent. */
export const agentCommand: CommandSpec<Options> = {
  name: 'agent',
  summary:
    'Run the agent of this node: it attests the node and its workloads, and serves each workload its own identity over the SPIFFE Workload API and Envoy SDS. Runs until it is stopped.',
  options: [
    new Option(
      '--server <host:port>',
      'the control plane; where several share a database, all of them apart by commas: they are tried in turn',
    )
      .argParser(serversOption)
      .makeOptionMandatory(),
    new Option('--attest <how>', 'how the node proves what it is, the first time')
      .choices(ATTESTORS)
      .default('join-token'),
    ...joinTokenOptions('the token of "interlock authority token"'),
    new Option('--token-file <file>', `the token, for kubernetes (default: ${K8S_TOKEN}) and oidc`),
    new Option(
      '--cluster <name>',
      'for kubernetes: the name the control plane knows this cluster by',
    ).default('default'),
    new Option('--cert <file>', 'for x509: the certificate chain, PEM'),
    new Option('--key <file>', 'for x509: its key, PEM'),
    new Option('--audience <name>', 'for github: the audience of the token').default('interlock'),
    new Option(
      '--trust-bundle <file>',
      "the control plane's authorities (PEM, or a SPIFFE bundle), where no join token names them",
    ),
    new Option(
      '--server-id <id>',
      "the control plane's own SPIFFE ID, where it is a child authority and no join token names it (default: that of the trust domain's root)",
    ).argParser(serverIdOption),
    new Option(
      '--socket <path>',
      'where workloads connect (default: /run/interlock/agent.sock for root, else agent.sock in the state)',
    ),
    new Option(
      '--admin-socket <path>',
      'where delegates connect (the Delegated Identity API); not served without',
    ),
    new Option('--delegate <id>', 'a SPIFFE ID that may use the admin socket; may be repeated').argParser(
      (text: string, before: readonly SpiffeId[] | undefined) => [...(before ?? []), spiffeIdOption(text)],
    ),
    new Option('--pods <url>', "where to read this node's pods: the kubelet's or the API server's address"),
    new Option('--pods-token <file>', 'the token for it').default(`${SERVICE_ACCOUNT}/token`),
    new Option('--pods-ca <file>', 'its authority, PEM').default(`${SERVICE_ACCOUNT}/ca.crt`),
    new Option('--docker <socket>', "the Docker Engine's socket, to know containers by their labels"),
  ],
  example: 'interlock agent --server 127.0.0.1:8443 --join-token-file node.token',
  json: 'log lines on standard error: {level, time, msg, ...}',
  async run({ terminal, now }, _, options) {
    const log = openLog(terminal, now);
    const evidence = evidenceOf(options);
    const agent = new Agent({
      version: VERSION,
      stateDir: join(options.state, 'agent'),
      server: options.server,
      firstTrust: () => firstTrust(options, now()),
      serverId: options.serverId,
      evidence,
      socketPath: socketPath(options),
      adminSocketPath: options.adminSocket === undefined ? undefined : resolve(options.adminSocket),
      delegates: new Set(options.delegate),
      attestor: {
        pods: options.pods === undefined ? undefined : podsOf(options.pods, options, now),
        containers: options.docker === undefined ? undefined : new DockerEngine(options.docker),
      },
      algorithm: 'ec-p256',
      timers: systemTimers,
      log,
    });
    if (!agent.isAttested && options.attest === 'join-token') joinTokenNow(options);
    await agent.start();
    try {
      const signal = await untilStopped(agent.refused);
      if (isInterlockError(signal)) throw refused(signal);
      log.info({ signal }, 'the agent stops');
    } finally {
      await agent.close();
    }
    return EXIT.done.code;
  },
};

function serverIdOption(text: string): SpiffeId {
  try {
    return readControlPlaneId(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
}

function socketPath({ socket, state }: Options): string {
  if (socket !== undefined) return resolve(socket);
  return process.getuid?.() === 0 ? '/run/interlock/agent.sock' : resolve(state, 'agent.sock');
}

function evidenceOf(options: Options): NodeEvidence {
  switch (options.attest) {
    case 'join-token':
      return joinTokenEvidence(() => joinTokenNow(options));
    case 'kubernetes':
      return kubernetesEvidence(options.cluster, options.tokenFile ?? K8S_TOKEN);
    case 'x509':
      return x509Evidence(needed(options.cert, '--cert'), needed(options.key, '--key'));
    case 'oidc':
      return oidcFileEvidence(needed(options.tokenFile, '--token-file'));
    case 'github':
      return githubEvidence(options.audience, process.env);
  }
}

/** The join token, looked at when it is needed: an agent that is attested goes on without. Throws `usage`, `io`. */
function joinTokenNow(options: Options): string {
  const token = joinTokenOf(options)?.();
  if (token === undefined) {
    throw new InterlockError(
      'usage',
      'join token',
      'this node is not attested: give --join-token-file or --join-token, from "interlock authority token" on the control plane',
    );
  }
  readJoinToken(token);
  return token;
}

function refused({ code, subject, message, cause }: InterlockError): InterlockError {
  const text = `the control plane does not take this node for an agent: ${message}. The same join token is not tried again: start the agent with a new one, from "interlock authority token" on the control plane`;
  return new InterlockError(code === 'usage' ? 'invalid_token' : code, subject, text, { cause });
}

function needed(value: string | undefined, option: string): string {
  if (value !== undefined) return value;
  throw new InterlockError('usage', option, `${option} is needed for this kind of attestation`);
}

/** What to know the control plane by when it is met for the first time. */
async function firstTrust(options: Options, now: number): Promise<ServerTrust> {
  if (options.trustBundle !== undefined) return { bundles: bundlesOfFile(options.trustBundle) };
  const token = joinTokenOf(options)?.();
  const pin = token === undefined ? undefined : readJoinToken(token).pin;
  if (pin !== undefined) return trustByPin(options.server, pin, now);
  throw new InterlockError(
    'usage',
    '--trust-bundle',
    'the control plane cannot be told from an impostor: give --trust-bundle, or a join token that names its authority',
  );
}

function bundlesOfFile(file: string): Bundles {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new InterlockError('io', file, `${file} cannot be read`, { cause: error });
  }
  // A bundle document does not name its trust domain; its certificates do.
  const authorities = text.includes('-----BEGIN')
    ? certificatesFromPem(text)
    : parseBundle(text, 'any').x509Authorities.map(parseCertificate);
  const domains = new Set(authorities.map(({ spiffeId }) => spiffeId?.slice('spiffe://'.length)));
  const [domain] = domains;
  if (domains.size !== 1 || domain === undefined) {
    throw new InterlockError(
      'invalid_certificate',
      file,
      `${file} must hold the authorities of one trust domain, each with its SPIFFE ID`,
    );
  }
  const trustDomain = parseTrustDomain(domain);
  const x509Authorities = authorities.map(({ der }) => der);
  return new Map([[trustDomain, { trustDomain, x509Authorities, jwtAuthorities: [] }]]);
}

function podsOf(url: string, { podsToken, podsCa }: Options, now: () => number): PodList {
  return new PodList({
    url,
    now,
    ...(podsToken === undefined ? {} : { tokenFile: podsToken }),
    ...(podsCa === undefined ? {} : { caFile: podsCa }),
  });
}
