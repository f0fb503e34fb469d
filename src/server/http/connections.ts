import type { Server } from 'node:net';
import { isLoopback } from './names.ts';
import { bareAddress, networkOf } from '../peer-address.ts';

/** Connections at one time, from all addresses and from one (of IPv6: one /64, which is what a machine has). */
export const MAX_CONNECTIONS = { all: 4096, each: 512 } as const;

/**
 * Closes at once what one address opens beyond its share, so that nobody keeps the others out. Not on this machine, nor from
 * a proxy that is trusted: all callers behind it come from its one address, and it bounds them.
 */
export function limitConnections(
  server: Server,
  limits: { readonly all: number; readonly each: number } = MAX_CONNECTIONS,
  isExempt: (address: string) => boolean = isLoopback,
): void {
  server.maxConnections = limits.all;
  const open = new Map<string, number>();
  server.prependListener('connection', (socket) => {
    const address = bareAddress(socket.remoteAddress ?? '');
    if (isExempt(address)) return;
    const network = networkOf(address);
    const own = (open.get(network) ?? 0) + 1;
    if (own > limits.each) {
      socket.destroy();
      return;
    }
    open.set(network, own);
    socket.once('close', () => {
      const left = (open.get(network) ?? 1) - 1;
      if (left === 0) open.delete(network);
      else open.set(network, left);
    });
  });
}
