import type { Message } from '@bufbuild/protobuf';
import { Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import type { SpiffeId } from '../../../src/access/index.ts';
import { type EnvoyResource, messageOf } from '../../../src/engines/envoy/resources/index.ts';
import { accessLog } from '../../../src/proto/envoy/index.ts';
import { grpcService, sds } from '../../../src/proto/index.ts';
import { systemClock } from '../../../src/workload/index.ts';
import {
  AdsServer,
  adsService,
  type ProxyStatus,
  resourceOf,
  type Snapshot,
  snapshotOf,
} from '../../../src/xds/index.ts';
import type { AccessLogs } from './access-logs.ts';

/** The project's xDS server with the snapshot that a script gives it, for whoever connects. */
export class Xds {
  readonly ads: AdsServer;
  readonly #server = new Server({ 'grpc.max_receive_message_length': 64 << 20 });
  readonly #listeners = new Set<(snapshot: Snapshot) => void>();
  #snapshot = snapshotOf(1, []);
  #news = Promise.withResolvers<void>();

  constructor(peer: SpiffeId) {
    this.ads = new AdsServer({
      source: {
        open: (_node, listener) => {
          this.#listeners.add(listener);
          listener(this.#snapshot);
          return () => this.#listeners.delete(listener);
        },
      },
      clock: systemClock,
      identify: () => peer,
    });
    this.ads.onStatus(() => {
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    });
  }

  /** Serves configuration, secrets and, where they are to be kept, access logs. Gives the port; 0 for a socket. */
  async listen(
    address: string,
    credentials = ServerCredentials.createInsecure(),
    logs?: AccessLogs,
  ): Promise<number> {
    const ads = this.ads.implementation();
    this.#server.addService(adsService, ads);
    // The same resources, asked for by the method of their own service.
    const { streamSecrets, deltaSecrets } = grpcService(sds.SecretDiscoveryService);
    const { streamAggregatedResources: whole, deltaAggregatedResources: delta } = adsService;
    this.#server.addService(
      {
        streamSecrets: { ...whole, path: streamSecrets.path },
        deltaSecrets: { ...delta, path: deltaSecrets.path },
      },
      {
        streamSecrets: handler(ads, 'streamAggregatedResources'),
        deltaSecrets: handler(ads, 'deltaAggregatedResources'),
      },
    );
    if (logs !== undefined) {
      const { streamAccessLogs } = grpcService(accessLog.AccessLogService);
      const take = (stream: Parameters<AccessLogs['take']>[0]) => logs.take(stream);
      this.#server.addService({ streamAccessLogs }, { streamAccessLogs: take });
    }
    return new Promise((resolve, reject) => {
      const done = (error: Error | null, port: number) => (error === null ? resolve(port) : reject(error));
      this.#server.bindAsync(address, credentials, done);
    });
  }

  /** Puts everything in place of what was there. Gives the snapshot's version. */
  set(messages: readonly Message[]): number {
    const version = this.#snapshot.version + 1;
    this.#snapshot = snapshotOf(version, messages.map(resourceOf), { previous: this.#snapshot });
    for (const listener of this.#listeners) listener(this.#snapshot);
    return version;
  }

  /** The status of the one proxy, once it is as wanted. Throws with the status after fifteen seconds. */
  async status(isWanted: (status: ProxyStatus) => boolean): Promise<ProxyStatus> {
    const end = AbortSignal.timeout(15_000);
    const over = new Promise<void>((resolve) =>
      end.addEventListener('abort', () => resolve(), { once: true }),
    );
    for (;;) {
      const news = this.#news.promise;
      const found = this.ads.statuses().find(isWanted);
      if (found !== undefined) return found;
      if (end.aborted)
        throw new Error(`no proxy came to be so: ${JSON.stringify(this.ads.statuses()).slice(0, 2000)}`);
      await Promise.race([news, over]);
    }
  }

  close(): void {
    this.#server.forceShutdown();
  }
}

function handler(implementation: UntypedServiceImplementation, name: string) {
  const found = implementation[name];
  if (found === undefined) throw new Error(`the server has no ${name}`);
  return found;
}

/** Rendered resources as messages. */
export function messagesOf(resources: readonly EnvoyResource[]): Message[] {
  return resources.map(messageOf);
}
