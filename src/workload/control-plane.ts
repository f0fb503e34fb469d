import { connect, type DetailedPeerCertificate, type PeerCertificate } from 'node:tls';
import { InterlockError, parseSpiffeId, type SpiffeId, trustDomainOf } from '../access/index.ts';
import {
  type Bundles,
  type Certificate,
  matchesPin,
  MAX_CHAIN,
  parseCertificate,
  verifyX509Svid,
} from '../identity/index.ts';

/** The end of a control plane's own ID; below its prefix where it is a child authority limited to one. */
const SERVER_PATH = '/interlock/server';
const HANDSHAKE_MS = 10_000;

/** The ID of the control plane at the root of a trust domain. */
export function rootControlPlane(trustDomain: string): SpiffeId {
  return parseSpiffeId(`spiffe://${trustDomain}${SERVER_PATH}`);
}

/** The ID of the control plane that gave an agent its SVID. */
export function controlPlaneOf(agent: SpiffeId): SpiffeId {
  return parseSpiffeId(agent.slice(0, agent.indexOf('/interlock/agent/')) + SERVER_PATH);
}

/** A control plane's own ID as an operator gives it. Throws `invalid_identity` for an ID that no control plane has. */
export function readControlPlaneId(text: string): SpiffeId {
  const id = parseSpiffeId(text);
  if (id.endsWith(SERVER_PATH)) return id;
  throw new InterlockError(
    'invalid_identity',
    id,
    `${id} is not the ID of a control plane: it does not end with ${SERVER_PATH}`,
  );
}

/** The host and port of HOST:PORT or [IPv6]:PORT. Throws `usage`. */
export function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s/]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port >= 1 && port <= 65535) return { host, port };
  throw new InterlockError('usage', address, `"${address}" is not HOST:PORT`);
}

/** What a control plane's certificates are judged with. */
export interface ControlPlaneContext {
  readonly bundles: Bundles;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly crls?: readonly Buffer[] | undefined;
}

/**
 * Throws `untrusted` unless the chain is that of this control plane: one below the same root is another. Gives the
 * authority that has signed its certificate.
 */
export function assertControlPlane(
  chain: readonly Buffer[],
  expected: SpiffeId | undefined,
  context: ControlPlaneContext,
): Certificate {
  const { spiffeId, chain: path, authority } = verifyX509Svid(chain, context);
  const id = expected ?? rootControlPlane(trustDomainOf(spiffeId));
  if (spiffeId === id) return path[1] ?? authority;
  throw new InterlockError(
    'untrusted',
    spiffeId,
    `${spiffeId} is not the control plane that is expected, which is ${id}`,
  );
}

/** A control plane that was met, and what to know it by from then on. */
export interface MetControlPlane {
  readonly id: SpiffeId;
  readonly bundles: Bundles;
}

/**
 * Meets a control plane of which nothing but a join token is known: connects, and gives what to trust it by. The pin is
 * of the authority that certified the control plane itself: another authority below the same root is not taken for it.
 * Throws `untrusted` for one that another certified, `unavailable` where nobody answers.
 */
export async function meetControlPlane(address: string, pin: string, now: number): Promise<MetControlPlane> {
  const chain = await shownChain(address);
  const [leaf] = chain;
  const root = chain.at(-1);
  if (leaf === undefined || root === undefined) throw notPinned(address);
  const id = readControlPlaneId(parseCertificate(leaf).uriNames[0] ?? '');
  const trustDomain = trustDomainOf(id);
  const bundles: Bundles = new Map([
    [trustDomain, { trustDomain, x509Authorities: [root], jwtAuthorities: [] }],
  ]);
  const issuer = assertControlPlane(chain, id, { bundles, now });
  // Anybody can show the pinned certificate among his own, with a root of his own at the end. What counts is whose key
  // has signed the server's certificate; who has that certificate's key is then believed about the root.
  if (!matchesPin(issuer.spki, pin)) throw notPinned(address);
  return { id, bundles };
}

function notPinned(address: string): InterlockError {
  return new InterlockError(
    'untrusted',
    address,
    `${address} is not the control plane that the join token is from: it is not certified by the key that the token names`,
  );
}

/** The certificates of a peer as Node hands them over, DER, the leaf first. */
export function shownCertificates(certificate: PeerCertificate): Buffer[] {
  const chain: Buffer[] = [];
  // Node gives the detailed form to checkServerIdentity, and where it is asked for.
  let next: DetailedPeerCertificate | undefined = certificate as DetailedPeerCertificate;
  while (next?.raw !== undefined && chain.length < MAX_CHAIN) {
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
      const chain = shownCertificates(socket.getPeerCertificate(true));
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
