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

/** Watch streams of one tenant, and of all; one more is refused. */
export const MAX_WATCHERS_PER_TENANT = 32;
const MAX_WATCHERS = 4096;

/**
 * Tells whether a server's services work, as gRPC's health checking protocol has it; "" stands for the whole server.
 * What was not set is unknown.
 */
export class HealthService {
  readonly #serving = new Map<string, boolean>();
  readonly #watchers = new Map<Watcher, Told>();
  readonly #byTenant = new Map<string, number>();

  /** Offers the protocol on a server. `tenantOf`: with whom the peer of a call (`getPeer()`) shares limits. */
  addTo(server: Server, tenantOf: (peer: string) => string = () => ''): void {
    server.addService(grpcService(health.Health), {
      check: (call: ServerUnaryCall<Request, Response>, answer: sendUnaryData<Response>) =>
        this.#check(call.request.service, answer),
      watch: (call: Watcher) => this.#watch(call, ownerOf(tenantOf, call)),
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

  #watch(call: Watcher, tenant: string): void {
    const own = this.#byTenant.get(tenant) ?? 0;
    if (own >= MAX_WATCHERS_PER_TENANT || this.#watchers.size >= MAX_WATCHERS) {
      call.emit('error', { code: status.RESOURCE_EXHAUSTED, details: 'too many streams watch the health' });
      return;
    }
    const leave = () => {
      if (!this.#watchers.delete(call)) return;
      const left = (this.#byTenant.get(tenant) ?? 1) - 1;
      if (left === 0) this.#byTenant.delete(tenant);
      else this.#byTenant.set(tenant, left);
    };
    call.on('cancelled', leave).on('close', leave).on('error', leave);
    this.#watchers.set(call, undefined);
    this.#byTenant.set(tenant, own + 1);
    this.#tell(call);
  }

  #tell(call: Watcher): void {
    const state = this.#statusOf(call.request.service);
    if (this.#watchers.get(call) === state) return;
    this.#watchers.set(call, state);
    call.write(create(health.HealthCheckResponseSchema, { status: state }));
  }
}

function ownerOf(tenantOf: (peer: string) => string, call: Watcher): string {
  try {
    return tenantOf(call.getPeer());
  } catch {
    // Its connection has closed meanwhile; an error here would end the whole server.
    return 'a caller that has gone';
  }
}
