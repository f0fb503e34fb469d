import type { TLSSocket } from 'node:tls';

/** TLS groups by their number (IANA, "TLS Supported Groups"), with OpenSSL's names. */
const GROUP_NAMES: Readonly<Record<number, string>> = {
  23: 'secp256r1',
  24: 'secp384r1',
  25: 'secp521r1',
  29: 'x25519',
  30: 'x448',
  4587: 'SecP256r1MLKEM768',
  4588: 'X25519MLKEM768',
  4589: 'SecP384r1MLKEM1024',
};

/** Field [19] of OpenSSL's SSL_SESSION_ASN1 (ssl/ssl_asn1.c), which is its last: `kex_group`, an INTEGER. */
const KEX_GROUP_TAG = 0xb3;

/**
 * The group that the key of a connection was agreed in, or undefined. Node names it at the client's end only; at both
 * ends it stands in the session as OpenSSL writes it.
 */
export function groupOf(socket: TLSSocket): string | undefined {
  const session = socket.getSession();
  if (session === undefined) return undefined;
  for (const bytes of [2, 1]) {
    const at = session.length - bytes - 4;
    if (at < 0 || session[at] !== KEX_GROUP_TAG || session[at + 1] !== bytes + 2) continue;
    if (session[at + 2] !== 0x02 || session[at + 3] !== bytes) continue;
    return GROUP_NAMES[session.readUIntBE(at + 4, bytes)];
  }
  return undefined;
}
