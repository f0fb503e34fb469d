import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { rename, writeFile } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';

/** How a helper fares. Times are ISO 8601, UTC. */
export interface Health {
  /** Certificates are written and have not ended, and the last attempt to write succeeded. */
  readonly ready: boolean;
  readonly spiffeId: string | null;
  readonly writtenAt: string | null;
  readonly expiresAt: string | null;
  /** Sets written since the start. */
  readonly writes: number;
  /** What is wrong now. */
  readonly error: string | null;
}

/** Writes the state of health to a file, whole or not at all. */
export async function writeHealth(file: string, health: Health): Promise<void> {
  const beside = `${file}.${process.pid}.tmp`;
  await writeFile(beside, `${JSON.stringify(health)}\n`, { mode: 0o644 });
  await rename(beside, file);
}

/** Where health is asked for. */
export interface HealthServerOptions {
  readonly host: string;
  readonly port: number;
  readonly livePath: string;
  readonly readyPath: string;
  readonly health: () => Health;
}

/** Answers liveness (the process runs) and readiness (503 until certificates are written and valid) over HTTP. */
export class HealthServer {
  readonly #server: Server;

  constructor({ livePath, readyPath, health }: Omit<HealthServerOptions, 'host' | 'port'>) {
    this.#server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000 }, (request, response) => {
      const [path] = (request.url ?? '').split('?');
      const known = path === livePath || path === readyPath;
      if (!known || (request.method !== 'GET' && request.method !== 'HEAD')) {
        response.writeHead(known ? 405 : 404).end();
        return;
      }
      const state = health();
      const status = path === livePath || state.ready ? 200 : 503;
      response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(state)}\n`);
    });
    this.#server.maxConnections = 16;
  }

  /** Starts to listen; gives the port. Throws `io`. */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) => {
        reject(
          new InterlockError(
            'io',
            `${host}:${port}`,
            `cannot answer health on ${host}:${port}: ${cause.message}`,
            { cause },
          ),
        );
      });
      // A server that listens on a port has an address with one.
      this.#server.listen(port, host, () => resolve((this.#server.address() as AddressInfo).port));
    });
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}
