import { create } from '@bufbuild/protobuf';
import {
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import type { SpiffeId } from '../../access/index.ts';
import { type Bundle, derOf, exportPkcs8, formatJwtBundle } from '../../identity/index.ts';
import {
  grpcService,
  JWTBundlesResponseSchema,
  type JWTSVIDRequest,
  JWTSVIDResponseSchema,
  SpiffeWorkloadAPI,
  X509BundlesResponseSchema,
  X509SVIDResponseSchema,
} from '../../proto/index.ts';
import type { X509Svid } from '../x509-state.ts';

/** What a {@link FakeWorkloadApi} answers. */
export interface FakeState {
  readonly svids: readonly X509Svid[];
  /** The bundle of each trust domain of `svids`, and those federated with. */
  readonly bundles: readonly Bundle[];
  /** DER. */
  readonly crls?: readonly Uint8Array[];
}

const API = grpcService(SpiffeWorkloadAPI);

type Stream<Response> = ServerWritableStream<unknown, Response>;

/** A Workload API that answers what a test tells it to. */
export class FakeWorkloadApi {
  readonly endpoint: string;
  /** Calls taken, by method. */
  readonly calls = new Map<string, number>();
  /** What the next calls are refused with, instead of an answer. */
  refusal: { code: status; details: string } | undefined;
  /** Makes tokens; without it JWT-SVIDs are not implemented. */
  tokens: ((request: JWTSVIDRequest) => { spiffeId: SpiffeId; svid: string }) | undefined;
  readonly #path: string;
  readonly #streams = {
    svids: new Set<Stream<object>>(),
    x509: new Set<Stream<object>>(),
    jwt: new Set<Stream<object>>(),
  };
  #server: Server | undefined;
  #state: FakeState = { svids: [], bundles: [] };

  /** `path`: of the Unix socket. */
  constructor(path: string) {
    this.#path = path;
    this.endpoint = `unix://${path}`;
  }

  async start(): Promise<this> {
    const server = new Server();
    const { svids, x509, jwt } = this.#streams;
    server.addService(API, {
      fetchX509SVID: (call: Stream<object>) => this.#open(call, 'fetchX509SVID', svids, () => this.#svids()),
      fetchX509Bundles: (call: Stream<object>) =>
        this.#open(call, 'fetchX509Bundles', x509, () => this.#x509()),
      fetchJWTBundles: (call: Stream<object>) => this.#open(call, 'fetchJWTBundles', jwt, () => this.#jwt()),
      fetchJWTSVID: (call: { request: JWTSVIDRequest; metadata: Headers }, reply: Reply) =>
        this.#token(call, reply),
      validateJWTSVID: (_call: unknown, reply: Reply) =>
        reply({ code: status.UNIMPLEMENTED, details: 'a fake' }),
    });
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${this.#path}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
    this.#server = server;
    return this;
  }

  /** Ends every stream, as an agent that is killed. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
    for (const streams of Object.values(this.#streams)) streams.clear();
  }

  /** Ends every stream with an error, as an agent does whose workload lost its identity. */
  end(error: { code: status; details: string }): void {
    for (const streams of Object.values(this.#streams)) {
      for (const call of streams) call.emit('error', error);
      streams.clear();
    }
  }

  /** Sends a new complete state to all who listen. */
  set(state: FakeState): void {
    this.#state = state;
    for (const call of this.#streams.svids) call.write(this.#svids());
    for (const call of this.#streams.x509) call.write(this.#x509());
    for (const call of this.#streams.jwt) call.write(this.#jwt());
  }

  /** Sends a message as it is to those who listen for SVIDs. */
  sendRaw(message: ReturnType<FakeWorkloadApi['message']>): void {
    for (const call of this.#streams.svids) call.write(message);
  }

  /** What is sent for the SVIDs of a state. */
  message(state: FakeState) {
    const bundles = new Map(state.bundles.map((bundle) => [bundle.trustDomain, bundle]));
    const own = new Set(state.svids.map(({ spiffeId }) => new URL(spiffeId).host));
    return create(X509SVIDResponseSchema, {
      svids: state.svids.map(({ spiffeId, chain, key, hint }) => ({
        spiffeId,
        x509Svid: Buffer.concat(chain.map(({ der }) => der)),
        x509SvidKey: exportPkcs8(key),
        bundle: derOf(bundles.get(new URL(spiffeId).host) ?? NO_BUNDLE),
        hint,
      })),
      crl: [...(state.crls ?? [])],
      federatedBundles: Object.fromEntries(
        [...bundles]
          .filter(([name]) => !own.has(name))
          .map(([name, bundle]) => [`spiffe://${name}`, derOf(bundle)]),
      ),
    });
  }

  #svids() {
    return this.message(this.#state);
  }

  #x509() {
    const bundles = this.#state.bundles.map((b) => [`spiffe://${b.trustDomain}`, derOf(b)]);
    return create(X509BundlesResponseSchema, {
      crl: [...(this.#state.crls ?? [])],
      bundles: Object.fromEntries(bundles) as Record<string, Buffer>,
    });
  }

  #jwt() {
    const bundles = this.#state.bundles.map((b) => [
      `spiffe://${b.trustDomain}`,
      Buffer.from(formatJwtBundle(b)),
    ]);
    return create(JWTBundlesResponseSchema, {
      bundles: Object.fromEntries(bundles) as Record<string, Buffer>,
    });
  }

  #open(call: Stream<object>, method: string, streams: Set<Stream<object>>, first: () => object): void {
    const refused = this.#refused(method, call.metadata);
    if (refused !== undefined) {
      call.emit('error', refused);
      return;
    }
    streams.add(call);
    call.on('cancelled', () => streams.delete(call));
    call.write(first());
  }

  #token(call: { request: JWTSVIDRequest; metadata: Headers }, reply: Reply): void {
    const refused = this.#refused('fetchJWTSVID', call.metadata);
    if (refused !== undefined) reply(refused);
    else if (this.tokens === undefined) reply({ code: status.UNIMPLEMENTED, details: 'no tokens here' });
    else reply(null, create(JWTSVIDResponseSchema, { svids: [this.tokens(call.request)] }));
  }

  #refused(method: string, metadata: Headers): Partial<ServiceError> | undefined {
    this.calls.set(method, (this.calls.get(method) ?? 0) + 1);
    const header = metadata.get('workload.spiffe.io');
    if (header.length !== 1 || header[0] !== 'true') {
      return { code: status.INVALID_ARGUMENT, details: 'the security header is missing' };
    }
    return this.refusal;
  }
}

type Reply = (error: Partial<ServiceError> | null, response?: object) => void;
interface Headers {
  get(name: string): unknown[];
}

const NO_BUNDLE: Bundle = { trustDomain: '', x509Authorities: [], jwtAuthorities: [] };
