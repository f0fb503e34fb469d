import { create } from '@bufbuild/protobuf';
import {
  Client,
  type ClientDuplexStream,
  type ClientWritableStream,
  credentials,
  type ServiceError,
} from '@grpc/grpc-js';
import type { KeyObject } from 'node:crypto';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { certificateToPem, createRequest, generateKey } from '../../identity/index.ts';
import { grpcService } from '../../proto/index.ts';
import { type FromProxy, FromProxySchema, ProxyService, type ToProxy } from '../../proto/proxy/index.ts';
import { promotionTier } from '../../rollout/index.ts';
import { accessLogService } from '../../sources/envoy/als/index.ts';
import { type AgentServer, startAgentServer } from '../agents/server.ts';
import { TestPlane, UID_RULE } from '../testing.test-helper.ts';
import { Enforcing, type EnforcingOptions } from './enforcing.ts';
import { cart } from './evidence/evidence.test-helper.ts';
import { openEvidence } from './evidence/open.ts';
import { addEnforcementServices } from './services.ts';

const service = grpcService(ProxyService);

/** A Proxy document of the cart, which an Envoy serves. */
export const CART_PROXY = `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  workload: ${cart}
  authentication: strict
  inbound:
    - { listen: 127.0.0.1:15006, forward: 127.0.0.1:80, protocol: http }
`;

/** An SVID with its key. */
export interface TestIdentity {
  readonly id: SpiffeId;
  readonly key: KeyObject;
  readonly chain: readonly Buffer[];
}

/** A control plane with its services for enforcement points, on a real port over mutual TLS, with a clock that tests move. */
export class EnforcementPlane {
  readonly test: TestPlane;
  readonly events: string[] = [];
  readonly faults: unknown[] = [];
  readonly #options: Partial<EnforcingOptions>;
  #enforcing: Enforcing | undefined;
  #server: AgentServer | undefined;
  #unwatch = () => {};
  readonly #open = new Set<{ close(): void }>();

  private constructor(test: TestPlane, options: Partial<EnforcingOptions>) {
    this.test = test;
    this.#options = options;
  }

  static async make(options: Partial<EnforcingOptions> = {}): Promise<EnforcementPlane> {
    const test = await TestPlane.make();
    await test.serve();
    await test.apply(UID_RULE);
    const plane = new EnforcementPlane(test, options);
    await plane.start();
    return plane;
  }

  get enforcing(): Enforcing {
    if (this.#enforcing === undefined) throw new TypeError('enforcement is not open');
    return this.#enforcing;
  }

  get timers() {
    return this.test.timers;
  }

  async start(): Promise<void> {
    const { plane, timers, dir } = this.test;
    const enforcing = await Enforcing.open({
      state: dir,
      plane,
      timers,
      openEvidence: (isCurrent) =>
        openEvidence({
          state: dir,
          trustDomain: 'example.org',
          timers,
          isCurrent,
          onFault: (error) => this.faults.push(error),
        }),
      onStep: () => {},
      onFault: (error) => this.faults.push(error),
      ...this.#options,
    });
    this.#enforcing = enforcing;
    enforcing.canaries.decidedBy({
      rejected: () => new Map(),
      tierOf: (workload) => promotionTier(enforcing.rollouts.all.get(workload), undefined),
    });
    this.#server = await startAgentServer({
      plane,
      timers,
      host: '127.0.0.1',
      port: 0,
      onEvent: () => {},
      onRefused: () => {},
      onFault: (error) => this.faults.push(error),
      onChange: () => {},
      addServices: (grpc, listener) => {
        const onPointEvent = (event: string, who: string) => void this.events.push(`${event} ${who}`);
        this.#unwatch = addEnforcementServices({ plane, enforcing, timers, onPointEvent }, grpc, listener);
      },
    });
  }

  /** Ends the services and what stands behind them, as a stop of the process does. */
  async stop(): Promise<void> {
    this.#unwatch();
    this.#server?.kill();
    this.#server = undefined;
    await this.#enforcing?.close();
    this.#enforcing = undefined;
  }

  async remove(): Promise<void> {
    for (const each of this.#open) each.close();
    await this.stop();
    await this.test.remove();
  }

  /** The SVID of a process with that uid: `spiffe://example.org/uid/N`. */
  async identity(uid: number): Promise<TestIdentity> {
    const agent = (await this.test.agent(`n${uid}`)).connect();
    const { rules, bundles, revocations } = await agent.states();
    agent.confirm({ rules: rules.version, bundles: bundles.version, revocations: revocations.version });
    const key = generateKey('ec-p256');
    const { chain } = await agent.sign(uid, { csr: createRequest(key) });
    agent.close();
    return { id: parseSpiffeId(`spiffe://example.org/uid/${uid}`), key, chain };
  }

  /** A client that shows an SVID, or none. */
  client(identity?: TestIdentity): Client {
    const roots = Buffer.from(
      this.test.plane.registry.ownBundle.x509Authorities.map(certificateToPem).join(''),
    );
    const own: [Buffer | null, Buffer | null] =
      identity === undefined
        ? [null, null]
        : [
            Buffer.from(identity.key.export({ type: 'pkcs8', format: 'pem' })),
            Buffer.from(identity.chain.map(certificateToPem).join('')),
          ];
    const tls = credentials.createSsl(roots, ...own, { checkServerIdentity: () => undefined });
    const client = new Client(`127.0.0.1:${this.#server?.port}`, tls, {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_retries': 0,
      'grpc.ssl_target_name_override': 'interlock-server',
    });
    this.#open.add(client);
    return client;
  }

  /** A proxy's stream; says hello for its own workload unless told otherwise. */
  proxy(identity: TestIdentity | undefined, hello: Partial<HelloInit> | false = {}): TestProxy {
    return new TestProxy(
      this.client(identity),
      hello === false ? undefined : { workloads: [identity?.id ?? ''], ...hello },
    );
  }

  /** A stream of access logs of an Envoy. */
  logs(identity: TestIdentity): TestLogs {
    return new TestLogs(this.client(identity));
  }
}

interface HelloInit {
  readonly workloads: readonly string[];
  readonly instance: string;
  readonly version: string;
  readonly stateVersion: bigint;
  readonly now: bigint;
}

type Message = ToProxy['message'];
type Case = Exclude<Message['case'], undefined>;
type Of<Name extends Case> = Extract<Message, { case: Name }>['value'];

/** A stream whose messages and end can be waited for. */
class Watched {
  /** The error that ended it, or null where it ended without one. */
  ended: ServiceError | null | undefined;
  #waiting: (() => void)[] = [];

  protected wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  protected change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  protected over(error: ServiceError | null): void {
    this.ended ??= error;
    this.wake();
  }

  async end(): Promise<ServiceError | null> {
    while (this.ended === undefined) await this.change();
    return this.ended;
  }
}

/** A proxy as small as can be. */
export class TestProxy extends Watched {
  readonly #call: ClientDuplexStream<FromProxy, ToProxy>;
  readonly #client: Client;
  readonly messages: Message[] = [];
  #taken = 0;

  constructor(client: Client, hello: Partial<HelloInit> | undefined) {
    super();
    this.#client = client;
    const { path, requestSerialize, responseDeserialize } = service.connect;
    this.#call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    this.#call.on('data', ({ message }: ToProxy) => {
      this.messages.push(message);
      this.wake();
    });
    this.#call.on('error', (error: ServiceError) => this.over(error));
    this.#call.on('end', () => setImmediate(() => this.over(null)));
    if (hello === undefined) return;
    const { workloads = [], ...rest } = hello;
    this.send({
      case: 'hello',
      value: { instance: 'a', version: 'test', ...rest, workloads: [...workloads] } as never,
    });
  }

  send(message: FromProxy['message']): void {
    this.#call.write(create(FromProxySchema, { message }));
  }

  /** Resolves at the next message, or the end. */
  news(): Promise<void> {
    return this.change();
  }

  /** Reads no more. */
  pause(): void {
    this.#call.pause();
  }

  /** The next message, which is of that kind; rejects where the stream ends. */
  async next<Name extends Case>(name: Name): Promise<Of<Name>> {
    for (;;) {
      const message = this.messages[this.#taken];
      if (message !== undefined) {
        this.#taken++;
        if (message.case !== name) throw new Error(`a message "${message.case}" came, and not "${name}"`);
        return message.value as Of<Name>;
      }
      if (this.ended !== undefined) throw this.ended ?? new Error('the stream ended');
      await this.change();
    }
  }

  /** Confirms a state, or refuses it. */
  apply(stateVersion: bigint, code = '', message = ''): void {
    this.send({
      case: 'applied',
      value: { $typeName: 'interlock.proxy.v1.Applied', stateVersion, code, message },
    });
  }

  close(): void {
    this.#call.cancel();
    this.#client.close();
  }
}

/** A stream of access logs. */
export class TestLogs extends Watched {
  readonly #call: ClientWritableStream<Buffer>;
  readonly #client: Client;

  constructor(client: Client) {
    super();
    this.#client = client;
    const { path, requestSerialize, responseDeserialize } = accessLogService['streamAccessLogs'] as {
      path: string;
      requestSerialize: (bytes: Buffer) => Buffer;
      responseDeserialize: (bytes: Buffer) => Buffer;
    };
    this.#call = client.makeClientStreamRequest(path, requestSerialize, responseDeserialize, (error) =>
      this.over(error),
    );
    this.#call.on('error', () => {});
  }

  send(bytes: Buffer): void {
    this.#call.write(bytes);
  }

  /** Ends it as Envoy does when it stops. */
  finish(): Promise<ServiceError | null> {
    this.#call.end();
    return this.end();
  }

  /** As a connection that is cut. */
  close(): void {
    this.#call.cancel();
    this.#client.close();
  }
}
