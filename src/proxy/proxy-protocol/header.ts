import type { Address } from '../types.ts';

/**
 * What a PROXY header says ("The PROXY protocol", versions 1 and 2): between whom the connection was before it came
 * through the peer. Without addresses (LOCAL, UNKNOWN, a Unix socket) the connection speaks for itself.
 */
export interface ProxyHeader {
  readonly source?: Address;
  readonly destination?: Address;
}

/** A header and how many bytes it took; or that more bytes are needed; or why it is none. */
export type ProxyRead =
  | { readonly kind: 'header'; readonly header: ProxyHeader; readonly length: number }
  | { readonly kind: 'more' }
  | { readonly kind: 'fault'; readonly reason: string };

export const MORE: ProxyRead = { kind: 'more' };

export function fault(reason: string): ProxyRead {
  return { kind: 'fault', reason };
}

/** The first bytes of version 2, which are no text of any protocol. */
export const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** The first bytes of version 1. */
export const V1_SIGNATURE = Buffer.from('PROXY ', 'latin1');
