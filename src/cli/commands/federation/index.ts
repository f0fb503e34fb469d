import type { Received } from '../../../api/index.ts';
import { type CommandSpec, Option, spiffeIdOption, trustDomainOption } from '../../command.ts';
import { Api } from '../../control/api.ts';
import { type ApiOptions, SERVER } from '../../control/options.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';
import type { Terminal } from '../../terminal.ts';

type Peer = Received<'federation.list'>['peers'][number];

const STATE_WORDS: Readonly<Record<Peer['state'], string>> = {
  not_fetched: 'not fetched yet',
  failing: 'failing',
  stale: 'stale',
  fresh: 'fresh',
};

const JSON_SHAPE =
  '{trustDomain, endpointUrl, profile, endpointSpiffeId?, authorities, sequence?, fetchedAt?, nextAt, state: "not_fetched", "failing", "stale" or "fresh", isStale, failures, lastFault?}';

interface AddOptions extends ApiOptions {
  readonly endpoint: string;
  readonly spiffeId?: string;
  readonly bundle?: string;
}

const add: CommandSpec<AddOptions> = {
  name: 'federation add',
  args: '<trust-domain>',
  summary:
    'Fetch the bundle of another trust domain, keep it fresh, and give it to the workloads whose rules federate with it.',
  options: [
    SERVER,
    new Option('--endpoint <url>', 'its bundle endpoint').makeOptionMandatory(),
    new Option(
      '--spiffe-id <id>',
      'the SPIFFE ID that the endpoint must prove (https_spiffe); without, public authorities are asked (https_web)',
    ).argParser(spiffeIdOption),
    new Option(
      '--bundle <file>',
      'its first bundle (the SPIFFE document), which https_spiffe needs to begin with',
    ),
  ],
  example: 'interlock federation add other.example --endpoint https://other.example/bundle',
  json: JSON_SHAPE,
  async run({ terminal, now }, [name = ''], { state, server, json, endpoint, spiffeId, bundle }) {
    const peer = await new Api({ state, server }).call('federation.put', {
      body: {
        trustDomain: trustDomainOption(name),
        endpointUrl: endpoint,
        profile: spiffeId === undefined ? 'https_web' : 'https_spiffe',
        endpointSpiffeId: spiffeId,
        bundle: bundle === undefined ? undefined : readText(bundle),
      },
    });
    return tell(terminal, [peer], now(), json);
  },
};

const list: CommandSpec<ApiOptions> = {
  name: 'federation list',
  summary: 'List the federated trust domains, and how fresh their bundles are.',
  options: [SERVER],
  example: 'interlock federation list',
  json: `{peers: [${JSON_SHAPE}], children: [{trustDomain, agent}]}`,
  async run({ terminal, now }, _args, { state, server, json }) {
    const shown = await new Api({ state, server }).call('federation.list');
    if (json) {
      terminal.json(shown);
      return EXIT.done.code;
    }
    tell(terminal, shown.peers, now(), undefined);
    for (const { trustDomain, agent } of shown.children)
      terminal.prose(`${trustDomain} is published by ${agent}.`);
    return EXIT.done.code;
  },
};

const refresh: CommandSpec<ApiOptions> = {
  name: 'federation refresh',
  args: '<trust-domain>',
  summary: 'Fetch the bundle of a trust domain now.',
  options: [SERVER],
  example: 'interlock federation refresh other.example',
  json: JSON_SHAPE,
  async run({ terminal, now }, [name = ''], { state, server, json }) {
    const peer = await new Api({ state, server }).call('federation.refresh', {
      params: { trustDomain: name },
    });
    return tell(terminal, [peer], now(), json);
  },
};

const remove: CommandSpec<ApiOptions> = {
  name: 'federation remove',
  args: '<trust-domain>',
  summary: 'End the federation with a trust domain: its bundle is withdrawn from every workload.',
  options: [SERVER],
  example: 'interlock federation remove other.example',
  json: '{removed: trustDomain}',
  async run({ terminal }, [name = ''], { state, server, json }) {
    const done = await new Api({ state, server }).call('federation.remove', {
      params: { trustDomain: name },
    });
    if (json) terminal.json(done);
    else terminal.line(`removed    ${done.removed}`);
    return EXIT.done.code;
  },
};

/** `interlock federation ...`. */
export const FEDERATION_COMMANDS: readonly CommandSpec<never>[] = [add, list, refresh, remove];

function tell(terminal: Terminal, peers: readonly Peer[], now: number, json: true | undefined): number {
  if (json) {
    for (const peer of peers) terminal.json(peer);
    return EXIT.done.code;
  }
  terminal.listing([
    ['TRUST DOMAIN', 'ENDPOINT', 'AUTHORITIES', 'FETCHED', 'STATE'],
    ...peers.map(({ trustDomain, endpointUrl, profile, authorities, fetchedAt, state, lastFault }) => [
      trustDomain,
      `${endpointUrl} (${profile})`,
      String(authorities),
      fetchedAt === undefined ? '-' : distanceText(fetchedAt, now),
      (state === 'failing' ? lastFault?.message : undefined) ?? STATE_WORDS[state],
    ]),
  ]);
  return EXIT.done.code;
}
