import { type ServerInterceptor, ServerInterceptingCall, status } from '@grpc/grpc-js';

/** Calls of one tenant that are open at a time, lasting streams among them: each costs memory and work at every change. */
export const MAX_CALLS_PER_TENANT = 2048;

/** Refuses calls beyond a tenant's share with ResourceExhausted, before anything is read of them. */
export class CallLimit {
  readonly #tenantOf: (peer: string) => string;
  readonly #most: number;
  readonly #open = new Map<string, number>();

  /** `tenantOf`: who the peer of a call (`getPeer()`) belongs to. */
  constructor(tenantOf: (peer: string) => string, most = MAX_CALLS_PER_TENANT) {
    this.#tenantOf = tenantOf;
    this.#most = most;
  }

  /** Open calls of a tenant. */
  open(tenant: string): number {
    return this.#open.get(tenant) ?? 0;
  }

  #owner(peer: string): string {
    try {
      return this.#tenantOf(peer);
    } catch {
      // Its connection has closed meanwhile: an error here would end the whole server.
      return 'a caller that has gone';
    }
  }

  /** For the server's options. */
  readonly interceptor: ServerInterceptor = (_, call) => {
    const tenant = this.#owner(call.getPeer());
    if (this.open(tenant) >= this.#most) {
      const details = `${tenant} has ${this.#most} calls open already`;
      return new ServerInterceptingCall(call, {
        // Nobody listens to what it sends: it gets its status and nothing is begun.
        start: (next) =>
          next({ onReceiveMetadata: () => call.sendStatus({ code: status.RESOURCE_EXHAUSTED, details }) }),
      });
    }
    this.#open.set(tenant, this.open(tenant) + 1);
    let isOpen = true;
    const ended = () => {
      if (!isOpen) return;
      isOpen = false;
      const left = this.open(tenant) - 1;
      if (left === 0) this.#open.delete(tenant);
      else this.#open.set(tenant, left);
    };
    return new ServerInterceptingCall(call, {
      start: (next) => next({ onCancel: ended }),
      sendStatus: (sent, next) => {
        ended();
        next(sent);
      },
    });
  };
}
