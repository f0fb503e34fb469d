import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import { InterlockError, type SpiffeId } from '../access/index.ts';
import { ads } from '../proto/envoy/index.ts';
import { LIMITS, type Limits } from './limits.ts';
import type { ProxyNode } from './node.ts';
import { type Confirmation, ProxyBook, type ProxyStatus } from './proxies.ts';
import { type AdsStream, Session, type SnapshotSource, type XdsClock, type XdsEvent } from './session.ts';
import { statusOf } from './status.ts';
import type { Protocol } from './subscription.ts';

export interface AdsOptions {
  readonly source: SnapshotSource;
  readonly clock: XdsClock;
  /** Who calls, as the connection proves it. Throws an InterlockError for those who may not. */
  readonly identify: (call: { getPeer(): string }) => SpiffeId;
  readonly onEvent?: (event: XdsEvent) => void;
  readonly limits?: Partial<Limits>;
}

const bytes = (value: Buffer): Buffer => value;

function method(name: string) {
  return {
    path: `/${ads.AggregatedDiscoveryService.typeName}/${name}`,
    requestStream: true,
    responseStream: true,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  };
}

/** Envoy's AggregatedDiscoveryService for grpc-js. Messages are bytes here: the room reads and writes them itself. */
export const adsService = {
  streamAggregatedResources: method('StreamAggregatedResources'),
  deltaAggregatedResources: method('DeltaAggregatedResources'),
} satisfies ServiceDefinition;

/** The aggregated discovery service, v3, state of the world and delta: every proxy's stream, and what became of it. */
export class AdsServer {
  readonly #options: AdsOptions;
  readonly #limits: Limits;
  readonly #book: ProxyBook;
  readonly #sessions = new Set<Session>();
  readonly #perIdentity = new Map<SpiffeId, number>();
  #refusal: InterlockError | undefined;

  constructor(options: AdsOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#book = new ProxyBook(this.#limits, () => options.clock.now());
  }

  /** What grpc-js takes, with {@link adsService}. */
  implementation(): UntypedServiceImplementation {
    return {
      streamAggregatedResources: (call: AdsStream) => this.#open(call, 'whole'),
      deltaAggregatedResources: (call: AdsStream) => this.#open(call, 'delta'),
    };
  }

  /** Every connected proxy, and those that left not long ago. */
  statuses(): ProxyStatus[] {
    return this.#book.statuses();
  }

  /** When each proxy first confirmed a snapshot of this version or a newer one; for "which proxies, in how many ms". */
  confirmations(version: number): Confirmation[] {
    return this.#book.confirmations(version);
  }

  /** Tells of every change of a proxy's state. Gives the function that ends it. */
  onStatus(listener: (status: ProxyStatus) => void): () => void {
    return this.#book.onStatus(listener);
  }

  /** Ends the streams that `which` names: of a revoked identity, or of a workload that is gone. */
  end(which: (node: ProxyNode) => boolean, error: InterlockError): void {
    for (const session of this.#sessions) if (which(session.node)) session.end(error);
  }

  /** Ends all streams, and takes no more: proxies keep what they have, and look for another control plane. */
  close(): void {
    this.#refusal = new InterlockError('unavailable', 'control plane', 'the control plane is stopping');
    this.end(() => true, this.#refusal);
  }

  #open(call: AdsStream, protocol: Protocol): void {
    const { source, clock, identify, onEvent = () => {} } = this.#options;
    let spiffeId: SpiffeId;
    try {
      if (this.#refusal !== undefined) throw this.#refusal;
      spiffeId = identify(call);
      this.#count(spiffeId);
    } catch (error) {
      onEvent({ event: 'ended', who: call.getPeer(), error });
      call.on('error', () => {});
      call.emit('error', statusOf(error));
      return;
    }
    const session: Session = new Session({
      call,
      protocol,
      spiffeId,
      source,
      book: this.#book,
      clock,
      limits: this.#limits,
      onEvent,
      onGone: () => {
        this.#sessions.delete(session);
        const left = (this.#perIdentity.get(spiffeId) ?? 1) - 1;
        if (left > 0) this.#perIdentity.set(spiffeId, left);
        else this.#perIdentity.delete(spiffeId);
      },
    });
    this.#sessions.add(session);
  }

  #count(spiffeId: SpiffeId): void {
    const open = this.#perIdentity.get(spiffeId) ?? 0;
    const most = this.#limits.streamsPerIdentity;
    if (open >= most) throw new InterlockError('limit', spiffeId, `${spiffeId} has ${most} streams already`);
    this.#perIdentity.set(spiffeId, open + 1);
  }
}
