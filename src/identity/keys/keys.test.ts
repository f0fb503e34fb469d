import { createHash, createPublicKey, generateKeyPairSync, verify } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { bitString, DerReader, decodeOid, element, NULL, OID, oid, sequence, TAG } from '../der/index.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from './algorithms.ts';
import { keyIdOf, readPublicKey, rowOfSpki } from './public-key.ts';
import { exportPkcs8, generateKey, importPkcs8, pooledRandom, signerOf, spkiOf } from './signer.ts';

const ALGORITHMS = Object.keys(KEY_ALGORITHMS) as KeyAlgorithm[];
const publicKeyOf = (spki: Buffer) => createPublicKey({ key: spki, format: 'der', type: 'spki' });
const kindOf = (spki: Buffer) => readPublicKey(new DerReader(spki, 'a test')).kind;

describe.each(ALGORITHMS)('a key of %s', (algorithm) => {
  const key = generateKey(algorithm);
  const signer = signerOf(key);

  test('signs what its public key verifies', () => {
    const data = Buffer.from('data');
    const signature = signer.sign(data);
    expect(verify(KEY_ALGORITHMS[algorithm].hash, data, publicKeyOf(signer.spki), signature)).toBe(true);
    expect(
      verify(KEY_ALGORITHMS[algorithm].hash, Buffer.from('date'), publicKeyOf(signer.spki), signature),
    ).toBe(false);
  });

  test('is known by its SubjectPublicKeyInfo', () => {
    expect(signer.algorithm).toBe(algorithm);
    expect(rowOfSpki(signer.spki)?.algorithm).toBe(algorithm);
    expect(kindOf(signer.spki)).toBe(algorithm);
    expect(spkiOf(createPublicKey(key))).toEqual(signer.spki);
  });

  test('is named by the SHA-1 of its bits', () => {
    const reader = new DerReader(signer.spki, 'a test').enter(TAG.sequence);
    reader.expect(TAG.sequence);
    expect(signer.keyId).toBe(createHash('sha1').update(reader.bitString()).digest('hex'));
  });

  test('comes back from PKCS#8', () => {
    expect(signerOf(importPkcs8(exportPkcs8(key))).spki).toEqual(signer.spki);
  });

  test('with one byte more, less or other in its header is none of this kind', () => {
    expect(rowOfSpki(Buffer.concat([signer.spki, Buffer.alloc(1)]))).toBeUndefined();
    expect(rowOfSpki(signer.spki.subarray(0, -1))).toBeUndefined();
    const { length } = KEY_ALGORITHMS[algorithm].spkiHeader;
    for (let i = 0; i < length; i++) {
      const other = Buffer.from(signer.spki);
      other[i] = (other[i] as number) ^ 1;
      expect(rowOfSpki(other)).toBeUndefined();
    }
  });
});

test.each([
  ['ec-p521', () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey],
  ['ml-dsa-44', () => generateKeyPairSync('ml-dsa-44').publicKey],
  ['ml-dsa-87', () => generateKeyPairSync('ml-dsa-87').publicKey],
  ['rsa', () => generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey],
] as const)('a key of %s is read', (kind, make) => {
  const info = readPublicKey(new DerReader(spkiOf(make()), 'a test'));
  expect(info.kind).toBe(kind);
  expect(info.algorithm).toBeUndefined();
  expect(info.modulusBits).toBe(kind === 'rsa' ? 2048 : undefined);
});

test.each([
  ['secp256k1', () => generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey],
  ['Ed448', () => generateKeyPairSync('ed448').publicKey],
  ['X25519', () => generateKeyPairSync('x25519').publicKey],
  ['RSA-PSS', () => generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).publicKey],
] as const)('a key of %s is of no kind that is accepted, and has an identifier all the same', (_, make) => {
  const spki = spkiOf(make());
  expect(kindOf(spki)).toBeUndefined();
  expect(keyIdOf(spki)).toHaveLength(40);
});

describe('an RSA key', () => {
  const rsa = (modulus: Buffer, exponent: Buffer) =>
    sequence(
      sequence(oid(OID.rsaEncryption), NULL),
      bitString(sequence(element(TAG.integer, modulus), element(TAG.integer, exponent))),
    );
  const modulus = Buffer.concat([Buffer.from([0, 0xc1]), Buffer.alloc(255, 1)]);

  test.each([
    ['65537', '010001', 'rsa'],
    ['3', '03', 'rsa'],
    ['2^32 - 1', '00ffffffff', 'rsa'],
    ['2^32 + 1', '0100000001', undefined],
    ['an even number', '010000', undefined],
    ['1', '01', undefined],
    ['0', '00', undefined],
    ['-1', 'ff', undefined],
  ])('with the exponent %s', (_, exponent, kind) => {
    expect(kindOf(rsa(modulus, Buffer.from(exponent, 'hex')))).toBe(kind);
  });

  test.each([
    ['00c1', 8],
    ['7f', 7],
    ['01', 1],
    ['0080ff', 16],
    ['01ff', 9],
    ['00', 0],
    ['ff', 0],
  ])('with the modulus %s has %i bits', (hex, bits) => {
    const der = rsa(Buffer.from(hex, 'hex'), Buffer.from([3]));
    expect(readPublicKey(new DerReader(der, 'a test')).modulusBits).toBe(bits);
  });
});

test('a pool hands out what its source gives, each byte once, and asks it rarely', () => {
  let asked = 0;
  let next = 0;
  const source = (size: number) => {
    asked++;
    return Buffer.from(Array.from({ length: size }, () => next++ & 0xff));
  };
  const random = pooledRandom(source);
  const taken = Buffer.concat(Array.from({ length: 512 }, () => random(16)));
  expect(taken.toString('hex')).toBe(
    Buffer.from(Array.from({ length: 8192 }, (_, i) => i & 0xff)).toString('hex'),
  );
  expect(asked).toBe(1);
  const two = [random(5000), random(5000)];
  expect(Buffer.concat(two).readUInt8(5000)).toBe((8192 + 8192) & 0xff);
  expect(asked).toBe(3);
  expect(random(100_000)).toHaveLength(100_000);
});

test('a key that cannot sign here says which can', () => {
  expect(() => signerOf(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey)).toThrow(
    'a key of type rsa cannot sign here; use one of ECDSA P-256, ECDSA P-384, Ed25519, ML-DSA-65',
  );
});

test('a private key that cannot be read is not shown', () => {
  const secret = Buffer.from('secret bytes that are no key');
  for (const der of [secret, Buffer.alloc(0), Buffer.alloc(20_000)])
    expect(() => importPkcs8(der)).toThrow(/^the private key is no PKCS#8 that can be read$/);
});

test('the signature algorithms of the table are those of its standards', () => {
  const oids = ALGORITHMS.map((algorithm) => {
    const reader = new DerReader(KEY_ALGORITHMS[algorithm].signatureAlgorithm, 'a test').enter(TAG.sequence);
    return decodeOid(reader.expect(TAG.oid).content());
  });
  expect(oids).toEqual([
    '1.2.840.10045.4.3.2',
    '1.2.840.10045.4.3.3',
    '1.3.101.112',
    '2.16.840.1.101.3.4.3.18',
  ]);
});
