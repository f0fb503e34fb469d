import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { bundleWith, jwtKey, NOW, rootOf, svidOf } from './authorities.test-helper.ts';
import {
  type Bundle,
  describeSkipped,
  derOf,
  formatBundle,
  formatJwks,
  formatJwtBundle,
  jwtAuthorityOf,
  MAX_BUNDLE_KEYS,
  parseBundle,
  parseJwtBundle,
  pemOf,
  SKIP_REASONS,
  type SkippedKey,
} from './index.ts';

const ALGORITHMS = ['ec-p256', 'ec-p256', 'ec-p384', 'ed25519', 'ml-dsa-65'] as const;
const ROOTS = ALGORITHMS.map((algorithm) => rootOf('example.org', NOW, algorithm).der);
const [ROOT = Buffer.alloc(0), OTHER = Buffer.alloc(0)] = ROOTS;
const LEAF = svidOf('spiffe://example.org/web', rootOf('example.org')).der;
const KEYS = [jwtKey('a'), jwtKey('b', 'P-384'), jwtKey('c', 'P-521'), jwtKey('d', 'RSA')].map(
  ({ authority }) => authority,
);

const x509 = (der: Buffer, more: object = {}): object => ({
  use: 'x509-svid',
  ...new X509Certificate(der).publicKey.export({ format: 'jwk' }),
  x5c: [der.toString('base64')],
  ...more,
});
const EC = { ...KEYS[0]?.jwk };
const RSA = { ...KEYS[3]?.jwk };
const jwt = (more: object = {}): object => ({ use: 'jwt-svid', kid: 'k', ...EC, ...more });
const GOOD = x509(ROOT);

function read(document: unknown): { bundle: Bundle; skipped: SkippedKey[] } {
  const skipped: SkippedKey[] = [];
  const bundle = parseBundle(JSON.stringify(document), 'example.org', (one) => skipped.push(one));
  return { bundle, skipped };
}

function codeOf(run: () => unknown): string {
  try {
    run();
    return 'no error';
  } catch (error) {
    return isInterlockError(error) ? error.code : String(error);
  }
}

describe('the entries of a bundle', () => {
  const weak = generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' });
  const ed25519 = generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' });
  const secret = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const p256k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ format: 'jwk' });
  const root64 = ROOT.toString('base64');
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['an x509-svid with one certificate', x509(OTHER), 'taken'],
    [
      'an x509-svid that shows its key type only',
      { use: 'x509-svid', kty: 'EC', x5c: [OTHER.toString('base64')] },
      'taken',
    ],
    ['an x509-svid with a kid', x509(OTHER, { kid: 'k' }), 'key_id_set'],
    ['an x509-svid without x5c', x509(OTHER, { x5c: undefined }), 'no_certificate'],
    ['an x509-svid with an empty x5c', x509(OTHER, { x5c: [] }), 'no_certificate'],
    ['an x509-svid with two certificates', x509(OTHER, { x5c: [root64, root64] }), 'no_certificate'],
    ['an x5c that is a text', x509(OTHER, { x5c: OTHER.toString('base64') }), 'no_certificate'],
    ['an x5c in base64url', x509(OTHER, { x5c: [OTHER.toString('base64url')] }), 'bad_certificate'],
    [
      'an x5c with something behind the certificate',
      x509(OTHER, { x5c: [Buffer.concat([OTHER, Buffer.from([0])]).toString('base64')] }),
      'bad_certificate',
    ],
    ['an x5c that is not a certificate', x509(OTHER, { x5c: ['AAAA'] }), 'bad_certificate'],
    ['an x5c with a number', x509(OTHER, { x5c: [7] }), 'bad_certificate'],
    ['the certificate of no authority', x509(LEAF), 'not_an_authority'],
    ['an x509-svid that shows the key of another', x509(OTHER, { x: EC['x' as never] }), 'key_differs'],
    ['an x509-svid of another key type', x509(OTHER, { kty: 'RSA' }), 'key_differs'],
    ['an x509-svid without key type', x509(OTHER, { kty: undefined }), 'key_differs'],
    ['an x509-svid with its private key', x509(OTHER, { d: 'AAAA' }), 'private_key'],
    ['the same x509-svid twice', GOOD, 'duplicate'],
    ['an EC jwt-svid', jwt(), 'taken'],
    ['an EC jwt-svid with its alg', jwt({ alg: 'ES256' }), 'taken'],
    ['an EC jwt-svid with the alg of another curve', jwt({ alg: 'ES384' }), 'wrong_algorithm'],
    ['an RSA jwt-svid', { use: 'jwt-svid', kid: 'k', ...RSA }, 'taken'],
    ['an RSA jwt-svid for PS512', { use: 'jwt-svid', kid: 'k', ...RSA, alg: 'PS512' }, 'taken'],
    ['an RSA jwt-svid for HS256', { use: 'jwt-svid', kid: 'k', ...RSA, alg: 'HS256' }, 'wrong_algorithm'],
    ['an RSA jwt-svid for none', { use: 'jwt-svid', kid: 'k', ...RSA, alg: 'none' }, 'wrong_algorithm'],
    ['an RSA key of 1024 bits', { use: 'jwt-svid', kid: 'k', ...weak }, 'weak_key'],
    ['an RSA key with the exponent 1', { use: 'jwt-svid', kid: 'k', ...RSA, e: 'AQ' }, 'bad_key'],
    ['an RSA key with an even exponent', { use: 'jwt-svid', kid: 'k', ...RSA, e: 'Ag' }, 'bad_key'],
    ['a jwt-svid without kid', jwt({ kid: undefined }), 'no_key_id'],
    ['a jwt-svid with an empty kid', jwt({ kid: '' }), 'no_key_id'],
    ['a jwt-svid with a number as kid', jwt({ kid: 7 }), 'no_key_id'],
    ['a jwt-svid with a kid of 513 characters', jwt({ kid: 'k'.repeat(513) }), 'no_key_id'],
    ['a point that is not on its curve', jwt({ y: EC['x' as never] }), 'bad_key'],
    ['a coordinate that is too short', jwt({ x: 'AAAA' }), 'bad_key'],
    ['a coordinate with padding', jwt({ x: `${String(EC['x' as never])}=` }), 'bad_key'],
    ['a coordinate with spare bits set', jwt({ x: `${String(EC['x' as never]).slice(0, -1)}_` }), 'bad_key'],
    ['a private key', { use: 'jwt-svid', kid: 'k', ...secret }, 'private_key'],
    ['a symmetric key', { use: 'jwt-svid', kid: 'k', kty: 'oct', k: 'AAAA' }, 'unknown_key_type'],
    ['an Ed25519 key', { use: 'jwt-svid', kid: 'k', ...ed25519 }, 'unknown_key_type'],
    ['a key on secp256k1', { use: 'jwt-svid', kid: 'k', ...p256k1 }, 'unknown_key_type'],
    ['an unknown use', jwt({ use: 'wit-svid' }), 'unknown_use'],
    ['a use in other case', jwt({ use: 'JWT-SVID' }), 'unknown_use'],
    ['no use', jwt({ use: undefined }), 'unknown_use'],
    ['null', null, 'not_an_object'],
    ['a list', [], 'not_an_object'],
    ['a text', 'x509-svid', 'not_an_object'],
  ];

  test.each(cases)('%s: %3$s', (_what, entry, outcome) => {
    const { bundle, skipped } = read({ keys: [GOOD, entry] });
    const taken = bundle.x509Authorities.length + bundle.jwtAuthorities.length;
    expect(skipped).toEqual(outcome === 'taken' ? [] : [{ index: 1, reason: outcome }]);
    expect(taken).toBe(outcome === 'taken' ? 2 : 1);
  });

  test('every reason to leave one out is in a case above or in a test below', () => {
    const seen = new Set([...cases.map(([, , outcome]) => outcome), 'taken', 'duplicate_key_id']);
    expect(seen).toEqual(new Set([...Object.keys(SKIP_REASONS), 'taken']));
  });

  test('of two keys with one kid the second is left out, and the same key twice is no fault', () => {
    const other = { use: 'jwt-svid', ...jwtKey('k').authority.jwk, kid: 'k' };
    const { bundle, skipped } = read({ keys: [jwt(), other, jwt()] });
    expect(bundle.jwtAuthorities).toEqual([{ keyId: 'k', algorithm: 'ES256', jwk: EC }]);
    expect(skipped.map(({ reason }) => reason)).toEqual(['duplicate_key_id', 'duplicate']);
  });

  test('a skipped entry is described with its place', () => {
    expect(describeSkipped({ index: 1, reason: 'no_certificate' })).toBe(
      'entry 2 was left out: its "x5c" does not hold exactly one certificate',
    );
  });

  test('names that every object inherits are not members', () => {
    const text = '{"keys":[],"__proto__":{"spiffe_sequence":7,"keys":[1]},"constructor":1}';
    expect(parseBundle(text, 'example.org')).toEqual(bundleWith({}));
    expect(codeOf(() => parseBundle('{"__proto__":{"keys":[]}}', 'example.org'))).toBe('invalid_document');
  });
});

describe('the document', () => {
  const cases: readonly (readonly [string, string | Uint8Array, string])[] = [
    ['empty keys: trust is withdrawn', '{"keys":[]}', 'no error'],
    ['only entries that are not ours', '{"keys":[{"use":"wit-svid"}]}', 'no error'],
    ['only broken entries: not the same as withdrawn', '{"keys":[{"use":"x509-svid"}]}', 'invalid_document'],
    ['no keys', '{}', 'invalid_document'],
    ['keys null', '{"keys":null}', 'invalid_document'],
    ['keys as an object', '{"keys":{}}', 'invalid_document'],
    ['a list', '[]', 'invalid_document'],
    ['no JSON', 'keys', 'invalid_document'],
    ['nothing', '', 'invalid_document'],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'invalid_document'],
    ['a byte order mark', Buffer.from('\uFEFF{"keys":[]}'), 'no error'],
    ['a sequence as text', '{"keys":[],"spiffe_sequence":"1"}', 'invalid_document'],
    ['a sequence with a fraction', '{"keys":[],"spiffe_sequence":1.5}', 'invalid_document'],
    ['a negative sequence', '{"keys":[],"spiffe_sequence":-1}', 'invalid_document'],
    ['the largest exact sequence', '{"keys":[],"spiffe_sequence":9007199254740991}', 'no error'],
    ['a sequence whose order is lost', '{"keys":[],"spiffe_sequence":9007199254740992}', 'invalid_document'],
    ['a null sequence', '{"keys":[],"spiffe_sequence":null}', 'invalid_document'],
    ['a hint as text', '{"keys":[],"spiffe_refresh_hint":"5m"}', 'invalid_document'],
    [
      'too many keys',
      JSON.stringify({ keys: Array.from({ length: MAX_BUNDLE_KEYS + 1 }, () => null) }),
      'limit',
    ],
    ['more than 1 MiB', `{"keys":[]${' '.repeat(1024 * 1024)}}`, 'limit'],
    ['nested too deep', `{"keys":${'['.repeat(50_000)}${']'.repeat(50_000)}}`, 'limit'],
    ['brackets in a text', `{"keys":[],"x":"${'['.repeat(50)}\\"${'{'.repeat(50)}"}`, 'no error'],
  ];
  test.each(cases)('%s', (_what, text, outcome) => {
    expect(codeOf(() => parseBundle(text, 'example.org'))).toBe(outcome);
  });

  test('a name that is not a trust domain is refused', () => {
    expect(codeOf(() => parseBundle('{"keys":[]}', 'spiffe://example.org'))).toBe('invalid_identity');
  });

  test('an error names the trust domain and the first broken entry', () => {
    const entry = { use: 'x509-svid', kty: 'EC' };
    expect(() => read({ keys: [{ use: 'wit-svid' }, entry] })).toThrow(
      'the bundle of example.org has no usable authority and 1 broken entries; ' +
        'entry 2: its "x5c" does not hold exactly one certificate',
    );
  });
});

describe('writing', () => {
  const bundle = bundleWith({ x509Authorities: ROOTS, jwtAuthorities: KEYS, sequence: 3, refreshHint: 60 });

  test('parse(format(bundle)) is the bundle', () => {
    const hint = fc.option(fc.maxSafeNat(), { nil: undefined });
    fc.assert(
      fc.property(
        fc.subarray(ROOTS),
        fc.subarray(KEYS),
        hint,
        hint,
        (certificates, keys, sequence, refresh) => {
          const made: Bundle = {
            ...bundleWith({ x509Authorities: certificates, jwtAuthorities: keys }),
            ...(sequence === undefined ? {} : { sequence }),
            ...(refresh === undefined ? {} : { refreshHint: refresh }),
          };
          const skipped: SkippedKey[] = [];
          expect(parseBundle(formatBundle(made), 'example.org', (one) => skipped.push(one))).toStrictEqual(
            made,
          );
          expect(skipped).toEqual([]);
        },
      ),
    );
  });

  test('whatever arrives, the parser gives a bundle or an InterlockError', () => {
    const good = formatBundle(bundle);
    fc.assert(
      fc.property(fc.nat(good.length - 1), fc.string({ maxLength: 5, unit: 'binary' }), (at, noise) => {
        const outcome = codeOf(() =>
          parseBundle(good.slice(0, at) + noise + good.slice(at + 1), 'example.org'),
        );
        expect(['no error', 'invalid_document', 'limit']).toContain(outcome);
      }),
    );
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(['no error', 'invalid_document', 'limit']).toContain(
          codeOf(() => parseBundle(text, 'example.org')),
        );
      }),
    );
  });

  test('the document has the members that the standard names and no others', () => {
    const document = JSON.parse(formatBundle(bundle)) as { keys: Record<string, unknown>[] };
    expect(Object.keys(document)).toEqual(['keys', 'spiffe_sequence', 'spiffe_refresh_hint']);
    expect(document.keys.map((key) => Object.keys(key).sort().join())).toEqual([
      'crv,kty,use,x,x5c,y',
      'crv,kty,use,x,x5c,y',
      'crv,kty,use,x,x5c,y',
      'crv,kty,use,x,x5c',
      'alg,kty,pub,use,x5c',
      ...KEYS.slice(0, 3).map(() => 'crv,kid,kty,use,x,y'),
      'e,kid,kty,n,use',
    ]);
  });

  test('OpenID providers get the JWT keys only, for "sig", with their alg', () => {
    const { keys } = JSON.parse(formatJwks(bundle)) as { keys: Record<string, unknown>[] };
    expect(keys.map(({ kid, use, alg }) => [kid, use, alg])).toEqual([
      ['a', 'sig', 'ES256'],
      ['b', 'sig', 'ES384'],
      ['c', 'sig', 'ES512'],
      ['d', 'sig', undefined],
    ]);
  });

  test('the Workload API gets the JWT keys without use, and they are read back', () => {
    const text = formatJwtBundle(bundle);
    expect(text).not.toContain('"use"');
    expect(parseJwtBundle(text, 'example.org')).toStrictEqual(bundleWith({ jwtAuthorities: KEYS }));
    expect(parseJwtBundle(formatJwks(bundle), 'example.org').jwtAuthorities).toHaveLength(KEYS.length);
    expect(parseJwtBundle(formatBundle(bundle), 'example.org').jwtAuthorities).toStrictEqual(KEYS);
  });

  test('PEM and DER hold the certificates in their order', () => {
    const blocks = pemOf(bundle).split(/(?<=-----END CERTIFICATE-----\n)/);
    expect(blocks.map((pem) => new X509Certificate(pem).raw)).toEqual(ROOTS);
    expect(derOf(bundle)).toEqual(Buffer.concat(ROOTS));
    expect(pemOf(bundleWith({}))).toBe('');
  });

  test('an authority that no bundle can carry is refused by name', () => {
    const broken = bundleWith({ x509Authorities: [Buffer.from('no certificate')] });
    expect(codeOf(() => formatBundle(broken))).toBe('invalid_certificate');
  });

  test('a key becomes an authority from its object, its private half or its DER, if it may sign JWT-SVIDs', () => {
    const { privateKey, authority } = jwtKey('k');
    expect(jwtAuthorityOf('k', privateKey)).toEqual(authority);
    const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
    expect(jwtAuthorityOf('k', spki)).toEqual(authority);
    expect(JSON.stringify(jwtAuthorityOf('k', privateKey))).not.toContain('"d"');
    const { publicKey } = generateKeyPairSync('ed25519');
    expect(codeOf(() => jwtAuthorityOf('k', publicKey))).toBe('invalid_certificate');
    expect(codeOf(() => jwtAuthorityOf('k', Buffer.from('junk')))).toBe('invalid_certificate');
  });
});
