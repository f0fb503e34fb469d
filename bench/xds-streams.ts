// One change, a thousand connected xDS streams: from the change to the last confirmation. The streams are those of two
// other processes, as proxies are; they confirm what they are sent, and do nothing else with it.
import { fork, type ChildProcess } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { create } from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { parseSpiffeId } from '../src/access/index.ts';
import {
  ads,
  cluster,
  discovery,
  httpConnectionManager,
  httpRbac,
  listener,
  rbac,
} from '../src/proto/envoy/index.ts';
import { grpcService } from '../src/proto/index.ts';
import { systemClock } from '../src/workload/index.ts';
import {
  AdsServer,
  adsService,
  type Resource,
  resourceOf,
  type Snapshot,
  snapshotOf,
} from '../src/xds/index.ts';
import { ended, percentiles, processorTime } from './identity-parts.ts';

type Report = (line: string) => void;

const STREAMS = Number(process.argv[2] ?? 1000);
const PROCESSES = 2;
const ROUNDS = 20;
/** Rules in the listener that changes. */
const RULES = 30;
const GOAL_MS = 1000;
const RELEASE_GOAL_MS = 500;
const PROTOCOLS = ['delta', 'whole'] as const;
type Protocol = (typeof PROTOCOLS)[number];
const ID = parseSpiffeId('spiffe://example.org/bench');

/** Prints the percentiles. */
export async function bench(report: Report): Promise<void> {
  report(`${STREAMS} streams in ${PROCESSES} processes, ${availableParallelism()} processors for all of it`);
  for (const protocol of PROTOCOLS) await benchProtocol(protocol, report);
}

async function benchProtocol(protocol: Protocol, report: Report): Promise<void> {
  const plane = new Plane();
  const port = await plane.listen();
  const children = Array.from({ length: PROCESSES }, (_, i) => {
    const count = Math.floor(STREAMS / PROCESSES) + (i < STREAMS % PROCESSES ? 1 : 0);
    return fork(new URL(import.meta.url), ['client', String(port), String(count), String(i), protocol]);
  });
  try {
    const started = performance.now();
    const connected = plane.confirmed(STREAMS, 1);
    plane.change(1, 'one', false);
    await connected;
    report(`${protocol}: connected and confirmed in ${Math.round(performance.now() - started)} ms`);
    // The first changes find code that has not run yet; they are no part of the result.
    for (let i = 0; i < 3; i++) await plane.round('one', false);
    const shared = await rounds(plane, children, 'one', false);
    report(`${protocol}: one listener of all changes      ${shared.times}  (goal: p99 under ${GOAL_MS} ms)`);
    const own = await rounds(plane, children, 'each', false);
    report(`${protocol}: each proxy's own listener changes ${own.times}  (goal: p99 under ${GOAL_MS} ms)`);
    const release = await rounds(plane, children, 'one', true);
    report(
      `${protocol}: release: rules become shadow      ${release.times}  (goal: p99 under ${RELEASE_GOAL_MS} ms)`,
    );
    report(
      `  of the processor, a change: control plane ${shared.plane} ms, ${STREAMS} streams together ${shared.clients} ms`,
    );
    const { heapUsed, rss } = process.memoryUsage();
    report(`  control plane: heap ${Math.round(heapUsed / 1e6)} MB, resident ${Math.round(rss / 1e6)} MB`);
  } finally {
    plane.close();
    await Promise.all(children.map((child) => ended(child)));
  }
}

async function rounds(
  plane: Plane,
  children: readonly ChildProcess[],
  whose: 'one' | 'each',
  release: boolean,
) {
  const times: number[] = [];
  const work = () => ({
    plane: processorTime(process.pid),
    clients: children.reduce((sum, { pid }) => sum + processorTime(pid ?? 0), 0),
  });
  const before = work();
  for (let i = 0; i < ROUNDS; i++) times.push(await plane.round(whose, release && i % 2 === 0));
  const after = work();
  return {
    times: percentiles(times),
    plane: Math.round((after.plane - before.plane) / ROUNDS),
    clients: Math.round((after.clients - before.clients) / ROUNDS),
  };
}

/** The control plane: in this process, as little around the server as can be. */
class Plane {
  readonly #listeners = new Map<
    (snapshot: Snapshot) => void,
    { id: string; snapshot: Snapshot | undefined }
  >();
  readonly #server: AdsServer;
  readonly #grpc = new Server();
  readonly #clusters = Array.from({ length: 10 }, (_, i) =>
    resourceOf(create(cluster.ClusterSchema, { name: `cluster-${i}` })),
  );
  #version = 0;
  #waiting: { version: number; left: number; done: () => void } | undefined;
  #current: ((id: string) => Resource) | undefined;

  constructor() {
    this.#server = new AdsServer({
      clock: systemClock,
      identify: () => ID,
      limits: { streamsPerIdentity: 100_000 },
      source: {
        open: ({ id }, listener) => {
          this.#listeners.set(listener, { id, snapshot: undefined });
          this.#tell(listener);
          return () => this.#listeners.delete(listener);
        },
      },
    });
    this.#server.onStatus(({ state, confirmed }) => {
      const waiting = this.#waiting;
      if (waiting === undefined || state !== 'confirmed' || confirmed !== waiting.version) return;
      if (--waiting.left === 0) waiting.done();
    });
    this.#grpc.addService(adsService, this.#server.implementation());
  }

  listen(): Promise<number> {
    return new Promise((resolve, reject) =>
      this.#grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
  }

  close(): void {
    this.#server.close();
    this.#grpc.forceShutdown();
  }

  /** Makes a change, and waits for the last confirmation; milliseconds. */
  async round(whose: 'one' | 'each', release: boolean): Promise<number> {
    const started = performance.now();
    const done = this.confirmed(STREAMS, this.#version + 1);
    this.change(this.#version + 1, whose, release);
    await done;
    return performance.now() - started;
  }

  /** Rendering is part of the time: once for all, or once for each. */
  change(version: number, whose: 'one' | 'each', release: boolean): void {
    this.#version = version;
    const shared = listenerOf('in', version, release);
    this.#current = whose === 'one' ? () => shared : (id) => listenerOf(`in-${id}`, version, release);
    for (const listener of this.#listeners.keys()) this.#tell(listener);
  }

  confirmed(count: number, version: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting = { version, left: count, done: resolve };
    return promise;
  }

  #tell(listener: (snapshot: Snapshot) => void): void {
    const proxy = this.#listeners.get(listener);
    if (proxy === undefined || this.#current === undefined) return;
    const resources = [...this.#clusters, this.#current(proxy.id)];
    proxy.snapshot = snapshotOf(this.#version, resources, { previous: proxy.snapshot });
    listener(proxy.snapshot);
  }
}

/** A listener with role-based access control, as the Envoy engine makes them: about 10 KB. */
function listenerOf(name: string, version: number, release: boolean): Resource {
  const policies = Object.fromEntries(
    Array.from({ length: RULES }, (_, i) => [`policy-${version}-rule-${i}`, policyOf(i)]),
  );
  const rules = create(rbac.RBACSchema, { policies });
  const filter = create(
    httpRbac.RBACSchema,
    release ? { shadowRules: rules } : { rules, shadowRules: rules },
  );
  const http = create(httpConnectionManager.HttpConnectionManagerSchema, {
    httpFilters: [
      {
        name: 'rbac',
        configType: { case: 'typedConfig', value: anyPack(httpRbac.RBACSchema, filter) },
      },
    ],
  });
  const value = anyPack(httpConnectionManager.HttpConnectionManagerSchema, http);
  return resourceOf(
    create(listener.ListenerSchema, {
      name,
      filterChains: [{ filters: [{ name: 'http', configType: { case: 'typedConfig', value } }] }],
    }),
  );
}

function policyOf(i: number): rbac.Policy {
  const exact = (value: string) => ({ matchPattern: { case: 'exact' as const, value } });
  return create(rbac.PolicySchema, {
    permissions: [
      { rule: { case: 'urlPath', value: { rule: { case: 'path', value: exact(`/v1/things/${i}`) } } } },
    ],
    principals: [
      {
        identifier: {
          case: 'authenticated',
          value: { principalName: exact(`spiffe://example.org/ns/default/sa/caller-${i}`) },
        },
      },
    ],
  });
}

/** A process full of streams: each confirms what it is sent. */
function client([port = '', count = '', group = '', protocol = '']: readonly string[]): void {
  const api = grpcService(ads.AggregatedDiscoveryService);
  const types = [cluster.ClusterSchema, listener.ListenerSchema].map(
    (schema) => `type.googleapis.com/${schema.typeName}`,
  );
  for (let i = 0; i < Number(count); i++) {
    // A connection each, as proxies have.
    const channel = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    const node = { id: `${group}-${i}`, cluster: 'bench' };
    if (protocol === 'whole') {
      const { path, requestSerialize, responseDeserialize } = api.streamAggregatedResources;
      const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      call.on('data', ({ typeUrl, nonce, versionInfo }: discovery.DiscoveryResponse) =>
        call.write(create(discovery.DiscoveryRequestSchema, { typeUrl, responseNonce: nonce, versionInfo })),
      );
      call.on('error', () => process.exit());
      for (const typeUrl of types) call.write(create(discovery.DiscoveryRequestSchema, { typeUrl, node }));
    } else {
      const { path, requestSerialize, responseDeserialize } = api.deltaAggregatedResources;
      const call = channel.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
      call.on('data', ({ typeUrl, nonce }: discovery.DeltaDiscoveryResponse) =>
        call.write(create(discovery.DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce })),
      );
      call.on('error', () => process.exit());
      for (const typeUrl of types)
        call.write(create(discovery.DeltaDiscoveryRequestSchema, { typeUrl, node }));
    }
  }
}

if (process.argv[2] === 'client') client(process.argv.slice(3));
else if (import.meta.main) await bench(console.log);
