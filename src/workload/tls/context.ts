import { constants } from 'node:crypto';
import type { SecureContextOptions } from 'node:tls';
import { certificateToPem } from '../../identity/index.ts';
import type { X509Svid } from '../x509-state.ts';

/** OpenSSL's SSL_OP_NO_RENEGOTIATION (ssl.h), which node:crypto does not name: no second handshake in TLS 1.2. */
const NO_RENEGOTIATION = 0x4000_0000;

/**
 * OpenSSL's group list: a key share each for the post-quantum hybrid, preferred, and for X25519. "?" passes over what a
 * build does not know, "*" sends a key share, "/" puts one before the other whatever the client sent a share for.
 */
export const GROUPS = '?*X25519MLKEM768/?*X25519:?secp256r1:?secp384r1';

/** TLS 1.3, and of TLS 1.2 only what has forward secrecy and authenticated encryption (RFC 9325 section 4.2). */
export const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/**
 * What a TLS context of one identity is made from. No tickets: a resumed session would skip the check of the peer's
 * certificate. A server of Node keeps no sessions of its own, so that what OpenSSL then sends in place of tickets in
 * TLS 1.3 opens nothing.
 */
export function contextOptions(svid: X509Svid): SecureContextOptions {
  return {
    cert: svid.chain.map(({ der }) => certificateToPem(der)).join(''),
    key: svid.key.export({ type: 'pkcs8', format: 'pem' }),
    // The peer's chain is judged by our verifier; OpenSSL trusts nobody here, and names no authorities to the peer.
    ca: [],
    minVersion: 'TLSv1.2',
    maxVersion: 'TLSv1.3',
    ciphers: CIPHERS,
    ecdhCurve: GROUPS,
    secureOptions: constants.SSL_OP_NO_TICKET | NO_RENEGOTIATION,
  };
}
