// A real control plane in a process of its own, for the benchmarks that need one: started, asked over its API's socket,
// stopped. Run by itself it is that process: `identity-plane.ts STATE`.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import {
  API_SOCKET,
  DEFAULT_AUTHORITY_TTL,
  initialise,
  realTimers,
  serveIdentity,
} from '../src/server/index.ts';
import { ended } from './identity-parts.ts';
import type { Program } from './identity-program.ts';

export const TRUST_DOMAIN = 'example.org';

/** A control plane that runs. */
export interface Plane {
  readonly address: string;
  readonly pid: number;
  /** Asks its API; throws what that answers where it is no success. */
  call<Answer>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<Answer>;
  /** A join token for an agent of this name. */
  token(agent: string): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a control plane of {@link TRUST_DOMAIN} on a fresh state directory. */
export async function startPlane(state: string, nodeOptions: readonly string[] = []): Promise<Plane> {
  const file = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...nodeOptions, file, state], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve((message as { port: number }).port));
    child.once('exit', (code) => reject(new Error(`the control plane ended with ${code}`)));
  });
  return planeOf(child, port, state);
}

/** Starts the command itself, as it is installed: `interlock authority serve`, with a fresh state directory. */
export async function startProgramPlane(
  { main }: Program,
  state: string,
  nodeOptions: readonly string[] = [],
): Promise<Plane> {
  const authority = [...nodeOptions, main, 'authority'];
  const made = spawnSync(
    process.execPath,
    [...authority, 'init', '--trust-domain', TRUST_DOMAIN, '--state', state],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  if (made.status !== 0) throw new Error('interlock authority init has failed');
  const child = spawn(
    process.execPath,
    [...authority, 'serve', '--state', state, '--listen', '127.0.0.1:0', '--json'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const port = await new Promise<number>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the control plane ended with ${code}`)));
    createInterface(child.stderr).on('line', (line) => {
      // A warning of Node's, not a line of the log.
      if (!line.startsWith('{')) return console.error(line);
      // The log of the command: {level, time, msg, ...}; of all lines only that of the start has a port.
      const { port, level, msg } = JSON.parse(line) as { port?: number; level: string; msg: string };
      if (port !== undefined) resolve(port);
      else if (level === 'error') console.error(msg);
    });
  });
  return planeOf(child, port, state);
}

function planeOf(child: ChildProcess, port: number, state: string): Plane {
  const socketPath = join(state, API_SOCKET);
  const plane: Plane = {
    address: `127.0.0.1:${port}`,
    pid: child.pid ?? 0,
    call: (method, path, body) => call(socketPath, method, path, body),
    async token(agent) {
      const made = await plane.call<{ token: string }>('POST', '/v1/join-tokens', {
        agent,
        ttlMs: 600_000,
      });
      return made.token;
    },
    stop: () => ended(child),
  };
  return plane;
}

function call<Answer>(socketPath: string, method: string, path: string, body: unknown): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers: { 'content-type': 'application/json' } });
    asked.on('response', (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        const text = Buffer.concat(parts).toString();
        if (response.statusCode !== 200) reject(new Error(`${method} ${path}: ${text}`));
        else resolve(JSON.parse(text) as Answer);
      });
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

async function serve(state: string): Promise<void> {
  const domain = {
    trustDomain: TRUST_DOMAIN,
    algorithm: 'ec-p256',
    authorityTtl: DEFAULT_AUTHORITY_TTL,
    root: 'self',
  } as const;
  await initialise(state, domain, 'bench', realTimers);
  const serving = await serveIdentity({
    state,
    listen: { host: '127.0.0.1', port: 0 },
    timers: realTimers,
    log: {
      info: () => undefined,
      warn: () => undefined,
      error: (fields, message) => console.error(message, fields),
    },
    version: 'bench',
  });
  process.send?.({ port: serving.port });
  // The agents are gone or do not matter any more: nobody is asked to leave.
  process.once('SIGTERM', () => process.exit(0));
  setInterval(() => undefined, 2 ** 30);
}

if (import.meta.main) await serve(process.argv[2] ?? '');
