import type { SpiffeId } from '../../access/index.ts';
import type { X509View } from '../../workload/index.ts';
import type { InboundContext } from '../inbound/connection.ts';
import type { Http2Server } from '../inbound/protocols.ts';
import type { OutboundHttp2 } from '../outbound/listener.ts';
import type { Uplinks } from '../outbound/uplinks.ts';
import type { Address } from '../types.ts';

/** What a proxy gives to whatever takes its connections. */
export interface PortParts {
  readonly context: InboundContext;
  readonly uplinks: Uplinks;
  readonly http2: { readonly inbound: Http2Server; readonly outbound: OutboundHttp2 };
}

/** All that takes connections for a proxy. */
export interface Ports {
  readonly addresses: { readonly inbound: readonly Address[]; readonly outbound: readonly Address[] };
  /** Connections that are open. */
  readonly size: number;
  /** The identities that are held at this moment. */
  readonly identities: Iterable<X509View>;
  /** What it says of itself beyond that. */
  readonly details?: object;
  /** As of `InboundListener`, with the grace of each workload in milliseconds. */
  rejudge(graceOf: (workload: SpiffeId) => number): void;
  drain(withinMs: number): Promise<void>;
  close(): void;
}
