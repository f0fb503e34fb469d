import { type ConnectionOptions, connect } from 'node:tls';
import { InterlockError, parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import { type Bundles, matchesPin, parseCertificate, verifyX509Svid } from '../../identity/index.ts';
import { peerChain } from '../agents/peer-chain.ts';

const HANDSHAKE_MS = 10_000;
/** The path of a control plane's own ID, at its end: one that is limited to a prefix has it there. */
const SERVER_PATH = /^(\/[A-Za-z0-9._/-]+)?\/interlock\/server$/;

/** The host and port of HOST:PORT or [IPv6]:PORT. Throws `usage`. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InterlockError('usage', address, `"${address}" is not HOST:PORT`);
}

/** Throws `untrusted` unless the chain is that of a control plane of a domain in the bundles. */
export function assertControlPlane(
  chain: readonly Buffer[],
  bundles: Bundles,
  now: number,
  crls: readonly Buffer[] = [],
): void {
  const { spiffeId } = verifyX509Svid(chain, { bundles, now, crls });
  const path = spiffeId.slice(`spiffe://${trustDomainOf(spiffeId)}`.length);
  if (SERVER_PATH.test(path)) return;
  throw new InterlockError('untrusted', spiffeId, `${spiffeId} is not a control plane`);
}

/**
 * Meets a parent of which nothing but the hash of its root is known: looks for the root in the chain it shows. Throws
 * `untrusted` where it is not there, `unavailable` where nobody answers.
 */
export async function bundlesByPin(address: string, pin: string, now: number): Promise<Bundles> {
  const chain = await shownChain(address);
  const root = chain.find((der) => matchesPin(parseCertificate(der).spki, pin));
  const leaf = chain[0] === undefined ? undefined : parseCertificate(chain[0]);
  if (root === undefined || leaf?.spiffeId === undefined) {
    throw new InterlockError(
      'untrusted',
      address,
      `${address} is not the control plane that the join token is from: none of its certificates has the key that the token names`,
    );
  }
  const trustDomain = trustDomainOf(parseSpiffeId(leaf.spiffeId));
  const bundles: Bundles = new Map([
    [trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }],
  ]);
  assertControlPlane(chain, bundles, now);
  return bundles;
}

function shownChain(address: string): Promise<Buffer[]> {
  const options: ConnectionOptions = {
    ...hostAndPort(address),
    ALPNProtocols: ['h2'],
    // Nothing is sent over this connection: it only shows certificates, which are judged by the pin.
    rejectUnauthorized: false,
  };
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => {
      const chain = peerChain(socket);
      socket.destroy();
      resolve(chain);
    });
    socket.setTimeout(HANDSHAKE_MS, () => socket.destroy(new Error('no answer')));
    socket.once('error', (cause) => {
      reject(
        new InterlockError('unavailable', address, `the parent at ${address} cannot be reached`, { cause }),
      );
    });
  });
}
