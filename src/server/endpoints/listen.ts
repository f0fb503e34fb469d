import { constants } from 'node:crypto';
import { createServer } from 'node:https';
import type { ServerIdentity } from '../agents/listener.ts';
import { type EndpointOptions, publicEndpoint } from '../federation/endpoint.ts';
import { listenAt } from '../listening.ts';

/** Where the bundle stands, below the endpoint's address. */
export const BUNDLE_PATH = '/bundle';

export interface EndpointsOptions extends Omit<EndpointOptions, 'bundlePath'> {
  readonly host: string;
  readonly port: number;
  /** PEM: the control plane's own SVID (https_spiffe), or a certificate of a public authority (https_web). */
  readonly identity: ServerIdentity;
}

/** The public endpoints, listening. */
export interface Endpoints {
  readonly port: number;
  setIdentity(identity: ServerIdentity): void;
  close(): Promise<void>;
}

/** Serves the bundle, and the OpenID documents where there is an issuer, over HTTPS. Throws `io`. */
export async function listenEndpoints(options: EndpointsOptions): Promise<Endpoints> {
  const { host, port } = options;
  const answer = publicEndpoint({ ...options, bundlePath: BUNDLE_PATH });
  const server = createServer(
    { ...tlsOf(options.identity), handshakeTimeout: 10_000, headersTimeout: 10_000, requestTimeout: 10_000 },
    (request, response) => {
      const path = (request.url ?? '').split('?', 1)[0] ?? '';
      const isRead = request.method === 'GET' || request.method === 'HEAD';
      const { status, headers, body } = isRead
        ? answer(path)
        : { status: 405, headers: { allow: 'GET, HEAD' }, body: '' };
      response.writeHead(status, headers).end(request.method === 'HEAD' ? undefined : body);
    },
  );
  server.maxConnections = 1024;
  const bound = await listenAt(server, { host, port });
  return {
    port: bound,
    setIdentity: (identity) => server.setSecureContext(tlsOf(identity)),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function tlsOf({ key, chain }: ServerIdentity) {
  return { key, cert: chain, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET } as const;
}
