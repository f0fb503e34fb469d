import { generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import * as peculiar from './peculiar.test-helper.ts';
import { describe, expect, test } from 'vitest';
import { isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { bitString, element, integer, NULL, OID, octetString, oid, sequence, set } from '../der/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm, signerOf } from '../keys/index.ts';
import { keyOf } from './craft.test-helper.ts';
import { createRequest, MAX_REQUEST_BYTES, parseRequest, verifyRequest } from './request.ts';

const ID = parseSpiffeId('spiffe://example.org/a');
const ALGORITHMS = Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[];

describe.each(ALGORITHMS)('a request of a %s key', (algorithm) => {
  const key = keyOf('request', algorithm);

  test('is read back with its key and names, and proves the key', async () => {
    const request = parseRequest(createRequest(key, { spiffeId: ID, dnsNames: ['a.b'] }));
    expect(request).toMatchObject({ algorithm, uriNames: [ID], dnsNames: ['a.b'] });
    expect(request.spki).toEqual(signerOf(key).spki);
    await expect(verifyRequest(request)).resolves.toBeUndefined();
  });

  test('proves nothing once a byte of it was changed', async () => {
    const der = createRequest(key);
    const wrong = Buffer.from(der);
    wrong[wrong.length - 3] = (wrong[wrong.length - 3] as number) ^ 1;
    const refused = await verifyRequest(parseRequest(wrong)).then(
      () => 'accepted',
      (error: unknown) => (isInterlockError(error) ? error.code : error),
    );
    expect(refused).toBe('untrusted');
  });

  // @peculiar/x509 has no table for ML-DSA signatures.
  test.skipIf(algorithm === 'ml-dsa-65')('is one that @peculiar/x509 reads and verifies', async () => {
    const read = new peculiar.Pkcs10CertificateRequest(
      new Uint8Array(createRequest(key, { spiffeId: ID, dnsNames: ['a.b'] })),
    );
    expect(await read.verify(webcrypto)).toBe(true);
    const names = read.extensions.filter((one) => one instanceof peculiar.SubjectAlternativeNameExtension);
    expect(names.map((extension) => extension.names.toJSON())).toEqual([
      [
        { type: 'url', value: ID },
        { type: 'dns', value: 'a.b' },
      ],
    ]);
  });
});

describe('a request', () => {
  const signer = signerOf(keyOf('request'));
  interface Parts {
    version?: Buffer;
    spki?: Buffer;
    attributes?: Buffer;
    algorithm?: Buffer;
    after?: Buffer;
  }
  const made = ({ version, spki, attributes, algorithm, after }: Parts = {}): Buffer => {
    const info = sequence(
      version ?? integer(0),
      sequence(),
      spki ?? signer.spki,
      attributes ?? element(0xa0),
      after ?? Buffer.alloc(0),
    );
    const { signatureAlgorithm } = KEY_ALGORITHMS['ec-p256'];
    return sequence(info, algorithm ?? signatureAlgorithm, bitString(signer.sign(info)));
  };
  const asking = (...extensions: Buffer[]) =>
    sequence(oid(OID.extensionRequest), set(sequence(...extensions)));
  const name = sequence(
    oid(OID.subjectAltName),
    octetString(sequence(element(0x86, Buffer.from('spiffe://example.org/a')))),
  );
  const spkiOf = (pair: { publicKey: KeyObject }) => pair.publicKey.export({ type: 'spki', format: 'der' });

  test('made field by field is read', () => {
    expect(parseRequest(made()).uriNames).toEqual([]);
    expect(parseRequest(made({ attributes: element(0xa0, asking(name)) })).uriNames).toHaveLength(1);
  });

  test.each<readonly [string, Parts | Buffer, string]>([
    ['of version 1', { version: integer(1) }, 'its version is unknown'],
    ['with something behind its attributes', { after: NULL }, 'more follows'],
    ['without attributes', { attributes: NULL }, 'tag 0xa0 is missing'],
    [
      'that asks for extensions twice',
      { attributes: element(0xa0, asking(name), asking(name)) },
      'asks for extensions twice',
    ],
    [
      'that asks for names twice',
      { attributes: element(0xa0, asking(name, name)) },
      'asks for alternative names twice',
    ],
    ['with an attribute that is none', { attributes: element(0xa0, NULL) }, 'tag 0x30 is missing'],
    [
      'of an RSA key',
      { spki: spkiOf(generateKeyPairSync('rsa', { modulusLength: 2048 })) },
      'no certificate is issued',
    ],
    [
      'of a P-521 key',
      { spki: spkiOf(generateKeyPairSync('ec', { namedCurve: 'P-521' })) },
      'no certificate is issued',
    ],
    [
      'with a compressed point',
      { spki: sequence(sequence(oid(OID.ecPublicKey), oid(OID.p256)), bitString(Buffer.alloc(33, 2))) },
      'no certificate is issued',
    ],
    [
      'signed by SHA-1',
      { algorithm: sequence(oid('1.2.840.10045.4.1')) },
      'not signed by an algorithm of its key',
    ],
    [
      'signed by an algorithm of another key',
      { algorithm: KEY_ALGORITHMS.ed25519.signatureAlgorithm },
      'not signed by an algorithm of its key',
    ],
    ['with a byte behind it', Buffer.concat([made(), NULL]), 'more follows'],
    ['that is empty', Buffer.alloc(0), 'tag 0x30 is missing'],
    ['that is too long', Buffer.alloc(MAX_REQUEST_BYTES + 1), 'more than'],
  ])('%s is refused', (_, parts, message) => {
    expect(() => parseRequest(Buffer.isBuffer(parts) ? parts : made(parts))).toThrow(message);
  });

  test('whose key is a point off its curve is refused where the proof is checked', async () => {
    const spki = Buffer.from(signer.spki);
    spki[80] = (spki[80] as number) ^ 1;
    await expect(verifyRequest(parseRequest(made({ spki })))).rejects.toThrow('its public key is none');
  });
});
