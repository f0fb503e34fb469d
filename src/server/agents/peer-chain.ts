import type { TLSSocket } from 'node:tls';

/** Longest chain that is looked at; a longer one is cut, and then proves nothing. */
const MAX_CHAIN = 8;

/** The certificates that the other side of a connection showed, DER, leaf first; empty where it showed none. */
export function peerChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_CHAIN) {
    chain.push(certificate.raw);
    const issuer = certificate.issuerCertificate;
    certificate = issuer === undefined || issuer.raw.equals(certificate.raw) ? undefined : issuer;
  }
  return chain;
}
