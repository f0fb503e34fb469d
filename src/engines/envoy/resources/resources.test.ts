import { describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../../access/index.ts';
import { type AccessPolicy, readPolicies } from '../../../policy/index.ts';
import type { Message } from '@bufbuild/protobuf';
import { listener as listenerProto, tcpProxy } from '../../../proto/envoy/index.ts';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  checkEnvoyRoutes,
  type EnvoyInbound,
  type EnvoyResource,
  envoyResources,
  type EnvoyWorkload,
  logName,
  messageOf,
  parseLogName,
  RBAC_FILTERS,
} from './index.ts';

const APP = 'spiffe://example.org/ns/shop/sa/app' as SpiffeId;
const WEB = 'spiffe://example.org/ns/shop/sa/web' as SpiffeId;
const here = (port: number) => ({ host: '127.0.0.1', port });
const HTTP: EnvoyInbound = { listen: here(15_006), forward: here(8080), port: 8080, protocol: 'http' };
const TCP: EnvoyInbound = { listen: here(15_007), forward: here(6379), port: 6379, protocol: 'tcp' };

const policy = (rules: readonly unknown[]): AccessPolicy[] =>
  readPolicies(
    JSON.stringify({
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name: 'app' },
      spec: { protects: { workload: APP }, rules },
    }),
  );
const READ = policy([{ name: 'read', from: [{ workload: WEB }], to: [{ http: {}, ports: [8080] }] }]);

type Given = Partial<EnvoyWorkload> & { readonly sets?: Partial<EnvoyWorkload['enforcement']> };

function render({ sets = {}, ...given }: Given = {}) {
  return envoyResources({
    workload: APP,
    trustDomains: ['partner.example'],
    version: '7',
    accessLogCluster: 'interlock_control_plane',
    inbound: [HTTP],
    outbound: [],
    ...given,
    enforcement: { workload: APP, authentication: 'strict', stage: 'shadow', ...sets },
  });
}

const find = (resources: readonly EnvoyResource[], type: EnvoyResource['type']) =>
  resources.find((resource) => resource.type === type)?.json ?? {};
const keysOf = (given: Given) => {
  const [host] = find(render(given).resources, 'route')['virtual_hosts'] as Record<string, object>[];
  return Object.keys(host?.['typed_per_filter_config'] ?? {});
};
const typesOf = (resources: readonly EnvoyResource[]) => resources.map(({ type, name }) => `${type} ${name}`);

describe('a program that speaks HTTP/2', () => {
  const optionsOf = (inbound: EnvoyInbound) =>
    JSON.stringify(find(render({ inbound: [inbound] }).resources, 'cluster'));

  test('gets what came over HTTP/2 as it came, and HTTP/1.1 as well; others get HTTP/1.1', () => {
    expect(optionsOf({ ...HTTP, programSpeaks: 'h2' })).toContain('use_downstream_protocol_config');
    expect(optionsOf(HTTP)).not.toContain('typed_extension_protocol_options');
  });

  test('is on a port that is served as HTTP', () => {
    expect(() => render({ inbound: [{ ...TCP, programSpeaks: 'h2' }] })).toThrow(
      '"programSpeaks" is for ports of "protocol: http"',
    );
  });
});

describe('routes for an Envoy', () => {
  const routes = { authentication: 'strict', inbound: [HTTP], outbound: [] } as const;

  test.each([
    ['another workload', { inbound: [{ ...HTTP, workload: WEB }] }, 'an Envoy serves one workload'],
    ['users that Envoy cannot tell', { outboundUsers: ['www-data'] }, '"outboundUsers" names users'],
  ])('are refused where they have %s', (_, change, message) => {
    expect(() => checkEnvoyRoutes(APP, { ...routes, ...change })).toThrow(message);
  });

  test('are taken where anybody may call out, or nobody is named', () => {
    expect(() => checkEnvoyRoutes(APP, { ...routes, outboundUsers: 'any' })).not.toThrow();
    expect(() => checkEnvoyRoutes(APP, { ...routes, outboundUsers: [] })).not.toThrow();
  });
});

describe('the resources of a workload', () => {
  test('are named after the listening address, whatever the policies are', () => {
    const names = [
      'listener inbound/127.0.0.1:15006',
      'cluster inbound/127.0.0.1:15006',
      'cluster inbound/127.0.0.1:15006/grpc',
      'route inbound/127.0.0.1:15006',
      'endpoint inbound/127.0.0.1:15006',
    ];
    expect(typesOf(render().resources)).toEqual(names);
    expect(typesOf(render({ sets: { enforced: READ, target: READ } }).resources)).toEqual(names);
  });

  test('change no listener of HTTP when policies change: rules come with the routes', () => {
    const [before, after] = [render(), render({ version: '8', sets: { enforced: READ, target: READ } })];
    expect(find(after.resources, 'listener')).toEqual(find(before.resources, 'listener'));
    expect(find(after.resources, 'route')).not.toEqual(find(before.resources, 'route'));
  });

  test('ask the target set before the enforced one, which may end the request', () => {
    const [target, enforced] = ['target', 'enforced'].map((set) =>
      RBAC_FILTERS.flatMap((filter, index) => (filter.set === set ? [index] : [])),
    );
    expect(Math.max(...(target ?? []))).toBeLessThan(Math.min(...(enforced ?? [])));
    expect(new Set(RBAC_FILTERS.map(({ prefix }) => prefix)).size).toBe(RBAC_FILTERS.length);
  });

  test.each<[string, Given, string[]]>([
    ['nothing in draft', {}, []],
    ['the target in shadow', { sets: { target: READ } }, ['interlock.target.deny', 'interlock.target.allow']],
    [
      'both when enforced',
      { sets: { target: READ, enforced: READ } },
      [
        'interlock.target.deny',
        'interlock.target.allow',
        'interlock.enforced.deny',
        'interlock.enforced.allow',
      ],
    ],
    ['nothing of a set that has no policy, as decide has it', { sets: { enforced: [] } }, []],
  ])('carry %s', (_, given, keys) => {
    expect(keysOf(given)).toEqual(keys);
  });

  test('deny everything with a policy without rules', () => {
    const { resources } = render({ sets: { enforced: policy([]) } });
    expect(JSON.stringify(find(resources, 'route'))).toContain('"rules":{"action":"ALLOW","policies":{}}');
  });

  test.each<[EnvoyWorkload['enforcement']['authentication'], string[], string[]]>([
    ['strict', ['mtls tls=true'], []],
    ['plaintext', ['plaintext tls=false'], []],
    ['permissive', ['mtls tls=true', 'plaintext tls=false'], ['envoy.filters.listener.tls_inspector']],
  ])('take connections as the stage says: %s', (authentication, chains, filters) => {
    const listener = find(render({ sets: { authentication } }).resources, 'listener');
    const own = listener['filter_chains'] as { name: string; transport_socket?: object }[];
    expect(own.map(({ name, transport_socket: tls }) => `${name} tls=${tls !== undefined}`)).toEqual(chains);
    const inspectors = (listener['listener_filters'] ?? []) as { name: string }[];
    expect(inspectors.map(({ name }) => name)).toEqual(filters);
  });

  test('accept only certificates of the trust domains that are named, without resumption', () => {
    const text = JSON.stringify(find(render().resources, 'listener'));
    expect(text).toContain('"require_client_certificate":true');
    expect(text).toContain(
      '"disable_stateless_session_resumption":true,"disable_stateful_session_resumption":true',
    );
    expect(text.match(/"prefix":"spiffe:[^"]*"/g)).toEqual([
      '"prefix":"spiffe://example.org/"',
      '"prefix":"spiffe://partner.example/"',
    ]);
  });

  test('say what a port cannot say of the policies, for each set apart', () => {
    const { losses } = render({ inbound: [TCP], sets: { target: READ } });
    expect(losses.enforced).toEqual([]);
    expect(losses.target.map(({ effect, code }) => `${effect} ${code}`)).toEqual([
      'narrower server-first-on-tcp-port',
    ]);
    const first = render({ inbound: [{ ...TCP, serverFirst: true }], sets: { target: READ } });
    expect(first.losses.target.map(({ effect, code }) => `${effect} ${code}`)).toEqual([
      'wider server-first',
    ]);
  });

  test('go out with mutual TLS to one peer, over EDS to an address and over DNS to a name', () => {
    const outbound = (host: string) =>
      render({
        inbound: [],
        outbound: [{ listen: here(15_001), to: { host, port: 80 }, peer: WEB, protocol: 'tcp' }],
      }).resources;
    expect(find(outbound('10.0.0.1'), 'cluster')).toMatchObject({ type: 'EDS' });
    expect(typesOf(outbound('10.0.0.1'))).toContain('endpoint outbound/127.0.0.1:15001');
    expect(find(outbound('db.internal'), 'cluster')).toMatchObject({ type: 'STRICT_DNS' });
    expect(typesOf(outbound('db.internal'))).toHaveLength(2);
    expect(JSON.stringify(find(outbound('10.0.0.1'), 'cluster'))).toContain(`"matcher":{"exact":"${WEB}"}`);
  });
});

describe('what would be dangerous is refused', () => {
  const out = (host: string, port = 15_001): Given => ({
    outbound: [{ listen: { host, port }, to: { host: '10.0.0.1', port: 80 }, peer: WEB, protocol: 'tcp' }],
  });
  test.each<[string, Given, string]>([
    ['a way out for everybody', out('0.0.0.0'), 'listen on loopback'],
    ['a way out on an address of the host', out('10.1.1.1'), 'listen on loopback'],
    [
      'a name to listen on',
      { inbound: [{ ...HTTP, listen: { host: 'localhost', port: 1 } }] },
      'write an IP address',
    ],
    ['a port that leads to itself', { inbound: [{ ...HTTP, forward: HTTP.listen }] }, 'lead to itself'],
    [
      'a port of all addresses that leads to itself',
      { inbound: [{ ...HTTP, listen: { host: '0.0.0.0', port: 8080 } }] },
      'lead to itself',
    ],
    ['one place to listen on for two', { inbound: [HTTP, { ...TCP, listen: HTTP.listen }] }, 'are one place'],
    [
      'a place within all addresses',
      { inbound: [HTTP, { ...TCP, listen: { host: '0.0.0.0', port: 15_006 } }] },
      'are one place',
    ],
    ['port 0', { inbound: [{ ...HTTP, port: 0 }] }, 'no port of 1 to 65535'],
    ['a version that is no name', { version: 'a/b' }, 'is no version'],
    ["another workload's port", { inbound: [{ ...HTTP, workload: WEB }] }, 'an Envoy serves one workload'],
    [
      'a PROXY header to be sent',
      { inbound: [{ ...HTTP, sendProxyHeader: 'v2' }] },
      'is to send a PROXY header',
    ],
    ["another workload's enforcement", { sets: { workload: WEB } }, 'not of'],
    [
      'a CIDR that is none',
      {
        inbound: [{ ...HTTP, trustProxyHeader: { addresses: ['10.0.0.0/99'] } }],
      },
      'is not a CIDR',
    ],
  ])('%s', (_, given, message) => {
    expect(() => render(given)).toThrow(message);
  });

  test('trust in nobody with a PROXY header lets nobody in', () => {
    const { resources } = render({ inbound: [{ ...HTTP, trustProxyHeader: { addresses: [] } }] });
    expect(JSON.stringify(find(resources, 'listener'))).toContain('"rules":{"action":"ALLOW","policies":{}}');
  });
});

describe('the messages of resources', () => {
  test('hold a field that the bundled .proto files lack: the program is connected to after the judgement', () => {
    const numbers = (sets: Given['sets'], more: Partial<EnvoyInbound> = {}): number[] => {
      const { resources } = render({ inbound: [{ ...TCP, ...more }], sets: sets ?? {} });
      const [resource] = resources;
      if (resource === undefined) throw new Error('a port has a listener');
      return unknownOfTcpProxy(messageOf(resource));
    };
    expect(numbers({ enforced: READ, target: READ })).toEqual([21, 22]);
    expect(numbers({ enforced: READ }, { serverFirst: true })).toEqual([]);
    expect(numbers({ target: READ })).toEqual([]);
  });

  test('are refused with a field that Envoy does not have', () => {
    expect(() => messageOf({ type: 'cluster', name: 'c', json: { name: 'c', colour: 'red' } })).toThrow(
      'colour',
    );
  });
});

/** The numbers of fields that the TcpProxy of a listener has beyond its schema. */
function unknownOfTcpProxy(message: Message): number[] {
  const bytes = toBinary(listenerProto.ListenerSchema, message as listenerProto.Listener);
  const { filterChains } = fromBinary(listenerProto.ListenerSchema, bytes);
  const { configType } = filterChains[0]?.filters.at(-1) ?? {};
  if (configType?.case !== 'typedConfig') throw new Error('the last filter has a configuration');
  const { $unknown = [] } = fromBinary(tcpProxy.TcpProxySchema, configType.value.value);
  return $unknown.map(({ no }) => no);
}

describe('the name of an access log', () => {
  test.each([
    { kind: 'requests', workload: APP, port: 8080 },
    { kind: 'connections', workload: APP, port: 6379, version: '7-a.b' },
    { kind: 'accepted', workload: APP, port: 1 },
  ] as const)('is read as it was written: %j', (about) => {
    expect(parseLogName(logName(about))).toEqual(about);
  });

  test.each([
    '',
    'interlock/requests/80/-/',
    'interlock/other/80/-/spiffe://a/b',
    `interlock/requests/80/-/${APP}/`,
    'x',
  ])('is nothing else: %j', (text) => {
    expect(parseLogName(text)).toBeUndefined();
  });
});
