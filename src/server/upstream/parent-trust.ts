import { type ConnectionOptions, connect } from 'node:tls';
import { InterlockError, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  type Bundles,
  type Certificate,
  matchesPin,
  parseCertificate,
  verifyX509Svid,
} from '../../identity/index.ts';
import { peerChain } from '../agents/peer-chain.ts';

const HANDSHAKE_MS = 10_000;
/** The end of a control plane's own ID. */
const SERVER_PATH = '/interlock/server';

/** The host and port of HOST:PORT or [IPv6]:PORT. Throws `usage`. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InterlockError('usage', address, `"${address}" is not HOST:PORT`);
}

/**
 * Throws `untrusted` unless the chain is that of this control plane: one below the same root is another. Gives the
 * authority that has signed its certificate.
 */
export function assertControlPlane(
  chain: readonly Buffer[],
  id: SpiffeId,
  bundles: Bundles,
  now: number,
  crls: readonly Buffer[] = [],
): Certificate {
  const { spiffeId, chain: path, authority } = verifyX509Svid(chain, { bundles, now, crls });
  if (spiffeId === id) return path[1] ?? authority;
  throw new InterlockError('untrusted', spiffeId, `${spiffeId} is not the parent, which is ${id}`);
}

/** A parent that was met, and what to know it by from then on. */
export interface MetParent {
  readonly id: SpiffeId;
  readonly bundles: Bundles;
}

/**
 * Meets a parent of which nothing but a join token is known: the token's pin is of the authority that certified the
 * parent itself. Throws `untrusted` for a server that another one certified, `unavailable` where nobody answers.
 */
export async function meetParent(address: string, pin: string, now: number): Promise<MetParent> {
  const chain = await shownChain(address);
  const notPinned = () =>
    new InterlockError(
      'untrusted',
      address,
      `${address} is not the control plane that the join token is from: it is not certified by the key that the token names`,
    );
  const root = chain.at(-1);
  const id = chain[0] === undefined ? undefined : parseCertificate(chain[0]).spiffeId;
  if (root === undefined || id === undefined) throw notPinned();
  if (!id.endsWith(SERVER_PATH)) throw new InterlockError('untrusted', id, `${id} is not a control plane`);
  const trustDomain = trustDomainOf(id);
  const bundles: Bundles = new Map([
    [trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }],
  ]);
  const issuer = assertControlPlane(chain, id, bundles, now);
  // Anybody can show the pinned certificate among his own, with a root of his own at the end: what counts is whose key
  // has signed the parent's certificate.
  if (!matchesPin(issuer.spki, pin)) throw notPinned();
  return { id, bundles };
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
