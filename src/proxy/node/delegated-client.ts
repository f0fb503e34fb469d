import { create } from '@bufbuild/protobuf';
import { Client, credentials, Metadata, type MethodDefinition } from '@grpc/grpc-js';
import { delegated, grpcService } from '../../proto/index.ts';
import {
  type Clock,
  MAX_MESSAGE_BYTES,
  parseEndpoint,
  type Watch,
  type WatchHandler,
  watchStream,
} from '../../workload/index.ts';

const API = grpcService(delegated.DelegatedIdentity);

const CHANNEL = {
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.service_config_disable_resolution': 1,
  'grpc.enable_http_proxy': 0,
} as const;

/** The agent's Delegated Identity API: identities of other processes, for a caller that the agent knows as a delegate. */
export class DelegatedClient {
  readonly #client: Client;
  readonly #endpoint: string;
  readonly #clock: Clock;

  /** `endpoint`: `unix:///path` of the agent's admin socket. Throws `usage`. */
  constructor(endpoint: string, clock: Clock) {
    const { target, text } = parseEndpoint(endpoint);
    this.#endpoint = text;
    this.#clock = clock;
    this.#client = new Client(target, credentials.createInsecure(), CHANNEL);
  }

  /**
   * The identities of a process, now and whenever they change. `isStill` is asked before each attempt: the number may
   * belong to another process by then.
   */
  watchProcess(
    pid: number,
    isStill: () => void,
    handler: WatchHandler<delegated.SubscribeToX509SVIDsResponse>,
  ): Watch {
    const request = create(delegated.SubscribeToX509SVIDsRequestSchema, { pid });
    return this.#watch(API.subscribeToX509SVIDs, request, handler, isStill);
  }

  /** The authorities of every trust domain that the agent knows. */
  watchBundles(handler: WatchHandler<delegated.SubscribeToX509BundlesResponse>): Watch {
    const request = create(delegated.SubscribeToX509BundlesRequestSchema);
    return this.#watch(API.subscribeToX509Bundles, request, handler, () => {});
  }

  close(): void {
    this.#client.close();
  }

  #watch<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    handler: WatchHandler<Response>,
    before: () => void,
  ): Watch {
    const { path, requestSerialize, responseDeserialize } = method;
    const open = () => {
      before();
      return this.#client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata(),
      );
    };
    return watchStream(this.#endpoint, open, handler, this.#clock);
  }
}
