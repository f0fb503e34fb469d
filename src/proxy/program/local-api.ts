import { chmodSync, chownSync, existsSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { z } from 'zod';
import { ERROR_CODES, InterlockError, isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { peerCredentials, socketFd } from '../../system/index.ts';
import type { Clock } from '../../workload/index.ts';
import type { Policies } from '../control/policies.ts';

const MAX_BODY = 64 * 1024;
const releaseSchema = z.strictObject({
  reason: z.string().trim().min(1).max(1000),
  workload: z
    .string()
    .transform((id) => parseSpiffeId(id))
    .exactOptional(),
  forMs: z.number().min(1000).exactOptional(),
});

/** What can be asked and pressed on this machine. */
export interface LocallyServed {
  readonly policies: Pick<Policies, 'release' | 'arm' | 'releases'>;
  /** `svidEnds`: the first of its SVIDs to end, milliseconds since 1970 UTC. */
  readonly status: object & { readonly draining: boolean; readonly svidEnds: number };
  /** Its numbers in Prometheus' text format (version 0.0.4). */
  readonly metrics: string;
  /** Where others put in force what was pressed: resolves when they have, or with why they have not yet. */
  readonly inForce?: () => Promise<string | undefined>;
}

export interface LocalApiOptions {
  readonly path: string;
  /** Who may press the button beside root and the proxy's own user: a group, by its number. */
  readonly group?: number | undefined;
  readonly proxy: LocallyServed;
  readonly clock: Clock;
  /** Whoever pressed, and why: for the log. */
  readonly onAct: (act: string, details: object) => void;
}

/**
 * The proxy's socket on this machine: the red button, health, state. Whoever can open the socket may press the button;
 * its mode and group are the list of them. Throws `io`.
 */
export async function listenLocally(options: LocalApiOptions): Promise<{ close(): Promise<void> }> {
  const { path, group } = options;
  if (existsSync(path)) rmSync(path);
  const server = createServer(
    { headersTimeout: 10_000, requestTimeout: 10_000 },
    (request, response) => void answer(options, request, response),
  );
  // Nobody else may open it between its making and its mode.
  const mask = process.umask(0o177);
  try {
    await listening(server, path);
  } finally {
    process.umask(mask);
  }
  if (group !== undefined) {
    // They may pass through the directory of the state to the socket, and see nothing else in it.
    chownSync(dirname(path), -1, group);
    chmodSync(dirname(path), 0o710);
    chownSync(path, -1, group);
    chmodSync(path, 0o660);
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new InterlockError(
          'io',
          path,
          `cannot listen on ${path}: choose a shorter path that this user may write`,
          { cause },
        ),
      ),
    );
    server.listen(path, resolve);
  });
}

async function answer(
  options: LocalApiOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const send = (status: number, body: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(body)}\n`);
  };
  try {
    const { proxy, clock, onAct } = options;
    switch (`${request.method} ${request.url}`) {
      case 'GET /healthz':
        return send(200, { alive: true });
      case 'GET /readyz': {
        const { draining, svidEnds } = proxy.status;
        const why = draining ? 'draining' : svidEnds <= clock.now() ? 'an SVID has ended' : undefined;
        return send(
          why === undefined ? 200 : 503,
          why === undefined ? { ready: true } : { ready: false, why },
        );
      }
      case 'GET /metrics':
        response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' });
        response.end(proxy.metrics);
        return;
      case 'GET /v1/state':
        return send(200, { ...proxy.status, releases: proxy.policies.releases });
      case 'POST /v1/release': {
        const started = performance.now();
        const { forMs, ...order } = releaseSchema.parse(await bodyOf(request));
        const at = clock.now();
        const by = pressedBy(request);
        proxy.policies.release({ ...order, by, at, ...(forMs === undefined ? {} : { until: at + forMs }) });
        onAct('release', { ...order, by });
        const waiting = await proxy.inForce?.();
        const ms = Math.round((performance.now() - started) * 10) / 10;
        return send(200, waiting === undefined ? { ms } : { ms, waiting });
      }
      case 'POST /v1/arm': {
        const ended = proxy.policies.arm();
        onAct('arm', { ended, by: pressedBy(request) });
        const waiting = await proxy.inForce?.();
        return send(200, waiting === undefined ? { ended } : { ended, waiting });
      }
      default:
        return send(404, { code: 'not_found', detail: 'there is nothing here' });
    }
  } catch (error) {
    if (isInterlockError(error))
      return send(ERROR_CODES[error.code].http, { code: error.code, detail: error.message });
    if (error instanceof z.ZodError) {
      const [issue] = error.issues;
      return send(400, {
        code: 'usage',
        detail: `${issue?.path.join('.') ?? 'body'}: ${issue?.message ?? 'not valid'}`,
      });
    }
    return send(500, { code: 'unavailable', detail: 'the proxy failed' });
  }
}

/** Who is at the other end of the socket, as the kernel says. */
function pressedBy({ socket }: IncomingMessage): string {
  try {
    return `uid:${peerCredentials(socketFd(socket)).uid}`;
  } catch {
    // A system that does not say: the mode of the socket has judged.
    return 'local';
  }
}

async function bodyOf(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new InterlockError('limit', 'body', `a request has at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString() || '{}');
  } catch (cause) {
    throw new InterlockError('usage', 'body', 'the body is not JSON', { cause });
  }
}
