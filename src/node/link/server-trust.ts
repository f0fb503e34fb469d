import { connect, type DetailedPeerCertificate, type PeerCertificate } from 'node:tls';
import { InterlockError, parseSpiffeId, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  type Bundles,
  type Certificate,
  matchesPin,
  parseCertificate,
  verifyX509Svid,
} from '../../identity/index.ts';

/** The path of the control plane's own ID; below its prefix where it is a child authority limited to one. */
const SERVER_PATH = '/interlock/server';
const HANDSHAKE_MS = 10_000;
const MAX_CHAIN = 8;

/** What to know the control plane by. */
export interface ServerTrust {
  readonly bundles: Bundles;
  /** Its ID; absent: that of the trust domain's root. A child authority, which has the same root, is another one. */
  readonly server?: SpiffeId | undefined;
}

/** The control plane that gave an agent its SVID. */
export function serverOf(agent: SpiffeId): SpiffeId {
  return parseSpiffeId(agent.slice(0, agent.indexOf('/interlock/agent/')) + SERVER_PATH);
}

/** The host and port of HOST:PORT, [IPv6]:PORT. Throws `usage`. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InterlockError('usage', address, `"${address}" is not HOST:PORT`);
}

/**
 * Meets the server for the first time, when nothing but a hash of its authority's key is known: connects, and gives what
 * to trust it by. The pin is of the authority that certified the server itself: another authority below the
 * same root is not taken for it. Throws `untrusted` for a server certified by another, `unavailable` where nobody answers.
 */
export async function trustByPin(address: string, pin: string, now: number): Promise<ServerTrust> {
  const chain = await shownChain(address);
  const first = chain[0];
  const root = chain.at(-1);
  if (first === undefined || root === undefined) throw notPinned(address);
  const id = parseSpiffeId(parseCertificate(first).uriNames[0] ?? '');
  const trustDomain = trustDomainOf(id);
  const bundles: Bundles = new Map([
    [trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }],
  ]);
  if (!id.endsWith(SERVER_PATH)) throw notServer(id);
  const trust = { bundles, server: id };
  const issuer = assertServer(chain, trust, now, []);
  // Anybody can show the pinned certificate among his own, with a root of his own at the end. What counts is whose key
  // has signed the server's certificate; who has that certificate's key is then believed about the root.
  if (!matchesPin(issuer.spki, pin)) throw notPinned(address);
  return trust;
}

/** Throws `untrusted` unless the chain is the control plane's own. Gives the authority that has signed its certificate. */
export function assertServer(
  chain: readonly Buffer[],
  { bundles, server }: ServerTrust,
  now: number,
  crls: readonly Buffer[],
): Certificate {
  const { spiffeId, chain: path, authority } = verifyX509Svid(chain, { bundles, now, crls });
  if (spiffeId !== (server ?? `spiffe://${trustDomainOf(spiffeId)}${SERVER_PATH}`)) throw notServer(spiffeId);
  return path[1] ?? authority;
}

function notPinned(address: string): InterlockError {
  return new InterlockError(
    'untrusted',
    address,
    `${address} is not the control plane that the join token is from: it is not certified by the key that the token names`,
  );
}

function notServer(id: SpiffeId): InterlockError {
  return new InterlockError('untrusted', id, `${id} is not the control plane of this agent`);
}

/** The certificates of a peer as Node hands them over, DER, the leaf first. */
export function chainOf(certificate: PeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  // Node gives the detailed form to checkServerIdentity.
  let next: DetailedPeerCertificate | undefined = certificate as DetailedPeerCertificate;
  while (next !== undefined && chain.length < MAX_CHAIN) {
    chain.push(next.raw);
    next = next.issuerCertificate === next ? undefined : next.issuerCertificate;
  }
  return chain;
}

function shownChain(address: string): Promise<Buffer[]> {
  const { host, port } = hostAndPort(address);
  return new Promise((resolve, reject) => {
    // Nothing is sent over this connection: it only shows certificates, which are judged by the pin.
    const socket = connect({ host, port, ALPNProtocols: ['h2'], rejectUnauthorized: false }, () => {
      const chain = chainOf(socket.getPeerCertificate(true));
      socket.destroy();
      resolve(chain);
    });
    const fail = (cause: Error) =>
      reject(
        new InterlockError('unavailable', address, `the control plane at ${address} cannot be reached`, {
          cause,
        }),
      );
    socket.setTimeout(HANDSHAKE_MS, () => socket.destroy(new Error('no answer')));
    socket.once('error', fail);
  });
}
