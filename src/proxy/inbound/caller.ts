import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { Peer } from '../../workload/index.ts';
import { canonicalAddress, plainAddress } from '../addresses.ts';
import type { ProxyHeader } from '../proxy-protocol/index.ts';
import { groupOf } from '../tls/group.ts';
import type { Address, Caller, InboundRoute } from '../types.ts';

/** Where a connection comes from: what its PROXY header says where it was believed, else the socket's peer. */
export function sourceOf(socket: Socket, header?: ProxyHeader): Address {
  const { source } = header ?? {};
  if (source !== undefined) return { host: canonicalAddress(plainAddress(source.host)), port: source.port };
  return { host: plainAddress(socket.remoteAddress), port: socket.remotePort ?? 0 };
}

/** A caller with a proven identity. */
export function provenCaller(socket: TLSSocket, peer: Peer, header?: ProxyHeader): Caller {
  const { host, port } = sourceOf(socket, header);
  const group = groupOf(socket);
  return {
    principal: { kind: 'workload', id: peer.spiffeId },
    address: host,
    port,
    isMutual: true,
    ...(group === undefined ? {} : { group }),
  };
}

/**
 * Who calls, for the program: only this proxy reaches it and strips what callers say themselves, so it may believe it.
 * The form is that of Envoy's x-forwarded-client-cert; undefined for a caller without an identity.
 */
export function callerText({ principal }: Caller, { workload }: InboundRoute): string | undefined {
  return principal.kind === 'workload' ? `By=${workload};URI=${principal.id}` : undefined;
}

/** A caller of whom nothing is known but the address. */
export function unknownCaller(socket: Socket, header?: ProxyHeader): Caller {
  const { host, port } = sourceOf(socket, header);
  // Of a connection that broke at once the system has forgotten the address.
  return {
    principal: { kind: 'unauthenticated', from: host || 'unknown' },
    address: host,
    port,
    isMutual: false,
  };
}
