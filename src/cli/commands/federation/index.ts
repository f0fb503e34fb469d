import {
  type CommandSpec,
  type CommonOptions,
  Option,
  spiffeIdOption,
  trustDomainOption,
} from '../../command.ts';
import { Api } from '../../control/api.ts';
import { distanceText } from '../../control/words.ts';
import { EXIT } from '../../exit.ts';
import { readText } from '../../files.ts';
import type { Terminal } from '../../terminal.ts';

interface Peer {
  readonly trustDomain: string;
  readonly endpointUrl: string;
  readonly profile: string;
  readonly authorities: number;
  readonly sequence?: number;
  readonly fetchedAt?: number;
  readonly state: 'not_fetched' | 'failing' | 'stale' | 'fresh';
  readonly lastFault?: { readonly message: string };
}

const STATE_WORDS: Readonly<Record<Peer['state'], string>> = {
  not_fetched: 'not fetched yet',
  failing: 'failing',
  stale: 'stale',
  fresh: 'fresh',
};

const JSON_SHAPE =
  '{trustDomain, endpointUrl, profile, endpointSpiffeId?, authorities, sequence?, fetchedAt?, nextAt, state: "not_fetched", "failing", "stale" or "fresh", isStale, failures, lastFault?}';

interface AddOptions extends CommonOptions {
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
  async run({ terminal, now }, [name = ''], { state, json, endpoint, spiffeId, bundle }) {
    const peer = await new Api(state).put<Peer>('/v1/federation', {
      trustDomain: trustDomainOption(name),
      endpointUrl: endpoint,
      profile: spiffeId === undefined ? 'https_web' : 'https_spiffe',
      endpointSpiffeId: spiffeId,
      bundle: bundle === undefined ? undefined : readText(bundle),
    });
    return tell(terminal, [peer], now(), json);
  },
};

const list: CommandSpec<CommonOptions> = {
  name: 'federation list',
  summary: 'List the federated trust domains, and how fresh their bundles are.',
  options: [],
  example: 'interlock federation list',
  json: `{peers: [${JSON_SHAPE}], children: [{trustDomain, agent}]}`,
  async run({ terminal, now }, _args, { state, json }) {
    const shown = await new Api(state).get<{
      peers: Peer[];
      children: { trustDomain: string; agent: string }[];
    }>('/v1/federation');
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

const refresh: CommandSpec<CommonOptions> = {
  name: 'federation refresh',
  args: '<trust-domain>',
  summary: 'Fetch the bundle of a trust domain now.',
  options: [],
  example: 'interlock federation refresh other.example',
  json: JSON_SHAPE,
  async run({ terminal, now }, [name = ''], { state, json }) {
    const peer = await new Api(state).post<Peer>(`/v1/federation/${encodeURIComponent(name)}/refresh`);
    return tell(terminal, [peer], now(), json);
  },
};

const remove: CommandSpec<CommonOptions> = {
  name: 'federation remove',
  args: '<trust-domain>',
  summary: 'End the federation with a trust domain: its bundle is withdrawn from every workload.',
  options: [],
  example: 'interlock federation remove other.example',
  json: '{removed: trustDomain}',
  async run({ terminal }, [name = ''], { state, json }) {
    const done = await new Api(state).delete<{ removed: string }>(
      `/v1/federation/${encodeURIComponent(name)}`,
    );
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
