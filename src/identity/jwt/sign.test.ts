import { createHash, createPublicKey, randomBytes } from 'node:crypto';
import { jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { bundleWith, jwtKey, NOW } from '../bundle/authorities.test-helper.ts';
import { generateKey, signerOf } from '../keys/index.ts';
import { MAX_JWT_BYTES, newTokenId, oidcDiscovery, signJwtSvid, verifyJwtSvid } from './index.ts';

const WEB = parseSpiffeId('spiffe://example.org/web');
const EC = jwtKey('ec');
const KEYS = [EC, jwtKey('rsa', 'RSA'), jwtKey('p384', 'P-384'), jwtKey('p521', 'P-521')];
const OWN = bundleWith({ jwtAuthorities: KEYS.map(({ authority }) => authority) });
const SECOND = NOW / 1000;
const context = { bundles: new Map([['example.org', OWN]]), audience: 'reports', now: NOW };

describe('signing', () => {
  const request = { spiffeId: WEB, audience: ['reports'], now: NOW, ttl: 300_000, keyId: 'k', id: 'id' };

  test.each(['ec-p256', 'ec-p384'] as const)(
    'a token of %s is what jose accepts, every time',
    async (algorithm) => {
      const key = generateKey(algorithm);
      const publicKey = createPublicKey(key);
      const { authority } = { authority: jwtKey('k').authority };
      expect(authority.keyId).toBe('k');
      // Many: a number in a DER signature is shorter once in 256, and has a leading zero every other time.
      for (let i = 0; i < 600; i++) {
        const token = signJwtSvid({
          ...request,
          signer: signerOf(key),
          id: String(i),
          issuer: 'https://i.example',
        });
        const { payload, protectedHeader } = await jwtVerify(token, publicKey, {
          currentDate: new Date(NOW),
        });
        expect(payload).toEqual({
          sub: WEB,
          aud: ['reports'],
          exp: SECOND + 300,
          iat: SECOND,
          jti: String(i),
          iss: 'https://i.example',
        });
        expect(protectedHeader).toEqual({
          alg: algorithm === 'ec-p256' ? 'ES256' : 'ES384',
          kid: 'k',
          typ: 'JWT',
        });
      }
    },
  );

  test('our own tokens are accepted by our verifier', async () => {
    const token = signJwtSvid({ ...request, signer: signerOf(EC.privateKey), keyId: 'ec' });
    expect((await verifyJwtSvid(token, context)).spiffeId).toBe(WEB);
  });

  const signer = signerOf(EC.privateKey);
  test.each([
    ['an Ed25519 key', { signer: signerOf(generateKey('ed25519')) }],
    ['an ML-DSA-65 key', { signer: signerOf(generateKey('ml-dsa-65')) }],
    ['no audience', { audience: [] }],
    ['an empty audience', { audience: [''] }],
    ['less than a second of life', { ttl: 999 }],
    ['no life', { ttl: 0 }],
    ['a life that is not a number', { ttl: Number.NaN }],
    ['more than a verifier reads', { audience: ['x'.repeat(MAX_JWT_BYTES)] }],
  ])('%s: no token', (_what, change) => {
    let refusal: unknown;
    try {
      signJwtSvid({ ...request, signer, ...change });
    } catch (error) {
      refusal = error;
    }
    expect(isInterlockError(refusal) && refusal.code).toBe('invalid_token');
  });

  test('a jti has 128 random bits', () => {
    const ids = new Set(Array.from({ length: 1000 }, () => newTokenId(randomBytes)));
    expect(ids.size).toBe(1000);
    expect(newTokenId((size) => createHash('sha256').update('x').digest().subarray(0, size))).toHaveLength(
      22,
    );
  });
});

describe('OpenID discovery', () => {
  test('names the issuer, its keys and what they sign with', () => {
    expect(JSON.parse(oidcDiscovery('https://oidc.example.org', OWN))).toEqual({
      issuer: 'https://oidc.example.org',
      jwks_uri: 'https://oidc.example.org/keys',
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256', 'ES384', 'ES512', 'RS256'],
      claims_supported: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti'],
    });
    const document = JSON.parse(oidcDiscovery('https://example.org/id/', OWN)) as Record<string, unknown>;
    expect(document['jwks_uri']).toBe('https://example.org/id/keys');
    expect(document['issuer']).toBe('https://example.org/id/');
  });

  test.each([
    'http://example.org',
    'example.org',
    'https://u:p@example.org',
    'https://example.org?x',
    'https://e.org#x',
    '',
  ])('"%s" is no issuer', (issuer) => {
    expect(() => oidcDiscovery(issuer, OWN)).toThrow('an issuer is an https URL');
  });
});
