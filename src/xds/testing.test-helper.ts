import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { type Any, anyPack } from '@bufbuild/protobuf/wkt';
import { Client, credentials, type MethodDefinition, Server, ServerCredentials } from '@grpc/grpc-js';
import { parseSpiffeId, type SpiffeId } from '../access/index.ts';
import {
  ads,
  cluster,
  discovery,
  endpoint,
  httpConnectionManager,
  listener,
  route,
  tcpProxy,
} from '../proto/envoy/index.ts';
import { grpcService, secret } from '../proto/index.ts';
import { TestClock } from '../workload/testing/clock.ts';
import type { Limits } from './limits.ts';
import type { ProxyNode } from './node.ts';
import { type Resource, resourceOf, type Snapshot, snapshotOf } from './resources.ts';
import { AdsServer, adsService } from './server.ts';
import type { SnapshotSource, XdsEvent } from './session.ts';
import { type Kind, typeOfKind } from './types.ts';

export const WEB: SpiffeId = parseSpiffeId('spiffe://example.org/web');

/** A cluster whose endpoints come by EDS; `tag` makes another version of it. */
export function clusterOf(name: string, tag = '', { isEds = true } = {}): Resource {
  return resourceOf(
    create(cluster.ClusterSchema, {
      name,
      altStatName: tag,
      clusterDiscoveryType: {
        case: 'type',
        value: isEds ? cluster.Cluster_DiscoveryType.EDS : cluster.Cluster_DiscoveryType.STATIC,
      },
    }),
  );
}

export function endpointsOf(name: string, tag = 0): Resource {
  return resourceOf(
    create(endpoint.ClusterLoadAssignmentSchema, { clusterName: name, endpoints: [{ priority: tag }] }),
  );
}

/** A listener with a TCP proxy to the cluster. */
export function listenerOf(name: string, to: string, tag = ''): Resource {
  const value = create(tcpProxy.TcpProxySchema, { clusterSpecifier: { case: 'cluster', value: to } });
  return withFilter(name, anyPack(tcpProxy.TcpProxySchema, value), tag);
}

/** A listener whose routes come by RDS. */
export function httpListenerOf(name: string, routes: string, tag = ''): Resource {
  const value = create(httpConnectionManager.HttpConnectionManagerSchema, {
    routeSpecifier: { case: 'rds', value: { routeConfigName: routes } },
  });
  return withFilter(name, anyPack(httpConnectionManager.HttpConnectionManagerSchema, value), tag);
}

function withFilter(name: string, value: Any, tag: string): Resource {
  return resourceOf(
    create(listener.ListenerSchema, {
      name,
      statPrefix: tag,
      filterChains: [{ filters: [{ name: 'to', configType: { case: 'typedConfig', value } }] }],
    }),
  );
}

export function routesOf(name: string, to: string, tag = ''): Resource {
  return resourceOf(
    create(route.RouteConfigurationSchema, {
      name,
      virtualHosts: [
        {
          name: `v${tag}`,
          domains: ['*'],
          routes: [
            { action: { case: 'route', value: { clusterSpecifier: { case: 'cluster', value: to } } } },
          ],
        },
      ],
    }),
  );
}

const BARRIER = 'barrier';
const barrier = resourceOf(create(secret.SecretSchema, { name: BARRIER }));

/** A source that gives every proxy the same. */
export class OneSource implements SnapshotSource {
  readonly streams = new Map<(snapshot: Snapshot) => void, ProxyNode>();
  current: Snapshot | undefined;
  #version = 0;

  open(node: ProxyNode, listener: (snapshot: Snapshot) => void): () => void {
    this.streams.set(listener, node);
    if (this.current !== undefined) listener(this.current);
    return () => this.streams.delete(listener);
  }

  set(resources: readonly Resource[], { prove = false } = {}): Snapshot {
    const snapshot = snapshotOf(++this.#version, [...resources, barrier], { previous: this.current, prove });
    this.current = snapshot;
    for (const listener of this.streams.keys()) listener(snapshot);
    return snapshot;
  }
}

type WholeInit = MessageInitShape<typeof discovery.DiscoveryRequestSchema>;
type DeltaInit = MessageInitShape<typeof discovery.DeltaDiscoveryRequestSchema>;
type Whole = discovery.DiscoveryResponse;
type Delta = discovery.DeltaDiscoveryResponse;

/** A stream whose requests and answers the test writes and reads one by one. */
export class RawStream<Request, Response> {
  readonly #call;
  readonly #answers: Response[] = [];
  readonly #waiting: { resolve(answer: Response): void; reject(error: Error): void }[] = [];
  #error: Error | undefined;

  constructor(client: Client, method: MethodDefinition<Request, Response>) {
    const { path, requestSerialize, responseDeserialize } = method;
    this.#call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call.on('data', (answer: Response) => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#answers.push(answer);
      else next.resolve(answer);
    });
    this.#call.on('error', (error: Error) => {
      this.#error = error;
      for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
    });
  }

  write(request: Request): void {
    this.#call.write(request);
  }

  next(): Promise<Response> {
    const answer = this.#answers.shift();
    if (answer !== undefined) return Promise.resolve(answer);
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<Response>();
    this.#waiting.push({ resolve, reject });
    return promise;
  }

  get waiting(): number {
    return this.#answers.length;
  }

  end(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.on('error', () => {});
    this.#call.cancel();
  }
}

const api = grpcService(ads.AggregatedDiscoveryService);
const url = (kind: Kind) => typeOfKind(kind).url;

/** A state-of-the-world client: one request a line. */
export class WholeClient extends RawStream<discovery.DiscoveryRequest, Whole> {
  #nodeSent = false;
  #barrier = '';
  readonly #id: string;

  constructor(client: Client, id = 'one') {
    super(client, api.streamAggregatedResources);
    this.#id = id;
  }

  ask(kind: Kind, names: readonly string[] = [], rest: WholeInit = {}): void {
    const node = this.#nodeSent ? {} : { node: { id: this.#id, cluster: 'c', userAgentName: 'test' } };
    this.#nodeSent = true;
    const base: WholeInit = { typeUrl: url(kind), resourceNames: [...names], ...node };
    this.write(create(discovery.DiscoveryRequestSchema, Object.assign(base, rest)));
  }

  ack({ typeUrl, nonce, versionInfo }: Whole, names: readonly string[] = []): void {
    this.write(
      create(discovery.DiscoveryRequestSchema, {
        typeUrl,
        responseNonce: nonce,
        versionInfo,
        resourceNames: [...names],
      }),
    );
  }

  /** The answers to everything asked so far: those of a stream keep their order, and the barrier's is the last. */
  async soFar(): Promise<string[]> {
    this.ask('sds', [BARRIER], { responseNonce: this.#barrier });
    const answers: string[] = [];
    for (;;) {
      const answer = await this.next();
      if (answer.typeUrl !== url('sds')) answers.push(shown(answer));
      else {
        this.#barrier = answer.nonce;
        this.ack(answer);
        return answers;
      }
    }
  }

  nack({ typeUrl, nonce }: Whole, message: string, names: readonly string[] = [], versionInfo = ''): void {
    const answer = { typeUrl, responseNonce: nonce, versionInfo, resourceNames: [...names] };
    this.write(create(discovery.DiscoveryRequestSchema, { ...answer, errorDetail: { code: 13, message } }));
  }
}

export class DeltaClient extends RawStream<discovery.DeltaDiscoveryRequest, Delta> {
  #nodeSent = false;

  constructor(client: Client) {
    super(client, api.deltaAggregatedResources);
  }

  ask(kind: Kind, rest: DeltaInit = {}): void {
    const node = this.#nodeSent ? {} : { node: { id: 'one', cluster: 'c' } };
    this.#nodeSent = true;
    const base: DeltaInit = { typeUrl: url(kind), ...node };
    this.write(create(discovery.DeltaDiscoveryRequestSchema, Object.assign(base, rest)));
  }

  ack({ typeUrl, nonce }: Delta, rest: DeltaInit = {}): void {
    this.write(create(discovery.DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce, ...rest }));
  }

  async soFar(): Promise<string[]> {
    this.ask('sds', { resourceNamesSubscribe: [BARRIER] });
    const answers: string[] = [];
    for (;;) {
      const answer = await this.next();
      if (answer.typeUrl !== url('sds')) answers.push(shown(answer));
      else {
        this.ack(answer, { resourceNamesUnsubscribe: [BARRIER] });
        return answers;
      }
    }
  }

  nack({ typeUrl, nonce }: Delta, message: string): void {
    const errorDetail = { code: 13, message };
    this.write(create(discovery.DeltaDiscoveryRequestSchema, { typeUrl, responseNonce: nonce, errorDetail }));
  }
}

/** Names in an answer, as "kind: a b -c". */
export function shown(answer: Whole | Delta): string {
  const kind = kindOf(answer.typeUrl);
  const names =
    answer.$typeName === 'envoy.service.discovery.v3.DiscoveryResponse'
      ? answer.resources.map(({ value }) => nameOf(kind, value))
      : [...answer.resources.map(({ name }) => name), ...answer.removedResources.map((name) => `-${name}`)];
  return `${kind}: ${names.toSorted().join(' ')}`;
}

function kindOf(typeUrl: string): Kind {
  const kinds: readonly Kind[] = ['cds', 'eds', 'lds', 'rds', 'sds'];
  const found = kinds.find((kind) => url(kind) === typeUrl);
  if (found === undefined) throw new Error(`no kind has the type ${typeUrl}`);
  return found;
}

export function nameOf(kind: Kind, value: Uint8Array): string {
  const { schema, nameField } = typeOfKind(kind);
  return String((fromBinary(schema, value) as unknown as Readonly<Record<string, unknown>>)[nameField]);
}

export interface Served {
  readonly server: AdsServer;
  readonly source: OneSource;
  readonly clock: TestClock;
  readonly client: Client;
  readonly port: number;
  readonly events: XdsEvent[];
  close(): void;
}

export interface ServedOptions {
  readonly limits?: Partial<Limits>;
  readonly source?: SnapshotSource;
  readonly identify?: () => SpiffeId;
}

/** The server on a port of its own, in plain text, and a client of it. */
export async function served({
  limits = {},
  source,
  identify = () => WEB,
}: ServedOptions = {}): Promise<Served> {
  const one = new OneSource();
  const clock = new TestClock();
  const events: XdsEvent[] = [];
  const onEvent = (event: XdsEvent) => events.push(event);
  const server = new AdsServer({ source: source ?? one, clock, identify, onEvent, limits });
  const grpc = new Server({ 'grpc.max_receive_message_length': -1 });
  grpc.addService(adsService, server.implementation());
  const port = await new Promise<number>((resolve, reject) => {
    grpc.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  return {
    server,
    source: one,
    clock,
    client,
    port,
    events,
    close() {
      client.close();
      grpc.forceShutdown();
    },
  };
}
