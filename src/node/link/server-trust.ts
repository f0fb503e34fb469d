import { connect, type DetailedPeerCertificate, type PeerCertificate } from 'node:tls';
import { InterlockError, parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import { type Bundles, matchesPin, parseCertificate, verifyX509Svid } from '../../identity/index.ts';

/** The path of the control plane's own ID. */
const SERVER_PATH = '/interlock/server';
const HANDSHAKE_MS = 10_000;
const MAX_CHAIN = 8;

/** The host and port of HOST:PORT, [IPv6]:PORT. Throws `usage`. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InterlockError('usage', address, `"${address}" is not HOST:PORT`);
}

/**
 * Meets the server for the first time, when nothing but a hash of its root is known: connects, looks for the root in
 * the chain that the server shows, and gives the bundles to trust it by. Throws `untrusted` where no certificate of
 * the chain has the pinned key, and `unavailable` where nobody answers.
 */
export async function bundlesByPin(address: string, pin: string, now: number): Promise<Bundles> {
  const chain = await shownChain(address);
  const root = chain.find((der) => matchesPin(parseCertificate(der).spki, pin));
  if (root === undefined) {
    throw new InterlockError(
      'untrusted',
      address,
      `${address} is not the control plane that the join token is from: none of its certificates has the key that the token names`,
    );
  }
  const leaf = parseCertificate(chain[0] as Buffer);
  const id = parseSpiffeId(leaf.uriNames[0] ?? '');
  const trustDomain = trustDomainOf(id);
  const bundles: Bundles = new Map([
    [trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }],
  ]);
  assertServer(chain, bundles, now, []);
  return bundles;
}

/** Throws `untrusted` unless the chain is the control plane's of the one trust domain whose authorities are known. */
export function assertServer(
  chain: readonly Buffer[],
  bundles: Bundles,
  now: number,
  crls: readonly Buffer[],
): void {
  const { spiffeId } = verifyX509Svid(chain, { bundles, now, crls });
  if (spiffeId === `spiffe://${trustDomainOf(spiffeId)}${SERVER_PATH}`) return;
  throw new InterlockError('untrusted', spiffeId, `${spiffeId} is a workload, not the control plane`);
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
