import { constants } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { InterlockError } from '../../access/index.ts';
import type { ServerIdentity } from '../agents/listener.ts';
import { SERVER_LIMITS } from '../api/limits.ts';
import { listenAt } from '../listening.ts';
import type { Timers } from '../timers.ts';
import { limitConnections, MAX_CONNECTIONS } from './connections.ts';
import { isLoopback } from './names.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** How long calls that are under way may take when the server ends, milliseconds. */
const DRAIN_MS = 5000;

export interface HttpListenOptions {
  readonly host: string;
  readonly port: number;
  /** PEM; plain HTTP where absent, which only loopback addresses have. */
  readonly tls?: ServerIdentity | undefined;
  readonly timers: Timers;
  /** Proxies in front, through which many connect from one address. */
  readonly proxies?: TrustedProxies | undefined;
  /** For tests: the same, sooner. */
  readonly limits?: Readonly<Record<keyof typeof SERVER_LIMITS, number>>;
}

/** An HTTP port that is taken, and answers once it is told how. */
export interface HttpListening {
  readonly port: number;
  /** Answers from now on; before, every call waits for a moment or is told to come back. */
  serve(app: Hono): void;
  setIdentity(identity: ServerIdentity): void;
  /** Takes no more calls, and ends when those under way have, or after five seconds. */
  close(): Promise<void>;
}

/** Takes the HTTP port. Throws `usage` for plain HTTP beyond this machine, `io` where the port is taken. */
export async function listenHttp({
  host,
  port,
  tls,
  timers,
  proxies,
  limits = SERVER_LIMITS,
}: HttpListenOptions): Promise<HttpListening> {
  refusePlain(host, tls !== undefined);
  let answer: RequestListener = (_, response) => {
    response.writeHead(503, { 'retry-after': '1', 'content-type': 'text/plain' }).end('starting\n');
  };
  const listener: RequestListener = (request, response) => answer(request, response);
  const server: Server | TlsServer =
    tls === undefined
      ? createServer(limits, listener)
      : createTlsServer({ ...limits, ...secure(tls), handshakeTimeout: 10_000 }, listener);
  limitConnections(
    server,
    MAX_CONNECTIONS,
    (address) => isLoopback(address) || proxies?.isTrusted(address) === true,
  );
  const bound = await listenAt(server, { host, port });
  return {
    port: bound,
    serve(app) {
      const listen = getRequestListener(app.fetch, { overrideGlobalObjects: false });
      answer = (request, response) => void listen(request, response);
    },
    setIdentity(identity) {
      if (server instanceof TlsServer) server.setSecureContext(secure(identity));
    },
    close: () =>
      new Promise((resolve) => {
        const cancel = timers.after(DRAIN_MS, () => server.closeAllConnections());
        server.close(() => {
          cancel();
          resolve();
        });
        server.closeIdleConnections();
      }),
  };
}

/** Throws `usage` for plain HTTP that others on the network could read. */
export function refusePlain(host: string, isTls: boolean): void {
  if (isTls || isLoopback(host)) return;
  throw new InterlockError(
    'usage',
    '--http',
    `${host} is not on this machine alone, and sign-ins must not cross a network in plain text: give --http-tls-cert and --http-tls-key, or --http-tls-svid, or listen on 127.0.0.1 behind a reverse proxy`,
  );
}

function secure({ key, chain }: ServerIdentity) {
  return { key, cert: chain, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;
}
