import { constants } from 'node:crypto';
import { type IncomingMessage, request as httpRequest } from 'node:http';
import { isIP } from 'node:net';
import { connect, type ConnectionOptions, getCACertificates, type TLSSocket } from 'node:tls';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import {
  type Bundle,
  type FederationRelationship,
  type FetchBundle,
  MAX_BUNDLE_BYTES,
  type Timers,
  verifyX509Svid,
} from '../../identity/index.ts';
import { peerChain } from '../agents/peer-chain.ts';

/** How bundles are fetched. */
export interface FetchOptions {
  /** For the time at which certificates must be valid, and for the end of waiting. */
  readonly timers: Timers;
  /** PEM certificates of the authorities of https_web endpoints; the system's and Node's own where not given. */
  readonly ca?: readonly string[] | undefined;
}

/** Longest wait for a whole answer, from looking up the name to the last octet: in milliseconds. */
const TIMEOUT = 10_000;

/** OpenSSL's errors about certificates, and Node's about names in them. */
const CERTIFICATE_ERROR = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)|INVALID_(CA|PURPOSE)|PATH_LENGTH/;

/**
 * Fetches bundles over HTTPS (SPIFFE_Federation.md sections 5.2.1.4 and 5.2.2.4). The request is written only once the
 * endpoint is authenticated; every fetch makes a whole handshake. Redirects are not followed: an endpoint that moved is
 * the operator's to confirm. Rejects with `untrusted`, `unavailable` or `limit`.
 */
export function bundleFetcher(options: FetchOptions): FetchBundle {
  return async (relationship, trustBundle, signal) => {
    const url = new URL(relationship.endpointUrl);
    const socket = open(url, relationship, options);
    let gaveUp: InterlockError | undefined;
    const giveUp = (reason: string) => (): void => {
      gaveUp ??= new InterlockError('unavailable', relationship.trustDomain, reason);
      socket.destroy(gaveUp);
    };
    const callOff = giveUp('the look was called off');
    const cancel = options.timers.after(
      TIMEOUT,
      giveUp(`${shown(url)} did not answer within ${TIMEOUT / 1000} s`),
    );
    signal.addEventListener('abort', callOff, { once: true });
    try {
      if (signal.aborted) callOff();
      await authenticated(socket);
      if (relationship.profile.name === 'https_spiffe') {
        prove(socket, relationship.profile.endpointSpiffeId, trustBundle, options.timers.now());
      }
      return await get(url, socket);
    } catch (error) {
      // A body that breaks off because of it says only that it broke off.
      throw gaveUp ?? explain(error, url, relationship);
    } finally {
      cancel();
      signal.removeEventListener('abort', callOff);
      socket.destroy();
    }
  };
}

function open(url: URL, { profile }: FederationRelationship, { ca }: FetchOptions): TLSSocket {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const common: ConnectionOptions = {
    host,
    port: url.port === '' ? 443 : Number(url.port),
    ...(isIP(host) === 0 ? { servername: host } : {}),
    minVersion: 'TLSv1.2',
    // No session is kept, so none can stand in for the check of a certificate.
    secureOptions: constants.SSL_OP_NO_TICKET,
    ALPNProtocols: ['http/1.1'],
  };
  const socket =
    profile.name === 'https_web'
      ? connect({ ...common, ca: [...(ca ?? webAuthorities())] })
      : // Our own verifier judges the chain, in prove(), before anything is written.
        connect({ ...common, rejectUnauthorized: false });
  // Whoever waits is told by a listener of its own; an error after that is about a connection nobody needs.
  socket.on('error', () => {});
  return socket;
}

let authorities: readonly string[] | undefined;

/** The public authorities that the system and Node trust, and those that NODE_EXTRA_CA_CERTS adds. */
function webAuthorities(): readonly string[] {
  authorities ??= [...new Set([...getCACertificates('default'), ...getCACertificates('system')])];
  return authorities;
}

function authenticated(socket: TLSSocket): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('the connection was closed during the handshake')));
  });
}

function prove(socket: TLSSocket, expected: string, trustBundle: Bundle | undefined, now: number): void {
  if (trustBundle === undefined) {
    throw new InterlockError('untrusted', expected, 'there is no bundle to authenticate the endpoint with');
  }
  const bundles = new Map([[trustBundle.trustDomain, trustBundle]]);
  const { spiffeId } = verifyX509Svid(peerChain(socket), { bundles, now });
  if (spiffeId !== expected) {
    throw new InterlockError('untrusted', expected, `the endpoint is ${spiffeId} and not ${expected}`);
  }
}

async function get(url: URL, socket: TLSSocket): Promise<Uint8Array> {
  const response = await answerTo(url, socket);
  const { statusCode = 0, headers } = response;
  if (statusCode >= 300 && statusCode < 400) {
    throw new Error(`answered with a redirect (${statusCode}); set the endpoint's URL to where it is now`);
  }
  if (statusCode !== 200) throw new Error(`answered with status ${statusCode}`);
  if ((headers['content-encoding'] ?? 'identity') !== 'identity') {
    throw new Error('answered with a compressed body, which was not asked for');
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response) {
    // A response without an encoding set gives buffers.
    const octets = chunk as Buffer;
    size += octets.length;
    if (size > MAX_BUNDLE_BYTES) {
      throw new InterlockError('limit', url.host, `${shown(url)} sends more than ${MAX_BUNDLE_BYTES} bytes`);
    }
    chunks.push(octets);
  }
  return Buffer.concat(chunks);
}

function answerTo(url: URL, socket: TLSSocket): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({
      createConnection: () => socket,
      path: `${url.pathname}${url.search}`,
      headers: { host: url.host, accept: 'application/json', connection: 'close' },
    });
    request.once('response', resolve).once('error', reject);
    request.end();
  });
}

/** An error that a person can act on: who did not prove what, or did not answer. */
function explain(error: unknown, url: URL, { trustDomain }: FederationRelationship): InterlockError {
  const message = error instanceof Error ? error.message : String(error);
  if (isInterlockError(error)) {
    if (error.code === 'unavailable' || error.code === 'limit') return error;
    return new InterlockError('untrusted', trustDomain, `${shown(url)} is not trusted: ${message}`, {
      cause: error,
    });
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (CERTIFICATE_ERROR.test(code)) {
    return new InterlockError('untrusted', trustDomain, `${shown(url)} is not trusted: ${message}`, {
      cause: error,
    });
  }
  return new InterlockError('unavailable', trustDomain, `${shown(url)}: ${message}`, { cause: error });
}

/** The URL without its query, which may hold what is nobody's business. */
function shown(url: URL): string {
  return `${url.origin}${url.pathname}`;
}
