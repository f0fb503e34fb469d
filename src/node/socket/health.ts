import { create } from '@bufbuild/protobuf';
import {
  type sendUnaryData,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
  status,
} from '@grpc/grpc-js';
import { grpcService, health } from '../../proto/index.ts';

type Request = health.HealthCheckRequest;
type Response = health.HealthCheckResponse;
/** What a watcher heard last. */
type Told = health.HealthCheckResponse_ServingStatus | undefined;
type Watcher = ServerWritableStream<Request, Response>;
const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = health.HealthCheckResponse_ServingStatus;

/** Watch streams on one server; one more is refused. */
const MAX_WATCHERS = 256;

/**
 * Tells whether a server's services work, as gRPC's health checking protocol has it; "" stands for the whole server.
 * What was not set is unknown.
 */
export class HealthService {
  readonly #serving = new Map<string, boolean>();
  readonly #watchers = new Map<Watcher, Told>();

  /** Offers the protocol on a server. */
  addTo(server: Server): void {
    server.addService(grpcService(health.Health), {
      check: (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>) =>
        this.#check(call.request.service, answer),
      watch: (call: Watcher) => this.#watch(call),
    });
  }

  /** Whether a service works now; watchers hear of a change at once. */
  set(service: string, isServing: boolean): void {
    this.#serving.set(service, isServing);
    for (const watcher of this.#watchers.keys()) this.#tell(watcher);
  }

  #statusOf(service: string): health.HealthCheckResponse_ServingStatus {
    const isServing = this.#serving.get(service);
    if (isServing === undefined) return SERVICE_UNKNOWN;
    return isServing ? SERVING : NOT_SERVING;
  }

  #check(service: string, answer: sendUnaryData<Response>): void {
    const state = this.#statusOf(service);
    if (state === SERVICE_UNKNOWN) answer({ code: status.NOT_FOUND, details: 'unknown service' });
    else answer(null, create(health.HealthCheckResponseSchema, { status: state }));
  }

  #watch(call: Watcher): void {
    if (this.#watchers.size >= MAX_WATCHERS) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many streams watch the health' });
      return;
    }
    const leave = () => this.#watchers.delete(call);
    call.on('cancelled', leave).on('close', leave).on('error', leave);
    this.#watchers.set(call, undefined);
    this.#tell(call);
  }

  #tell(call: Watcher): void {
    const state = this.#statusOf(call.request.service);
    if (this.#watchers.get(call) === state) return;
    this.#watchers.set(call, state);
    call.write(create(health.HealthCheckResponseSchema, { status: state }));
  }
}
