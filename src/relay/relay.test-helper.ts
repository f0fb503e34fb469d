import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, type MessageInitShape } from '@bufbuild/protobuf';
import { Client, type ClientDuplexStream, credentials } from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../access/index.ts';
import { type LogName, logName } from '../engines/envoy/resources/index.ts';
import { type AccessPolicy, readPolicies } from '../policy/index.ts';
import { ads, discovery, route } from '../proto/envoy/index.ts';
import { grpcService } from '../proto/index.ts';
import { type FromProxy, ProxyStateSchema, type Report } from '../proto/proxy/index.ts';
import { Spool, stateFiles, type StreamHandlers } from '../proxy/index.ts';
import type { Enforcement } from '../rollout/index.ts';
import { accessLogService } from '../sources/envoy/als/index.ts';
import { messageOf } from '../sources/envoy/als/testing.ts';
import { TestAuthority, TestClock, TestView } from '../workload/testing.ts';
import { type Kind, RESOURCE_TYPES } from '../xds/index.ts';
import { readRoutes, Relay, type RelayEvent, type RelayOptions } from './index.ts';

const authority = new TestAuthority('example.org');
export const APP = authority.svid('/app').spiffeId;
export const WEB = 'spiffe://example.org/web' as SpiffeId;
export const NODE = `${APP}#app-0`;

export const DOCUMENT = `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: app }
spec:
  workload: ${APP}
  authentication: strict
  inbound:
    - { listen: 127.0.0.1:15006, forward: 127.0.0.1:8080, protocol: http }
`;

/** A policy that lets web GET these paths. */
export function policy(...paths: readonly string[]): AccessPolicy[] {
  const rule = { name: 'web', from: [{ workload: WEB }], to: [{ http: { paths } }] };
  return readPolicies(
    JSON.stringify({
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'AccessPolicy',
      metadata: { name: 'app' },
      spec: { protects: { workload: APP }, rules: [rule] },
    }),
  );
}

export function enforced(...paths: readonly string[]): Enforcement {
  const policies = policy(...paths);
  return {
    workload: APP,
    authentication: 'strict',
    stage: 'enforced',
    enforced: policies,
    target: policies,
  };
}

/** The control plane's end of the relay's streams. */
export class FakeControl {
  readonly sent: FromProxy['message'][] = [];
  isAway = false;
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  #handlers: StreamHandlers | undefined;

  open = (handlers: StreamHandlers) => {
    if (this.isAway) throw new InterlockError('unavailable', 'control plane', 'it is away');
    this.#handlers = handlers;
    return {
      send: ({ message }: FromProxy) => {
        this.sent.push(message);
        for (const each of this.#waiting.splice(0)) {
          if (this.reports.length >= each.count) each.resolve();
          else this.#waiting.push(each);
        }
        return true;
      },
      close: () => this.leave(),
    };
  };

  state(version: number, enforcement: Enforcement): void {
    const workloads = [{ workload: APP, enforcement: Buffer.from(JSON.stringify(enforcement)) }];
    const value = create(ProxyStateSchema, { version: BigInt(version), workloads });
    this.#handlers?.onMessage({ case: 'state', value });
  }

  take(sequence: bigint): void {
    this.#handlers?.onMessage({
      case: 'taken',
      value: { $typeName: 'interlock.proxy.v1.ReportTaken', sequence, code: '', message: '' },
    });
  }

  leave(): void {
    const handlers = this.#handlers;
    this.#handlers = undefined;
    handlers?.onEnd(new InterlockError('unavailable', 'control plane', 'it has left'));
  }

  /** Resolves once so many reports have come. */
  reported(count: number): Promise<void> {
    if (this.reports.length >= count) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ count, resolve });
    return promise;
  }

  /** What was confirmed and refused, as "VERSION" and "VERSION CODE MESSAGE". */
  get words(): string[] {
    return this.sent.flatMap((message) => {
      if (message.case !== 'applied') return [];
      const { stateVersion, code, message: text } = message.value;
      return [[stateVersion, code, text].join(' ').trim()];
    });
  }

  get reports(): Report[] {
    return this.sent.flatMap((message) => (message.case === 'report' ? [message.value] : []));
  }
}

/** A stream of access logs, as Envoy opens one for each log. */
export class FakeLog {
  readonly #call;
  /** How the stream ended: the code and the words of its status; code 0 where all is well. */
  readonly ended: Promise<{ readonly code: number; readonly details: string }>;

  constructor(socket: string, log: Partial<LogName> = {}) {
    const client = new Client(`unix:${socket}`, credentials.createInsecure());
    opened.push(() => client.close());
    const { path, requestSerialize, responseDeserialize } = accessLogService['streamAccessLogs'] as {
      path: string;
      requestSerialize: (bytes: Buffer) => Buffer;
      responseDeserialize: (bytes: Buffer) => Buffer;
    };
    const { promise, resolve } = Promise.withResolvers<{ code: number; details: string }>();
    this.ended = promise;
    this.#call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error) =>
      resolve({ code: error?.code ?? 0, details: error?.details ?? '' }),
    );
    const named = logName({ kind: 'requests', workload: APP, port: 8080, ...log });
    this.send(messageOf({ identifier: { node: { id: NODE }, logName: named } }));
  }

  send(bytes: Buffer): void {
    this.#call.write(bytes);
  }

  /** Ends it as an Envoy that is killed does. */
  breakOff(): void {
    this.#call.cancel();
  }

  /** Ends it as Envoy does, once everything was read. */
  async finish(): Promise<number> {
    this.#call.end();
    return (await this.ended).code;
  }
}

const api = grpcService(ads.AggregatedDiscoveryService);
const urlOf = (kind: Kind) => RESOURCE_TYPES.find((type) => type.kind === kind)?.url ?? '';
type Delta = discovery.DeltaDiscoveryResponse;
type Asked = discovery.DeltaDiscoveryRequest;
type Asking = MessageInitShape<typeof discovery.DeltaDiscoveryRequestSchema>;

/** An Envoy as far as xDS goes: asks for clusters, listeners and what they refer to, and judges what it gets. */
export class FakeEnvoy {
  readonly #client: Client;
  readonly #call: ClientDuplexStream<Asked, Delta>;
  readonly #changes: { isSo: () => boolean; resolve: () => void; reject: (error: Error) => void }[] = [];
  readonly #held = new Map<Kind, Map<string, Uint8Array>>();
  #error: Error | undefined;
  answers = 0;
  /** Why it does not take an answer. */
  refuse: (kind: Kind) => string | undefined = () => undefined;

  constructor(socket: string, node = NODE) {
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure());
    const { path, requestSerialize, responseDeserialize } = api.deltaAggregatedResources;
    this.#call = this.#client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call.on('data', (answer: Delta) => this.#take(answer));
    this.#call.on('error', (error) => {
      this.#error = error;
      for (const { reject } of this.#changes.splice(0)) reject(error);
    });
    this.#ask('cds', { node: { id: node } });
    this.#ask('lds');
  }

  /** Names of the RBAC filters that have rules on the port: what is enforced, and what only reports. */
  get filters(): string[] | undefined {
    const bytes = this.#held.get('rds')?.get('inbound/127.0.0.1:15006');
    if (bytes === undefined) return undefined;
    const [host] = fromBinary(route.RouteConfigurationSchema, bytes).virtualHosts;
    return Object.keys(host?.typedPerFilterConfig ?? {}).toSorted();
  }

  get isEnforcing(): boolean | undefined {
    return this.filters?.some((name) => name.startsWith('interlock.enforced'));
  }

  /** Bytes of its routes, to be looked through for a text. */
  routesSay(text: string): boolean {
    return Buffer.from(this.#held.get('rds')?.get('inbound/127.0.0.1:15006') ?? []).includes(text);
  }

  /** Resolves once this is so; rejects where the stream ends before. */
  until(isSo: () => boolean): Promise<void> {
    if (isSo()) return Promise.resolve();
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#changes.push({ isSo, resolve, reject });
    return promise;
  }

  leave(): void {
    this.#call.on('error', () => {});
    this.#call.cancel();
    this.#client.close();
  }

  #take({ typeUrl, nonce, resources, removedResources }: Delta): void {
    const kind = RESOURCE_TYPES.find(({ url }) => url === typeUrl)?.kind;
    if (kind === undefined) throw new Error(`no kind has the type ${typeUrl}`);
    const why = this.refuse(kind);
    this.answers++;
    if (why !== undefined) {
      this.#write({ typeUrl, responseNonce: nonce, errorDetail: { code: 13, message: why } });
      return;
    }
    const held = this.#held.get(kind) ?? new Map<string, Uint8Array>();
    this.#held.set(kind, held);
    for (const { name, resource } of resources) if (resource !== undefined) held.set(name, resource.value);
    for (const name of removedResources) held.delete(name);
    this.#write({ typeUrl, responseNonce: nonce });
    const names = [...new Set(resources.map(({ name }) => name.replace(/\/grpc$/, '')))];
    if (kind === 'cds') this.#ask('eds', { resourceNamesSubscribe: names });
    if (kind === 'lds') this.#ask('rds', { resourceNamesSubscribe: names });
    for (const change of this.#changes.splice(0)) {
      if (change.isSo()) change.resolve();
      else this.#changes.push(change);
    }
  }

  #ask(kind: Kind, rest: Asking = {}): void {
    if (rest.resourceNamesSubscribe?.length === 0) return;
    this.#write({ typeUrl: urlOf(kind), ...rest });
  }

  #write(request: Asking): void {
    this.#call.write(create(discovery.DeltaDiscoveryRequestSchema, request));
  }
}

const opened: (() => unknown)[] = [];

export function closeLater(close: () => unknown): void {
  opened.push(close);
}

/** Ends all that was opened, the last first. */
export async function closeAll(): Promise<void> {
  for (const close of opened.splice(0).toReversed()) await close();
}

export function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-relay-'));
  opened.push(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A relay on a socket of its own, with a control plane and a clock that tests move. */
export async function openRelay(options: Partial<RelayOptions> & { dir?: string } = {}) {
  const { dir = directory(), ...over } = options;
  const clock = new TestClock(Date.UTC(2026, 10, 21));
  const control = new FakeControl();
  const events: RelayEvent[] = [];
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const source = new TestView(authority.svid('/app'), [authority.bundle()]);
  const socket = join(dir, 'envoy.sock');
  const watching: { isSo: () => boolean; resolve: () => void }[] = [];
  const relay = await Relay.open({
    routes: readRoutes(DOCUMENT, 'app.yaml', APP),
    source,
    socket,
    instance: 'app-0',
    version: 'test',
    files: stateFiles(join(dir, 'state')),
    spool: await Spool.open({ dir: join(dir, 'state/spool'), now: clock.now, onFault }),
    clock,
    openStream: control.open,
    onOnline: () => {},
    onEvent: (event) => {
      events.push(event);
      for (const each of watching.splice(0))
        if (each.isSo()) each.resolve();
        else watching.push(each);
    },
    onFault,
    ...over,
  });
  let isOpen = true;
  const close = async () => {
    if (!isOpen) return;
    isOpen = false;
    await relay.close();
  };
  opened.push(close);
  /** Resolves once this is so; looked at with every event of the relay. */
  const until = (isSo: () => boolean): Promise<void> => {
    if (isSo()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    watching.push({ isSo, resolve });
    return promise;
  };
  const envoy = (node?: string) => {
    const made = new FakeEnvoy(socket, node);
    opened.push(() => made.leave());
    return made;
  };
  const confirmed = () => until(() => relay.status.verdict.kind === 'confirmed');
  return {
    relay,
    dir,
    socket,
    clock,
    control,
    events,
    faults,
    source,
    close,
    until,
    envoy,
    confirmed,
  };
}
