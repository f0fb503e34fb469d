import { type ChildProcess, fork } from 'node:child_process';
import { create } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { status } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import {
  cluster,
  endpoint,
  httpConnectionManager,
  httpRbac,
  listener,
  rbac,
  route,
  router,
} from '../proto/envoy/index.ts';
import type { FromProgram } from './grpc-program.test-helper.ts';
import type { ProxyStatus } from './proxies.ts';
import { type Resource, resourceOf } from './resources.ts';
import { type Served, served } from './testing.test-helper.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const each of open.splice(0)) each.close();
});

const Http = httpConnectionManager.HttpConnectionManagerSchema;
const ROUTER = { name: 'router', any: anyPack(router.RouterSchema, create(router.RouterSchema)) };
const ads = { configSourceSpecifier: { case: 'ads' as const, value: {} } };

function filters(list: readonly { name: string; any: Any }[]) {
  return list.map(({ name, any: value }) => ({ name, configType: { case: 'typedConfig' as const, value } }));
}

/** What a client named "echo" and the server on the port need. */
function echoResources(port: number, serverFilters: readonly { name: string; any: Any }[]): Resource[] {
  const address = {
    address: {
      case: 'socketAddress' as const,
      value: { address: '127.0.0.1', portSpecifier: { case: 'portValue' as const, value: port } },
    },
  };
  const client = create(Http, {
    httpFilters: filters([ROUTER]),
    routeSpecifier: { case: 'rds', value: { routeConfigName: 'echo-routes', configSource: ads } },
  });
  const server = create(Http, {
    httpFilters: filters(serverFilters),
    routeSpecifier: {
      case: 'routeConfig',
      value: {
        name: 'inbound',
        virtualHosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [
              {
                match: { pathSpecifier: { case: 'prefix', value: '/' } },
                action: { case: 'nonForwardingAction', value: {} },
              },
            ],
          },
        ],
      },
    },
  });
  return [
    resourceOf(
      create(listener.ListenerSchema, { name: 'echo', apiListener: { apiListener: anyPack(Http, client) } }),
    ),
    resourceOf(
      create(route.RouteConfigurationSchema, {
        name: 'echo-routes',
        virtualHosts: [
          {
            name: 'echo',
            domains: ['echo'],
            routes: [
              {
                match: { pathSpecifier: { case: 'prefix', value: '/' } },
                action: {
                  case: 'route',
                  value: { clusterSpecifier: { case: 'cluster', value: 'echo-cluster' } },
                },
              },
            ],
          },
        ],
      }),
    ),
    resourceOf(
      create(cluster.ClusterSchema, {
        name: 'echo-cluster',
        clusterDiscoveryType: { case: 'type', value: cluster.Cluster_DiscoveryType.EDS },
        edsClusterConfig: { edsConfig: ads },
      }),
    ),
    resourceOf(
      create(endpoint.ClusterLoadAssignmentSchema, {
        clusterName: 'echo-cluster',
        endpoints: [
          {
            locality: { region: 'here' },
            loadBalancingWeight: 1,
            lbEndpoints: [{ hostIdentifier: { case: 'endpoint', value: { address } } }],
          },
        ],
      }),
    ),
    resourceOf(
      create(listener.ListenerSchema, {
        name: `server/127.0.0.1:${port}`,
        address,
        filterChains: [{ name: 'all', filters: filters([{ name: 'http', any: anyPack(Http, server) }]) }],
      }),
    ),
  ];
}

/** Denies everything: rules that no policy follows. */
const denyAll = {
  name: 'rbac',
  any: anyPack(
    httpRbac.RBACSchema,
    create(httpRbac.RBACSchema, { rules: create(rbac.RBACSchema, { action: rbac.RBAC_Action.ALLOW }) }),
  ),
};

class Program {
  readonly #child: ChildProcess;
  readonly #messages: FromProgram[] = [];
  #wake: (() => void) | undefined;

  constructor({ port }: Served) {
    const bootstrap = {
      xds_servers: [{ server_uri: `127.0.0.1:${port}`, channel_creds: [{ type: 'insecure' }] }],
      node: { id: 'grpc', locality: {} },
      server_listener_resource_name_template: 'server/%s',
    };
    this.#child = fork(new URL('./grpc-program.test-helper.ts', import.meta.url), {
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      env: {
        ...process.env,
        GRPC_XDS_BOOTSTRAP_CONFIG: JSON.stringify(bootstrap),
        GRPC_XDS_EXPERIMENTAL_RBAC: 'true',
      },
    });
    this.#child.on('message', (message: FromProgram) => {
      this.#messages.push(message);
      this.#wake?.();
    });
  }

  async next(): Promise<FromProgram> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async call(): Promise<FromProgram> {
    this.#child.send('call');
    return this.next();
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}

test('a gRPC server and client without proxies work from our snapshots, obey a policy, and say what they refuse', async () => {
  const plane = await served();
  open.push(plane);
  const program = new Program(plane);
  open.push(program);
  const until = (is: (status: ProxyStatus) => boolean) =>
    new Promise<ProxyStatus>((resolve) =>
      plane.server.onStatus((status) => {
        if (is(status)) resolve(status);
      }),
    );
  const confirmed = (version: number) =>
    until((status) => status.state === 'confirmed' && status.confirmed === version);
  const first = await program.next();
  if (first.is !== 'port') throw new Error('the program began with something else than its port');
  const give = (serverFilters: readonly { name: string; any: Any }[]) =>
    plane.source.set(echoResources(first.port, serverFilters)).version;

  give([ROUTER]);
  expect(await program.call()).toMatchObject({ code: 0, text: 'you said hello' });

  // The call has made the client ask for everything; from now on the whole of each snapshot is confirmed.
  const denied = confirmed(2);
  give([denyAll, ROUTER]);
  expect((await denied).perType.size).toBe(4);
  expect(await program.call()).toMatchObject({ code: status.PERMISSION_DENIED });

  const refused = until(({ state }) => state === 'refused');
  give([denyAll]);
  const { perType, confirmed: stillInForce } = await refused;
  expect(perType.get('lds')?.refused?.message).toMatch(/final filter is/);
  expect(stillInForce).toBe(2);
  expect(await program.call()).toMatchObject({ code: status.PERMISSION_DENIED });

  const mended = confirmed(4);
  give([ROUTER]);
  expect((await mended).perType.get('lds')?.refused).toBeUndefined();
  expect(await program.call()).toMatchObject({ code: 0 });
});
