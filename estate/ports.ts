import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';

/** Programs and proxies are told each other's ports before they run, so these are chosen first, as a block. */
const BLOCK = 64;
const LOWEST = 10_240;
const HIGHEST = 60_000;
const TRIES = 200;
const HOST = '127.0.0.1';

/** A block of ports that nobody uses. */
export interface Ports {
  /** The next port of the block. Throws where there is none left. */
  take(): number;
  /** Gives the block back. */
  free(): void;
}

/**
 * Finds a block below the ports that the kernel gives to outgoing connections, so that none of those takes one of it
 * meanwhile. Its first port is held as long as the block is: two estates on one machine never share one. Throws where
 * there is no free block.
 */
export async function takePorts(): Promise<Ports> {
  const top = Math.max(LOWEST + 4 * BLOCK, Math.min(HIGHEST, outgoingFrom()));
  for (let tries = 0; tries < TRIES; tries++) {
    const first = LOWEST + BLOCK * randomInt(Math.floor((top - LOWEST) / BLOCK));
    const lock = await listen(first);
    if (lock === undefined) continue;
    if (await areFree(first + 1, BLOCK - 1)) {
      let next = first + 1;
      const take = () => {
        if (next >= first + BLOCK) throw new Error('the block of ports is too small for this estate');
        return next++;
      };
      return { take, free: () => lock.close() };
    }
    lock.close();
  }
  throw new Error(`no ${BLOCK} free ports in a row between ${LOWEST} and ${top}`);
}

async function areFree(first: number, count: number): Promise<boolean> {
  const servers = await Promise.all(Array.from({ length: count }, (_, i) => listen(first + i)));
  const open = servers.filter((server) => server !== undefined);
  await Promise.all(open.map((server) => once(server.close(), 'close')));
  return open.length === count;
}

/** A server on this port, or undefined where the port is taken. */
async function listen(port: number): Promise<Server | undefined> {
  const server = createServer((socket) => socket.destroy());
  try {
    await once(server.listen(port, HOST), 'listening');
    return server.unref();
  } catch {
    return undefined;
  }
}

function outgoingFrom(): number {
  try {
    return Number(
      /^\d+/.exec(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'))?.[0] ?? HIGHEST,
    );
  } catch {
    return HIGHEST;
  }
}
