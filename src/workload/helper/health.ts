import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { rename, writeFile } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';
import { WorkloadApiError } from '../api-error.ts';

/** How a helper fares. Times are ISO 8601, UTC. */
export interface Health {
  /**
   * What is written is valid: it has not ended, the agent has not said that it is taken away, and the last attempt to
   * write succeeded. An agent that does not answer alone makes nobody unready.
   */
  readonly ready: boolean;
  readonly agent: 'answers' | 'away';
  readonly spiffeId: string | null;
  readonly writtenAt: string | null;
  readonly expiresAt: string | null;
  /** Sets written since the start. */
  readonly writes: number;
  /** What is wrong now; where ready, what will make it unready if it lasts. */
  readonly error: string | null;
}

/** What health is judged by. Times in milliseconds since 1970. */
export interface HealthFacts {
  readonly now: number;
  readonly written:
    | { readonly spiffeId: string; readonly expiresAt: number; readonly at: number }
    | undefined;
  readonly writes: number;
  /** Why the last attempt to write failed. */
  readonly failure: InterlockError | undefined;
  /** Why the Workload API has given nothing newer than what is held. */
  readonly stream: InterlockError | undefined;
}

/** The state of health that these facts make. */
export function healthOf({ now, written, writes, failure, stream }: HealthFacts): Health {
  const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  const fault = faultOf({ now, written, writes, failure, stream });
  return {
    ready: written !== undefined && fault === undefined,
    agent: stream instanceof WorkloadApiError && stream.code !== 'forbidden' ? 'away' : 'answers',
    spiffeId: written?.spiffeId ?? null,
    writtenAt: iso(written?.at),
    expiresAt: iso(written?.expiresAt),
    writes,
    error: fault ?? stream?.message ?? null,
  };
}

/** What makes a helper unready. */
function faultOf({ now, written, failure, stream }: HealthFacts): string | undefined {
  if (written === undefined) return (stream ?? failure)?.message;
  if (stream !== undefined && isTakenAway(stream)) return stream.message;
  if (written.expiresAt > now) return failure?.message;
  const why = stream ?? failure;
  const ended = `the certificate of ${written.spiffeId} ended at ${new Date(written.expiresAt).toISOString()}`;
  return why === undefined ? ended : `${ended}: ${why.message}`;
}

/** PermissionDenied, or an update in which the identity is missing: a complete state, so it is withdrawn. */
function isTakenAway(error: InterlockError): boolean {
  return error instanceof WorkloadApiError ? error.code === 'forbidden' : error.code === 'not_found';
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

/** Answers liveness (the process runs) and readiness (503 while {@link Health} is not ready) over HTTP. */
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
