import type { TLSSocket } from 'node:tls';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import { MAX_CHAIN, type VerifiedX509Svid, verifyX509Svid } from '../../identity/index.ts';
import type { X509View } from '../x509-state.ts';
import type { Authorizer } from './authorize.ts';

/** What both ends of mutual TLS are judged with. */
export interface MtlsPolicy {
  /** Whose identity to show, and whom to trust; read anew for each connection. */
  readonly source: X509View;
  readonly authorize: Authorizer;
  /** The path prefixes of intermediates that do not carry them in their certificate, by subject key ID in hex. */
  readonly scopes?: ReadonlyMap<string, readonly string[]> | undefined;
  /** SPIFFE IDs that are let in no more, whatever certificate they show. */
  readonly revokedIds?: (() => ReadonlySet<SpiffeId>) | undefined;
}

/** Who is at the other end of a connection, proven. */
export interface Peer extends VerifiedX509Svid {
  /** As the peer sent it, DER, the leaf first. */
  readonly presented: readonly Buffer[];
}

const PEER = Symbol('the proven peer');

/**
 * The proven peer of a socket that a helper of this folder gave out; undefined for every other socket. An HTTP/2
 * session's `socket` will do: it stands for the real one, which is why the peer is noted on the socket itself.
 */
export function peerOf(socket: object): Peer | undefined {
  return (socket as { [PEER]?: Peer })[PEER];
}

/** The certificates that the peer sent, in its order, DER. Throws `untrusted` where it sent none, `limit` for too many. */
export function presentedChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined) {
    if (chain.length === MAX_CHAIN) {
      throw new InterlockError('limit', 'peer', `the peer sent more than ${MAX_CHAIN} certificates`);
    }
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  if (chain.length === 0) throw new InterlockError('untrusted', 'peer', 'the peer sent no certificate');
  return chain;
}

/**
 * Judges the other end of a finished handshake, and remembers it for {@link peerOf}. Throws `untrusted` or
 * `invalid_certificate` where its chain proves nothing, `forbidden` where it is known and not expected.
 */
export function provePeer(socket: TLSSocket, policy: MtlsPolicy, now: number): Peer {
  // With a resumed session nobody checked that the peer still has the key of this certificate.
  if (socket.isSessionReused()) {
    throw new InterlockError(
      'untrusted',
      'peer',
      'the peer resumed a session, which proves no certificate anew',
    );
  }
  const peer = judge(presentedChain(socket), policy, now);
  Object.defineProperty(socket, PEER, { value: peer });
  // What frameworks ask; OpenSSL was told to trust nobody, so it says no where our verifier said yes.
  socket.authorized = true;
  return peer;
}

/** Judges a chain by the policy of this moment. Errors as {@link provePeer}. */
export function judge(presented: readonly Buffer[], policy: MtlsPolicy, now: number): Peer {
  const { bundles, crls } = policy.source.state;
  const revokedIds = policy.revokedIds?.();
  const verified = verifyX509Svid(presented, {
    bundles,
    now,
    crls,
    ...(policy.scopes === undefined ? {} : { scopes: policy.scopes }),
    ...(revokedIds === undefined ? {} : { revokedIds }),
  });
  const { authorize } = policy;
  // Only the boolean itself: an authorizer that was written async by mistake must not let everyone in.
  if ((authorize.allows(verified) as unknown) !== true) {
    throw new InterlockError(
      'forbidden',
      verified.spiffeId,
      `the peer is ${verified.spiffeId}, and ${authorize.expects} is expected`,
    );
  }
  return { ...verified, presented };
}
