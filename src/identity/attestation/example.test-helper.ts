import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { AttestContext } from './attestor.ts';
import type { UsedTokens } from './token-evidence.ts';

/** The server's clock in tests: Saturday 2026-11-21, 05:00 UTC. */
export const NOW = Date.UTC(2026, 10, 21, 5);
export const MINUTE = 60_000;

/** A context without a conversation. */
export function context(now = NOW): AttestContext {
  return {
    trustDomain: 'example.org',
    now,
    csr: Buffer.from('csr'),
    challenge: () => Promise.reject(new Error('nobody asks')),
  };
}

/** Used tokens in memory. */
export function usedTokens(): UsedTokens & { readonly until: ReadonlyMap<string, number> } {
  const until = new Map<string, number>();
  return {
    until,
    useToken(hash, end) {
      if (until.has(hash)) return Promise.resolve(false);
      until.set(hash, end);
      return Promise.resolve(true);
    },
  };
}

/** An issuer with one key. */
export async function tokenIssuer(issuer: string, alg = 'ES256', kid = 'k1') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' };
  return {
    issuer,
    jwk,
    jwks: { keys: [jwk] },
    /** A token of claims; `iat` and `exp` are set around NOW unless given. */
    sign(claims: Readonly<Record<string, unknown>>, header: Readonly<Record<string, unknown>> = {}) {
      const seconds = NOW / 1000;
      return new SignJWT({ iss: issuer, iat: seconds, exp: seconds + 300, aud: 'interlock', ...claims })
        .setProtectedHeader({ alg, kid, typ: 'JWT', ...header })
        .sign(privateKey);
    },
  };
}
