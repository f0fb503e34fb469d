import type { Socket } from 'node:net';
import type { SocketTuple } from '../system/index.ts';
import { plainAddress } from './addresses.ts';

/** A connection as the socket at its other end has it. */
export function tupleOf({ remoteAddress, remotePort, localAddress, localPort }: Socket): SocketTuple {
  return {
    local: { host: plainAddress(remoteAddress), port: remotePort ?? 0 },
    remote: { host: plainAddress(localAddress), port: localPort ?? 0 },
  };
}

/** Whether both ends can be of this machine. */
export function isLocal({ local, remote }: SocketTuple): boolean {
  return local.host === remote.host || local.host.startsWith('127.') || local.host === '::1';
}
