import { create } from '@bufbuild/protobuf';
import { type CallOptions, Client, credentials, Metadata, type MethodDefinition } from '@grpc/grpc-js';
import {
  grpcService,
  JWTBundlesRequestSchema,
  type JWTBundlesResponse,
  type JWTSVID,
  JWTSVIDRequestSchema,
  SpiffeWorkloadAPI,
  ValidateJWTSVIDRequestSchema,
  type ValidateJWTSVIDResponse,
  X509BundlesRequestSchema,
  type X509BundlesResponse,
  X509SVIDRequestSchema,
  type X509SVIDResponse,
} from '../proto/index.ts';
import { apiErrorOf } from './api-error.ts';
import { type Clock, systemClock } from './clock.ts';
import { type Endpoint, endpointOf } from './endpoint.ts';
import { type Watch, type WatchHandler, watchStream } from './watch.ts';

/** Largest answer that is read, in bytes: room for the largest revocation list that is read, 12 MiB. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** How long one question (not a stream) waits for its answer by default, in milliseconds. */
const CALL_TIMEOUT_MS = 10_000;

const CHANNEL = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  // The wait between attempts is ours (Backoff); a channel of its own is closed with the client.
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  // An environment's proxy must never see what goes to the machine's own agent.
  'grpc.enable_http_proxy': 0,
} as const;

/** Where a {@link WorkloadApiClient} finds its agent. */
export interface ClientOptions {
  /** `unix:///path` or `tcp://IP:PORT`; else the environment's SPIFFE_ENDPOINT_SOCKET. */
  readonly endpoint?: string | undefined;
  readonly clock?: Clock | undefined;
}

const API = grpcService(SpiffeWorkloadAPI);

/** The SPIFFE Workload API of an agent, Interlock's, SPIRE's or another. Carries messages; the sources judge them. */
export class WorkloadApiClient {
  readonly endpoint: Endpoint;
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #watches = new Set<Watch>();
  #closed = false;

  /** Throws `usage` where the endpoint is missing or malformed. Connects at the first call. */
  constructor(options: ClientOptions = {}) {
    this.endpoint = endpointOf(options.endpoint);
    this.#clock = options.clock ?? systemClock;
    // SPIFFE_Workload_Endpoint.md section 3: clients must not need TLS here.
    this.#client = new Client(this.endpoint.target, credentials.createInsecure(), CHANNEL);
  }

  /** X.509 identities with their keys, bundles and CRLs, as each update says them. */
  watchX509Svids(handler: WatchHandler<X509SVIDResponse>): Watch {
    return this.#watch(API.fetchX509SVID, create(X509SVIDRequestSchema), handler);
  }

  /** The X.509 bundles of every trust domain that this workload may trust. */
  watchX509Bundles(handler: WatchHandler<X509BundlesResponse>): Watch {
    return this.#watch(API.fetchX509Bundles, create(X509BundlesRequestSchema), handler);
  }

  /** The JWT keys of every trust domain that this workload may trust. */
  watchJwtBundles(handler: WatchHandler<JWTBundlesResponse>): Watch {
    return this.#watch(API.fetchJWTBundles, create(JWTBundlesRequestSchema), handler);
  }

  /** JWT-SVIDs for these audiences, of `subject` or of every identity of the workload. Throws {@link WorkloadApiError}. */
  async fetchJwtSvids(
    audience: readonly string[],
    options: { subject?: string | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<JWTSVID[]> {
    const request = create(JWTSVIDRequestSchema, {
      audience: [...audience],
      spiffeId: options.subject ?? '',
    });
    return (await this.#ask(API.fetchJWTSVID, request, options.signal)).svids;
  }

  /** Has the agent judge a token. Throws {@link WorkloadApiError}; `usage` (InvalidArgument) means the token is refused. */
  async validateJwtSvid(
    audience: string,
    svid: string,
    options: { signal?: AbortSignal | undefined } = {},
  ): Promise<ValidateJWTSVIDResponse> {
    const request = create(ValidateJWTSVIDRequestSchema, { audience, svid });
    return await this.#ask(API.validateJWTSVID, request, options.signal);
  }

  /** Ends every stream and the connection. */
  close(): void {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#client.close();
  }

  #watch<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    handler: WatchHandler<Response>,
  ): Watch {
    if (this.#closed) throw new TypeError('this WorkloadApiClient is closed');
    const { path, requestSerialize, responseDeserialize } = method;
    const open = () =>
      this.#client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, header());
    const watch = watchStream(this.endpoint.text, open, handler, this.#clock);
    const tracked: Watch = {
      close: () => {
        watch.close();
        this.#watches.delete(tracked);
      },
    };
    this.#watches.add(tracked);
    return tracked;
  }

  #ask<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    signal: AbortSignal | undefined,
  ): Promise<Response> {
    if (this.#closed) throw new TypeError('this WorkloadApiClient is closed');
    signal?.throwIfAborted();
    const { path, requestSerialize, responseDeserialize } = method;
    // gRPC tells the agent the deadline, in the machine's own time, so that it stops working on it too.
    const options: CallOptions = { deadline: Date.now() + CALL_TIMEOUT_MS };
    return new Promise((resolve, reject) => {
      const abort = () => call.cancel();
      const call = this.#client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        header(),
        options,
        (error, response) => {
          signal?.removeEventListener('abort', abort);
          if (response !== undefined && error === null) resolve(response);
          else reject(signal?.aborted ? signal.reason : apiErrorOf(this.endpoint.text, error));
        },
      );
      signal?.addEventListener('abort', abort, { once: true });
    });
  }
}

/** SPIFFE_Workload_Endpoint.md section 5: every call carries this, so that no request forged through a proxy passes. */
function header(): Metadata {
  const metadata = new Metadata();
  metadata.set('workload.spiffe.io', 'true');
  return metadata;
}
