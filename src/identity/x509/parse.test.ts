import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { element, OID, sequence, set, TAG, utf8String, oid } from '../der/index.ts';
import { signerOf } from '../keys/index.ts';
import { type Certificate, parseCertificate, parseCertificates } from './certificate.ts';
import { HOUR, keyOf, makeAuthority, makeLeaf, NOW, prefixes } from './craft.test-helper.ts';
import { createCrl, parseCrl } from './crl.ts';
import { encodeName } from './name.ts';
import { certificatesFromPem, certificateToPem } from './pem.ts';
import { createRequest, parseRequest } from './request.ts';
import { verifyX509Svid } from './verify.ts';

const root = makeAuthority(undefined, { name: 'root', extensions: { prefixes: prefixes('/area/') } });
const leaf = makeLeaf(root);
const request = createRequest(keyOf('leaf'));
const crl = createCrl({
  certificate: parseCertificate(root.der),
  signer: root.signer,
  revoked: [{ serial: '1267', at: NOW, reason: 'keyCompromise' }],
  number: 300,
  thisUpdate: NOW,
  nextUpdate: NOW + HOUR,
});

/** Reads everything that is read only when asked for, too. */
function readWhole(certificate: Certificate): void {
  JSON.stringify([certificate.subject, certificate.issuer, certificate.spiffeId, certificate.serial]);
}

/** Bytes changed, cut out, doubled and put in, a few times each. */
function mutated(der: Buffer): fc.Arbitrary<Buffer> {
  const change = fc.record({
    kind: fc.constantFrom('flip', 'set', 'cut', 'double', 'insert'),
    at: fc.nat({ max: der.length - 1 }),
    length: fc.integer({ min: 1, max: 12 }),
    byte: fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 0x30, 0x7f, 0x80, 0x81, 0x84, 0xff)),
  });
  return fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) =>
    changes.reduce<Buffer>((bytes, { kind, at: wanted, length, byte }) => {
      const at = Math.min(wanted, Math.max(0, bytes.length - 1));
      const [before, after] = [bytes.subarray(0, at), bytes.subarray(at)];
      if (kind === 'cut') return Buffer.concat([before, after.subarray(length)]);
      if (kind === 'double') return Buffer.concat([before, after.subarray(0, length), after]);
      if (kind === 'insert') return Buffer.concat([before, Buffer.alloc(length, byte), after]);
      const copy = Buffer.from(bytes);
      if (copy.length > 0) copy[at] = kind === 'flip' ? (copy[at] as number) ^ (1 << (byte & 7)) : byte;
      return copy;
    }, der),
  );
}

describe('whatever bytes come', () => {
  const readers: readonly (readonly [string, Buffer, (bytes: Buffer) => unknown])[] = [
    ['a certificate', leaf.der, (bytes) => readWhole(parseCertificate(bytes))],
    ['an authority', root.der, (bytes) => readWhole(parseCertificate(bytes))],
    [
      'a list of certificates',
      Buffer.concat([leaf.der, root.der]),
      (bytes) => parseCertificates(bytes).forEach(readWhole),
    ],
    ['a request', request, parseRequest],
    ['a revocation list', crl, parseCrl],
    [
      'a PEM text',
      Buffer.from(certificateToPem(leaf.der)),
      (bytes) => certificatesFromPem(bytes.toString('latin1')),
    ],
  ];
  test.each(readers)('%s is read or refused with an error of ours', (_, sound, read) => {
    expect(() => read(sound)).not.toThrow();
    const orRefused = (bytes: Buffer) => {
      try {
        read(bytes);
      } catch (error) {
        if (!isInterlockError(error)) throw error;
      }
    };
    fc.assert(fc.property(mutated(sound), orRefused), { numRuns: 3000 });
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => orRefused(Buffer.from(bytes))),
      { numRuns: 1000 },
    );
  });

  test('no changed leaf is verified: what is signed is what is read', () => {
    const bundles = new Map([['example.org', { x509Authorities: [root.der] }]]);
    expect(() => verifyX509Svid([leaf.der], { bundles, now: NOW })).not.toThrow();
    fc.assert(
      fc.property(mutated(leaf.der), (bytes) => {
        fc.pre(!bytes.equals(leaf.der));
        let verified = true;
        try {
          verifyX509Svid([bytes], { bundles, now: NOW });
        } catch (error) {
          if (!isInterlockError(error)) throw error;
          verified = false;
        }
        // A signature has a second form, (r, n - s); it is of the same certificate all the same.
        expect(verified).toBe(false);
      }),
      { numRuns: 1500 },
    );
  });
});

describe('a name', () => {
  const subjectOf = (subjectName: Buffer) => parseCertificate(makeLeaf(root, { subjectName }).der).subject;

  test('is given for people, and what could mislead them is written as its code', () => {
    expect(
      subjectOf(
        encodeName([
          ['country', 'DE'],
          ['organization', 'A, B'],
          ['commonName', 'x=y'],
        ]),
      ),
    ).toBe('C=DE,O=A\\, B,CN=x\\=y');
    expect(subjectOf(encodeName([['commonName', 'a\u0000b\u001b[31m\u202ec']]))).toBe(
      'CN=a\\u{0}b\\u{1b}[31m\\u{202e}c',
    );
    expect(subjectOf(sequence())).toBe('');
    expect(
      subjectOf(sequence(set(sequence(oid('1.2.3'), element(TAG.octetString, Buffer.from([1, 2])))))),
    ).toBe('1.2.3=#0102');
  });

  test.each([
    ['with an empty part', sequence(set())],
    ['whose part has no value', sequence(set(sequence(oid(OID.commonName))))],
    [
      'whose part has two values',
      sequence(set(sequence(oid(OID.commonName), utf8String('a'), utf8String('b')))),
    ],
    ['of more than 64 parts', encodeName(Array.from({ length: 65 }, () => ['commonName', 'a'] as const))],
  ])('%s is refused', (_, subjectName) => {
    expect(() => subjectOf(subjectName)).toThrow('malformed');
  });
});

describe('a list of certificates', () => {
  test('is read in order', () => {
    const read = parseCertificates(Buffer.concat([leaf.der, root.der]));
    expect(read.map(({ der }) => der)).toEqual([leaf.der, root.der]);
    expect(parseCertificates(Buffer.alloc(0))).toEqual([]);
  });

  test('that is cut off is refused as a whole', () => {
    expect(() => parseCertificates(Buffer.concat([leaf.der, root.der.subarray(0, -1)]))).toThrow('malformed');
  });

  test('may be a view of other bytes', () => {
    const around = new Uint8Array(Buffer.concat([Buffer.alloc(7), leaf.der, Buffer.alloc(7)]));
    expect(parseCertificate(around.subarray(7, -7)).der).toEqual(leaf.der);
  });
});

describe('PEM', () => {
  test('is read back, also with other text and blocks around it, and with the line ends of Windows', () => {
    const text = `# chain\r\n${certificateToPem(leaf.der).replaceAll('\n', '\r\n')}-----BEGIN X-----\nAAAA\n-----END X-----\n${certificateToPem(root.der)}`;
    expect(certificatesFromPem(text).map(({ der }) => der)).toEqual([leaf.der, root.der]);
  });

  test.each([
    ['nothing', '', 'holds no'],
    ['a key only', '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n', 'holds no'],
    ['a block without an end', '-----BEGIN CERTIFICATE-----\nAAAA\n', 'is missing'],
    ['a block with another end', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END X-----\n', 'is missing'],
    ['a block that is empty', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n', 'base64'],
    [
      'a block with other characters',
      '-----BEGIN CERTIFICATE-----\nAA*A\n-----END CERTIFICATE-----\n',
      'base64',
    ],
    [
      'a block with bits left over',
      '-----BEGIN CERTIFICATE-----\nAAB\n-----END CERTIFICATE-----\n',
      'base64',
    ],
    [
      'a block that is no certificate',
      '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n',
      'malformed',
    ],
  ])('of %s is refused', (_, text, message) => {
    expect(() => certificatesFromPem(text)).toThrow(message);
  });
});

test('a certificate says what kind of key it has, and gives it', () => {
  const read = parseCertificate(leaf.der);
  expect(read.keyKind).toBe('ec-p256');
  expect(read.publicKey().export({ type: 'spki', format: 'der' })).toEqual(signerOf(keyOf('leaf')).spki);
  expect(read.publicKey()).toBe(read.publicKey());
});
