import { readFileSync } from 'node:fs';
import { InterlockError } from '../../../access/index.ts';
import { type CommandSpec, type CommonOptions, Option } from '../../command.ts';
import { addressOption, durationOption, listOption } from '../../control/options.ts';
import { EXIT } from '../../exit.ts';
import { ioError } from '../../files.ts';
import { type JoinTokenOptions, joinTokenOf, joinTokenOptions } from '../../join-token.ts';
import { openLog } from '../../log.ts';
import { untilStopped } from '../../until-stopped.ts';
import { VERSION } from '../../version.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

interface Options extends CommonOptions, JoinTokenOptions {
  readonly listen: Address;
  readonly endpoints?: Address;
  readonly endpointCert?: string;
  readonly endpointKey?: string;
  readonly attestors?: string;
  readonly federationCa?: string;
  readonly waitForAgents?: number;
  readonly parent?: string;
  readonly nodeProxy?: readonly string[];
}

/** `interlock authority serve`: the control plane. */
export const authorityServeCommand: CommandSpec<Options> = {
  name: 'authority serve',
  summary:
    'Run the control plane of the trust domain: agents attest and get their identities here, other commands talk to it. Runs until it is stopped.',
  options: [
    new Option('--listen <host:port>', 'where agents connect')
      .argParser(addressOption)
      .default({ host: '127.0.0.1', port: 8443 }, '127.0.0.1:8443'),
    new Option(
      '--endpoints <host:port>',
      'serve the bundle and the OpenID documents over HTTPS here',
    ).argParser(addressOption),
    new Option(
      '--endpoint-cert <file>',
      'their certificate chain, PEM (default: the own SVID, as https_spiffe has it)',
    ),
    new Option('--endpoint-key <file>', 'its key, PEM'),
    new Option(
      '--attestors <file>',
      'YAML: how nodes may attest beside join tokens (k8s_psat, oidc, x509pop)',
    ),
    new Option('--federation-ca <file>', 'authorities of https_web peers, PEM, instead of the public ones'),
    new Option(
      '--wait-for-agents <duration>',
      'how long a new authority that is due waits for agents to confirm it (default: half of what the old one has left, a twelfth of its life)',
    ).argParser(durationOption),
    new Option('--parent <host:port>', 'be a child authority of this control plane'),
    new Option(
      '--node-proxy <id>',
      'a SPIFFE ID (or all below one: ID/*) that may enforce for every workload; may be repeated',
    ).argParser(listOption),
    ...joinTokenOptions('for a parent, the first time: from its "interlock authority token"'),
  ],
  example: 'interlock authority serve --listen 0.0.0.0:8443 --endpoints 127.0.0.1:8444',
  json: 'log lines on standard error: {level, time, msg, ...}',
  async run({ terminal, now }, _args, options) {
    const { attestorsFrom, realTimers, serveIdentity } = await import('../../../server/index.ts');
    const log = openLog(terminal, now);
    const identity = endpointIdentity(options);
    const attestors =
      options.attestors === undefined ? undefined : attestorsFrom(text(options.attestors), options.attestors);
    const serving = await serveIdentity({
      state: options.state,
      listen: options.listen,
      endpoints: options.endpoints && { ...options.endpoints, identity },
      attestors,
      patience: options.waitForAgents,
      federationCa: options.federationCa === undefined ? undefined : [text(options.federationCa)],
      parent:
        options.parent === undefined
          ? undefined
          : { address: options.parent, joinToken: joinTokenOf(options) },
      nodeProxies: options.nodeProxy,
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

function endpointIdentity({ endpointCert, endpointKey }: Options) {
  if (endpointCert === undefined && endpointKey === undefined) return undefined;
  if (endpointCert === undefined || endpointKey === undefined)
    throw new InterlockError(
      'usage',
      '--endpoint-cert',
      '--endpoint-cert and --endpoint-key are given together',
    );
  return { chain: text(endpointCert), key: text(endpointKey) };
}

function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw ioError(file, cause);
  }
}
