import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { element, integer, NULL, OID, octetString, oid, sequence, time } from '../der/index.ts';
import { KEY_ALGORITHMS, signerOf } from '../keys/index.ts';
import { parseCertificate } from './certificate.ts';
import {
  alternativeNames,
  authority,
  type Differences,
  extendedKeyUsage,
  HOUR,
  keyOf,
  keyUsage,
  makeLeaf,
  NOW,
  uris,
} from './craft.test-helper.ts';
import { KEY_USAGE } from './extensions.ts';
import { type X509Fault } from './fault.ts';
import { encodeName } from './name.ts';
import { extension } from './sign.ts';
import { child, faultOf, names, root, unknownCritical, verify } from './chains.test-helper.ts';

const rsa = (bits: number) =>
  generateKeyPairSync('rsa', { modulusLength: bits }).publicKey.export({ type: 'spki', format: 'der' });
const curve = (namedCurve: string) =>
  generateKeyPairSync('ec', { namedCurve }).publicKey.export({ type: 'spki', format: 'der' });

describe('a leaf under the root of its trust domain', () => {
  const cases: readonly (readonly [what: string, differences: Differences, expected: X509Fault | 'none'])[] =
    [
      ['sound', {}, 'none'],
      ['with no extKeyUsage, which may be absent', { extensions: { usage: undefined } }, 'none'],
      ['with no basicConstraints, which may be absent', { extensions: { constraints: undefined } }, 'none'],
      [
        'that may also encipher keys, as SPIRE writes it',
        {
          extensions: {
            keyUsage: keyUsage(
              KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment | KEY_USAGE.keyAgreement,
            ),
          },
        },
        'none',
      ],
      ['with no authorityKeyIdentifier', { extensions: { aki: undefined } }, 'none'],
      ['with an empty subject', { subjectName: sequence() }, 'none'],
      [
        'with an unknown extension that is not critical',
        { extensions: { x: extension('2.5.29.54', false, integer(0)) } },
        'none',
      ],
      [
        'with DNS names beside the ID',
        {
          extensions: {
            names: alternativeNames(
              element(0x86, Buffer.from('spiffe://example.org/a')),
              element(0x82, Buffer.from('a.example.org')),
            ),
          },
        },
        'none',
      ],
      ['with an RSA key of 2048 bits', { spki: rsa(2048) }, 'none'],
      ['with a P-521 key', { spki: curve('P-521') }, 'none'],

      ['of version 1', { version: undefined, extensions: undefined }, 'version'],
      ['without extensions', { extensions: undefined }, 'leaf_key_usage'],
      ['that says it is an authority', { extensions: { constraints: authority() } }, 'leaf_is_authority'],
      ['without keyUsage', { extensions: { keyUsage: undefined } }, 'leaf_key_usage'],
      [
        'whose keyUsage is not critical',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature, false) } },
        'leaf_key_usage',
      ],
      [
        'without digitalSignature',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.keyAgreement) } },
        'leaf_key_usage',
      ],
      [
        'with keyCertSign',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign) } },
        'leaf_key_usage',
      ],
      [
        'with cRLSign',
        { extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.cRLSign) } },
        'leaf_key_usage',
      ],
      [
        'for servers only',
        { extensions: { usage: extendedKeyUsage(OID.serverAuth) } },
        'leaf_extended_key_usage',
      ],
      [
        'for clients only',
        { extensions: { usage: extendedKeyUsage(OID.clientAuth) } },
        'leaf_extended_key_usage',
      ],
      ['without names', { extensions: { names: undefined } }, 'one_uri'],
      [
        'with DNS names only',
        { extensions: { names: alternativeNames(element(0x82, Buffer.from('a.example.org'))) } },
        'one_uri',
      ],
      ['with two IDs', names('spiffe://example.org/a', 'spiffe://example.org/b'), 'one_uri'],
      ['with the same ID twice', names('spiffe://example.org/a', 'spiffe://example.org/a'), 'one_uri'],
      ['with an ID and another URI', names('spiffe://example.org/a', 'https://example.org/a'), 'one_uri'],
      ['with a URI that is no ID', names('https://example.org/a'), 'spiffe_id'],
      ['with an ID in capitals', names('SPIFFE://example.org/a'), 'spiffe_id'],
      ['with an ID with an empty segment', names('spiffe://example.org//a'), 'spiffe_id'],
      ['with an ID with dots as a segment', names('spiffe://example.org/area/payments/../b'), 'spiffe_id'],
      ['with an ID with a percent sign', names('spiffe://example.org/a%2fb'), 'spiffe_id'],
      ['with an ID with a port', names('spiffe://example.org:443/a'), 'spiffe_id'],
      ['with an ID of 2049 bytes', names(`spiffe://example.org/${'a'.repeat(2028)}`), 'spiffe_id'],
      ["with a trust domain's own ID", names('spiffe://example.org'), 'spiffe_id_path'],
      ['of a trust domain without a bundle', names('spiffe://other.org/a'), 'no_bundle'],
      [
        'with an unknown critical extension',
        { extensions: { x: unknownCritical } },
        'unknown_critical_extension',
      ],
      ['with an extension twice', { extensions: { x: uris('spiffe://example.org/b') } }, 'malformed'],
      ['with a second keyUsage', { extensions: { x: keyUsage(KEY_USAGE.digitalSignature) } }, 'malformed'],
      ['that is not valid yet', { notBefore: time(NOW + 1000) }, 'not_yet_valid'],
      ['that begins now', { notBefore: time(NOW) }, 'none'],
      ['that ends now', { notAfter: time(NOW) }, 'none'],
      ['that expired a second ago', { notAfter: time(NOW - 1000) }, 'expired'],
      ['with a serial number of 0', { serial: integer(0) }, 'none'],
      ['with a negative serial number', { serial: element(0x02, Buffer.from([0x80])) }, 'malformed'],
      ['with a serial number of 21 bytes', { serial: element(0x02, Buffer.alloc(21, 1)) }, 'malformed'],
      [
        'with a serial number written with zeros before it',
        { serial: element(0x02, Buffer.from([0, 1])) },
        'malformed',
      ],
      ['with an RSA key of 1024 bits', { spki: rsa(1024) }, 'weak_key'],
      ['with a secp256k1 key', { spki: curve('secp256k1') }, 'weak_key'],
      ['with a P-224 key', { spki: curve('P-224') }, 'weak_key'],
      [
        'with an X25519 key',
        { spki: generateKeyPairSync('x25519').publicKey.export({ type: 'spki', format: 'der' }) },
        'weak_key',
      ],
      ['signed by another key', { signer: signerOf(keyOf('stranger')) }, 'signature'],
      ['signed by SHA-1', { algorithm: sequence(oid('1.2.840.10045.4.1')) }, 'signature_algorithm'],
      [
        "signed by an algorithm that is not of the issuer's key",
        { algorithm: sequence(oid(OID.rsaSha256), NULL) },
        'signature_algorithm',
      ],
      [
        'signed by Ed25519, which the key is not',
        { algorithm: KEY_ALGORITHMS.ed25519.signatureAlgorithm },
        'signature_algorithm',
      ],
      [
        'with parameters where ECDSA has none',
        { algorithm: sequence(oid(OID.ecdsaSha256), NULL) },
        'signature_algorithm',
      ],
      [
        'that names two algorithms',
        { outerAlgorithm: KEY_ALGORITHMS['ec-p384'].signatureAlgorithm },
        'malformed',
      ],
      ['with an empty signature', { signature: Buffer.alloc(0) }, 'signature'],
      [
        'of an issuer of another name',
        { issuerName: encodeName([['commonName', 'nobody']]) },
        'unknown_authority',
      ],
      [
        'that names another key of its issuer',
        {
          extensions: {
            aki: extension(OID.authorityKeyIdentifier, false, sequence(element(0x80, Buffer.alloc(20)))),
          },
        },
        'unknown_authority',
      ],
      ['of version 2 with extensions', { version: element(0xa0, integer(1)) }, 'malformed'],
      ['that writes version 1 out', { version: element(0xa0, integer(0)) }, 'malformed'],
      ['of version 4', { version: element(0xa0, integer(3)) }, 'malformed'],
      [
        'with a URI beyond ASCII',
        { extensions: { names: alternativeNames(element(0x86, Buffer.from('spiffe://example.org/é'))) } },
        'malformed',
      ],
      ['with a NUL in its URI', names('spiffe://example.org/a\0.evil'), 'malformed'],
      [
        'with a NUL in a DNS name',
        {
          extensions: {
            names: alternativeNames(
              element(0x86, Buffer.from('spiffe://example.org/a')),
              element(0x82, Buffer.from('a\0.b')),
            ),
          },
        },
        'malformed',
      ],
      ['with an empty list of names', { extensions: { names: alternativeNames() } }, 'malformed'],
      [
        'with an empty list of extensions',
        {
          extensions: {
            keyUsage: undefined,
            usage: undefined,
            constraints: undefined,
            names: undefined,
            ski: undefined,
            aki: undefined,
          },
        },
        'malformed',
      ],
      [
        'with cA written out as false',
        {
          extensions: {
            constraints: extension(OID.basicConstraints, true, sequence(element(0x01, Buffer.from([0])))),
          },
        },
        'malformed',
      ],
      [
        'with a boolean of 01',
        { extensions: { x: sequence(oid('2.5.29.54'), element(0x01, Buffer.from([1])), octetString(NULL)) } },
        'malformed',
      ],
      [
        'with a path length and no cA',
        { extensions: { constraints: extension(OID.basicConstraints, true, sequence(integer(0))) } },
        'malformed',
      ],
      [
        'with something behind the keyUsage',
        { extensions: { keyUsage: extension(OID.keyUsage, true, Buffer.from([3, 2, 7, 0x80, 5, 0])) } },
        'malformed',
      ],
      [
        'with a keyUsage of no bits',
        { extensions: { keyUsage: extension(OID.keyUsage, true, Buffer.from([3, 1, 0])) } },
        'malformed',
      ],
    ];
  test.each(cases.map(([what, differences, expected]) => [what, expected, differences] as const))(
    '%s: %s',
    (_, expected, differences) => {
      const leaf = makeLeaf(root, differences);
      expect(faultOf(() => verify([leaf.der]))).toBe(expected);
    },
  );

  test('gives its ID, its chain, its authority and when the first of them ends', () => {
    const leaf = makeLeaf(child, { notAfter: time(NOW + HOUR / 2) });
    const verified = verify([leaf.der, child.der]);
    expect(verified.spiffeId).toBe('spiffe://example.org/area/payments/api');
    expect(verified.chain.map(({ der }) => der)).toEqual([leaf.der, child.der]);
    expect(verified.authority.der).toEqual(root.der);
    expect(verified.expiresAt).toBe(NOW + HOUR / 2);
  });

  test('whose key is a point off its curve is not noticed here: TLS, which uses the key, refuses it', () => {
    const spki = Buffer.from(signerOf(keyOf('leaf')).spki);
    spki[80] = (spki[80] as number) ^ 1;
    const { der } = makeLeaf(root, { spki });
    expect(faultOf(() => verify([der]))).toBe('none');
    expect(() => parseCertificate(der).publicKey()).toThrow('its public key is none');
  });
});
