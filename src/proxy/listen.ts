import type { AddressInfo, Server } from 'node:net';
import type { Address } from './types.ts';

/** Connections that the system keeps until they are accepted. */
const BACKLOG = 4096;

/** Starts to listen. Rejects with the system's error; later errors are the server's. */
export function listen(server: Server, { host, port }: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host, port, backlog: BACKLOG }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Where a server listens, with the port that the system chose where 0 was asked for. */
export function addressOf(server: Server): Address {
  // A server that listens on a port has an address with one.
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}
