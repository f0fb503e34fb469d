import { type KeyObject, randomBytes, sign } from 'node:crypto';
import fc from 'fast-check';
import { CompactEncrypt, CompactSign } from 'jose';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { bundleWith, jwtKey, NOW } from '../bundle/authorities.test-helper.ts';
import { type Bundle, type Bundles, publicKeyOf } from '../bundle/index.ts';
import { JWT_FAULTS, type JwtFault, JwtSvidError, MAX_JWT_BYTES, verifyJwtSvid } from './index.ts';

const WEB = parseSpiffeId('spiffe://example.org/web');
const EC = jwtKey('ec');
const RSA = jwtKey('rsa', 'RSA');
const P384 = jwtKey('p384', 'P-384');
const P521 = jwtKey('p521', 'P-521');
const FOREIGN = jwtKey('ec');
const STRANGER = jwtKey('ec');
const OWN = bundleWith({ jwtAuthorities: [EC, RSA, P384, P521].map(({ authority }) => authority) });
const BUNDLES: Bundles = new Map<string, Bundle>([
  ['example.org', OWN],
  ['other.example', bundleWith({ trustDomain: 'other.example', jwtAuthorities: [FOREIGN.authority] })],
  ['bare.example', bundleWith({ trustDomain: 'bare.example' })],
  // Filed under another name than its own: no token may pass by it.
  ['misfiled.example', OWN],
]);
const SECOND = NOW / 1000;
const CLAIMS = { sub: WEB, aud: ['reports'], exp: SECOND + 300, iat: SECOND };

const context = { bundles: BUNDLES, audience: 'reports', now: NOW };
const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token as an attacker may write it: any header over any payload, with a true signature of a P-256 key. */
function forge(header: object, payload: string, key: KeyObject = EC.privateKey): string {
  const input = `${encode(header)}.${payload}`;
  const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}
const withHeader = (header: object): string => forge({ alg: 'ES256', kid: 'ec', ...header }, encode(CLAIMS));
const withClaims = (claims: object): string =>
  forge({ alg: 'ES256', kid: 'ec' }, encode({ ...CLAIMS, ...claims }));

async function faultOf(token: string, changes: object = {}): Promise<JwtFault | 'accepted'> {
  try {
    await verifyJwtSvid(token, { ...context, ...changes });
    return 'accepted';
  } catch (error) {
    if (!(error instanceof JwtSvidError)) throw error;
    expect(error.code).toBe(JWT_FAULTS[error.fault]);
    const signature = token.split('.').at(-1) ?? '';
    if (signature.length > 20) expect(`${error.message}${String(error.cause)}`).not.toContain(signature);
    return error.fault;
  }
}

describe('the rules of JWT-SVID.md', () => {
  const good = withHeader({});
  const [head = '', body = '', tail = ''] = good.split('.');
  const cases: readonly (readonly [string, string, JwtFault | 'accepted'])[] = [
    ['kid and alg', good, 'accepted'],
    ['typ JWT', withHeader({ typ: 'JWT' }), 'accepted'],
    ['typ JOSE', withHeader({ typ: 'JOSE' }), 'accepted'],
    ['typ in other case', withHeader({ typ: 'jwt' }), 'type'],
    ['typ of an access token', withHeader({ typ: 'at+jwt' }), 'type'],
    ['typ of another kind of SVID', withHeader({ typ: 'wit+jwt' }), 'type'],
    ['typ null', withHeader({ typ: null }), 'type'],
    ['no kid: every key that fits is tried', withHeader({ kid: undefined }), 'accepted'],
    ['an unknown kid', withHeader({ kid: 'none' }), 'unknown_key'],
    ['an empty kid', withHeader({ kid: '' }), 'header'],
    ['a kid that is a number', withHeader({ kid: 1 }), 'header'],
    ['a kid that every object has', withHeader({ kid: '__proto__' }), 'unknown_key'],
    ['the kid of a key of another algorithm', withHeader({ kid: 'rsa' }), 'unknown_key'],
    ['the kid of a key on another curve', withHeader({ kid: 'p384' }), 'unknown_key'],
    ['no alg', withHeader({ alg: undefined }), 'algorithm'],
    ['alg none', `${encode({ alg: 'none' })}.${body}.`, 'malformed'],
    ['alg none with a signature', withHeader({ alg: 'none' }), 'algorithm'],
    ['alg HS256 over the public key', withHeader({ alg: 'HS256' }), 'algorithm'],
    ['alg EdDSA', withHeader({ alg: 'EdDSA' }), 'algorithm'],
    ['alg ML-DSA-65', withHeader({ alg: 'ML-DSA-65' }), 'algorithm'],
    ['alg ES256K', withHeader({ alg: 'ES256K' }), 'algorithm'],
    ['alg in other case', withHeader({ alg: 'es256' }), 'algorithm'],
    ['alg as a list', withHeader({ alg: ['ES256'] }), 'algorithm'],
    ['crit', withHeader({ crit: ['exp'], exp: 1 }), 'header'],
    ['b64 false', withHeader({ b64: false, crit: ['b64'] }), 'header'],
    ['a nested token: cty JWT', withHeader({ cty: 'JWT' }), 'header'],
    ['a key of its own: jwk', withHeader({ jwk: EC.authority.jwk }), 'header'],
    ['a key of its own: x5c', withHeader({ x5c: ['AAAA'] }), 'header'],
    ['a key from elsewhere: jku', withHeader({ jku: 'https://evil.example' }), 'header'],
    ['compressed: zip', withHeader({ zip: 'DEF' }), 'header'],
    ['a header of its own', withHeader({ extra: 1 }), 'header'],
    ['nothing', '', 'malformed'],
    ['two parts', `${head}.${body}`, 'malformed'],
    ['four parts', `${good}.AAAA`, 'malformed'],
    ['five parts', `${good}.AAAA.AAAA`, 'encrypted'],
    ['six parts', `${good}.AAAA.AAAA.AAAA`, 'malformed'],
    ['an empty signature', `${head}.${body}.`, 'malformed'],
    ['an empty payload', `${head}..${tail}`, 'malformed'],
    ['padding', `${head}.${body}.${tail}=`, 'malformed'],
    ['a blank before it', ` ${good}`, 'malformed'],
    ['a line break behind it', `${good}\n`, 'malformed'],
    ['JSON serialization', JSON.stringify({ payload: body, protected: head, signature: tail }), 'malformed'],
    ['a header that is no object', `${encode([])}.${body}.${tail}`, 'malformed'],
    ['a payload that is no object', forge({ alg: 'ES256', kid: 'ec' }, encode('text')), 'malformed'],
    ['a payload that is no JSON', forge({ alg: 'ES256', kid: 'ec' }, 'AAAA'), 'malformed'],
    [
      'a payload that is a token',
      forge({ alg: 'ES256', kid: 'ec' }, Buffer.from(good).toString('base64url')),
      'malformed',
    ],
    [
      'a payload nested too deep',
      withClaims({ x: JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`) }),
      'too_large',
    ],
    ['a token that is too large', withClaims({ x: 'x'.repeat(MAX_JWT_BYTES) }), 'too_large'],
    ['a thousand dots', '.'.repeat(1000), 'malformed'],
    [
      'other content under the signature',
      `${head}.${encode({ ...CLAIMS, aud: ['reports', 'x'] })}.${tail}`,
      'signature',
    ],
    [
      'another header over the signature',
      `${encode({ kid: 'ec', alg: 'ES256' })}.${body}.${tail}`,
      'signature',
    ],
    ['the signature of nobody', `${head}.${body}.${randomBytes(64).toString('base64url')}`, 'signature'],
    [
      'a signature in DER',
      `${head}.${body}.${sign('sha256', Buffer.from(`${head}.${body}`), EC.privateKey).toString('base64url')}`,
      'signature',
    ],
    ['a signature of zeros', `${head}.${body}.${Buffer.alloc(64).toString('base64url')}`, 'signature'],
    ['no sub', withClaims({ sub: undefined }), 'subject'],
    ['a sub that is no SPIFFE ID', withClaims({ sub: 'web' }), 'subject'],
    ['a sub that is a list', withClaims({ sub: [WEB] }), 'subject'],
    ['a sub with an upper-case trust domain', withClaims({ sub: 'spiffe://Example.org/web' }), 'subject'],
    ['a sub with a fragment', withClaims({ sub: `${WEB}#x` }), 'subject'],
    ['a trust domain without bundle', withClaims({ sub: 'spiffe://nobody.example/web' }), 'no_bundle'],
    ['a bundle without JWT authorities', withClaims({ sub: 'spiffe://bare.example/web' }), 'no_bundle'],
    ['a bundle that is another domain’s', withClaims({ sub: 'spiffe://misfiled.example/web' }), 'no_bundle'],
    ['a sub of another trust domain', withClaims({ sub: 'spiffe://other.example/web' }), 'signature'],
    ['no aud', withClaims({ aud: undefined }), 'no_audience'],
    ['an empty aud', withClaims({ aud: [] }), 'no_audience'],
    ['an aud that is a text', withClaims({ aud: 'reports' }), 'accepted'],
    ['an aud among others', withClaims({ aud: ['x', 'reports'] }), 'accepted'],
    ['an aud with a number', withClaims({ aud: ['reports', 1] }), 'no_audience'],
    ['an aud null', withClaims({ aud: null }), 'no_audience'],
    ['another aud', withClaims({ aud: ['report'] }), 'audience'],
    ['an aud that begins like it', withClaims({ aud: 'reports2' }), 'audience'],
    ['an aud in other case', withClaims({ aud: 'Reports' }), 'audience'],
    ['no exp', withClaims({ exp: undefined }), 'no_expiry'],
    ['an exp that is a text', withClaims({ exp: String(SECOND + 300) }), 'time'],
    ['an exp null', withClaims({ exp: null }), 'time'],
    ['a negative exp', withClaims({ exp: -1 }), 'time'],
    ['an exp beyond all dates', withClaims({ exp: 1e300 }), 'time'],
    ['an exp with a fraction', withClaims({ exp: SECOND + 0.5 }), 'accepted'],
    ['expired within the leeway', withClaims({ exp: SECOND - 59 }), 'accepted'],
    ['expired by the leeway', withClaims({ exp: SECOND - 60 }), 'expired'],
    ['nbf within the leeway', withClaims({ nbf: SECOND + 60 }), 'accepted'],
    ['nbf in the future', withClaims({ nbf: SECOND + 61 }), 'not_yet_valid'],
    ['an nbf that is a text', withClaims({ nbf: '1' }), 'time'],
    ['iat within the leeway', withClaims({ iat: SECOND + 60 }), 'accepted'],
    [
      'issued by a clock five minutes ahead',
      withClaims({ iat: SECOND + 300, exp: SECOND + 600 }),
      'issued_in_future',
    ],
    ['no iat', withClaims({ iat: undefined }), 'accepted'],
    ['claims of its own', withClaims({ shop: { till: 3 } }), 'accepted'],
  ];

  test.each(cases)('%s: %3$s', async (_what, token, expected) => {
    expect(await faultOf(token)).toBe(expected);
  });

  test('every fault is in a case above', () => {
    const seen = cases.map(([, , fault]) => fault).filter((fault) => fault !== 'accepted');
    expect(new Set<string>(seen)).toEqual(new Set(Object.keys(JWT_FAULTS)));
  });

  test('an encrypted token is refused as such', async () => {
    const token = await new CompactEncrypt(Buffer.from(JSON.stringify(CLAIMS)))
      .setProtectedHeader({ alg: 'ECDH-ES', enc: 'A256GCM' })
      .encrypt(publicKeyOf(EC.authority));
    expect(await faultOf(token)).toBe('encrypted');
  });

  test.each([
    ['RS256', RSA],
    ['RS384', RSA],
    ['RS512', RSA],
    ['PS256', RSA],
    ['PS384', RSA],
    ['PS512', RSA],
    ['ES256', EC],
    ['ES384', P384],
    ['ES512', P521],
  ] as const)(
    '%s of the standard is accepted, with kid and without',
    async (alg, { privateKey, authority }) => {
      for (const kid of [authority.keyId, undefined]) {
        const header = kid === undefined ? { alg } : { alg, kid };
        const token = await new CompactSign(Buffer.from(JSON.stringify(CLAIMS)))
          .setProtectedHeader(header)
          .sign(privateKey);
        const verified = await verifyJwtSvid(token, context);
        expect(verified.authority).toBe(authority);
      }
    },
  );

  test('an RSA key that its bundle binds to one algorithm serves no other', async () => {
    const token = await new CompactSign(Buffer.from(JSON.stringify(CLAIMS)))
      .setProtectedHeader({ alg: 'RS256', kid: 'rsa' })
      .sign(RSA.privateKey);
    const bound = bundleWith({ jwtAuthorities: [{ ...RSA.authority, algorithm: 'PS256' }] });
    expect(await faultOf(token, { bundles: new Map([['example.org', bound]]) })).toBe('unknown_key');
  });

  test('a token without kid is not tried against any number of keys', async () => {
    const jwtAuthorities = Array.from({ length: 17 }, (_, i) => ({ ...EC.authority, keyId: String(i) }));
    const bundles = new Map([['example.org', bundleWith({ jwtAuthorities })]]);
    expect(await faultOf(withHeader({ kid: undefined }), { bundles })).toBe('unknown_key');
    expect(await faultOf(withHeader({ kid: '16' }), { bundles })).toBe('accepted');
  });

  test('a verifier goes by any of its names, and one without a name accepts nothing', async () => {
    expect(await faultOf(good, { audience: ['x', 'reports'] })).toBe('accepted');
    expect(await faultOf(good, { audience: [] })).toBe('audience');
    expect(await faultOf(withClaims({ aud: '' }), { audience: '' })).toBe('audience');
  });

  test('the leeway is the caller’s', async () => {
    const token = withClaims({ exp: SECOND - 1 });
    expect(await faultOf(token, { leeway: 0 })).toBe('expired');
    expect(await faultOf(token, { leeway: 1001 })).toBe('accepted');
  });

  test('what is returned is what was signed', async () => {
    const verified = await verifyJwtSvid(withClaims({ shop: 3 }), context);
    expect(verified).toEqual({
      spiffeId: WEB,
      claims: { ...CLAIMS, shop: 3 },
      expiresAt: NOW + 300_000,
      authority: EC.authority,
    });
  });
});

describe('no token passes that its own trust domain did not sign', () => {
  const good = withHeader({});

  test('a token changed in any character never verifies', async () => {
    const letter = fc.constantFrom(...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=\n');
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), letter, async (at, other) => {
        fc.pre(good[at] !== other);
        expect(await faultOf(good.slice(0, at) + other + good.slice(at + 1))).not.toBe('accepted');
      }),
      { numRuns: 400 },
    );
  });

  test('a token cut or stretched anywhere never verifies', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.string({ maxLength: 3 }), async (at, more) => {
        expect(await faultOf(good.slice(0, at) + more)).not.toBe('accepted');
        if (more !== '') expect(await faultOf(good + more)).not.toBe('accepted');
      }),
    );
  });

  test('the key of another trust domain never verifies, whatever kid it gives', async () => {
    const id = fc.constantFrom('ec', 'rsa', 'p384', undefined);
    const domain = fc.constantFrom('example.org', 'other.example', 'misfiled.example', 'bare.example');
    const signer = fc.constantFrom(EC, FOREIGN, STRANGER);
    const passed = new Set<string>();
    await fc.assert(
      fc.asyncProperty(id, domain, signer, async (kid, trustDomain, { privateKey }) => {
        const claims = { ...CLAIMS, sub: `spiffe://${trustDomain}/web` };
        const token = forge({ alg: 'ES256', kid }, encode(claims), privateKey);
        const isOwn =
          (trustDomain === 'example.org' && privateKey === EC.privateKey) ||
          (trustDomain === 'other.example' && privateKey === FOREIGN.privateKey);
        const isAccepted = (await faultOf(token)) === 'accepted';
        expect(isAccepted).toBe(isOwn && (kid === 'ec' || kid === undefined));
        if (isAccepted) passed.add(trustDomain);
      }),
      { numRuns: 300 },
    );
    expect(passed).toEqual(new Set(['example.org', 'other.example']));
  });

  test('whatever arrives, the answer is a JwtSvidError', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary', maxLength: 60 }), fc.json(), async (junk, json) => {
        expect(await faultOf(junk)).not.toBe('accepted');
        const payload = Buffer.from(json).toString('base64url');
        expect(await faultOf(forge({ alg: 'ES256', kid: 'ec' }, payload))).not.toBe('accepted');
      }),
    );
  });
});
