import { DerError } from './reader.ts';

/** Bytes of one OID that are read: above the largest real one, an arc of 128 bits under 2.25. */
const MAX_OID_BYTES = 64;

/** The content of an OBJECT IDENTIFIER (X.690 section 8.19) for its dotted form. Arcs may be of any size (2.25.UUID). */
export function encodeOid(dotted: string): Buffer {
  const arcs = dotted.split('.').map(BigInt);
  const [first, second, ...rest] = arcs;
  if (first === undefined || second === undefined || first > 2n || (first < 2n && second > 39n)) {
    throw new TypeError(`"${dotted}" is not an object identifier`);
  }
  const bytes: number[] = [];
  for (let arc of [first * 40n + second, ...rest]) {
    const digits = [Number(arc & 0x7fn)];
    while ((arc >>= 7n) > 0n) digits.unshift(Number(arc & 0x7fn) | 0x80);
    bytes.push(...digits);
  }
  return Buffer.from(bytes);
}

/** The dotted form of an OBJECT IDENTIFIER's content. Throws a DerError where it is not in its only form. */
export function decodeOid(content: Uint8Array): string {
  const last = content.at(-1);
  if (last === undefined || last >= 0x80 || content.length > MAX_OID_BYTES) {
    throw new DerError('an object identifier', 'it is empty, cut off or too long', 0);
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  let begins = true;
  for (const byte of content) {
    if (begins && byte === 0x80)
      throw new DerError('an object identifier', 'an arc is not in its shortest form', 0);
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    begins = byte < 0x80;
    if (!begins) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const first = arcs[0] as bigint;
  const top = first < 80n ? first / 40n : 2n;
  return [top, first - top * 40n, ...arcs.slice(1)].join('.');
}

/** A key for lookups, faster than the dotted form: a number for the short ones of 3 bytes (2.5.29.x), else text. */
export type OidKey = number | string;

/** The {@link OidKey} of an OBJECT IDENTIFIER's content. */
export function oidKey(content: Buffer, start = 0, stop = content.length): OidKey {
  if (stop - start !== 3) return content.toString('latin1', start, stop);
  return (
    ((content[start] as number) << 16) |
    ((content[start + 1] as number) << 8) |
    (content[start + 2] as number)
  );
}

/** Object identifiers by the names that their standards give them. */
export const OID = {
  // RFC 5280
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  nameConstraints: '2.5.29.30',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  subjectKeyIdentifier: '2.5.29.14',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  anyExtendedKeyUsage: '2.5.29.37.0',
  commonName: '2.5.4.3',
  serialNumber: '2.5.4.5',
  country: '2.5.4.6',
  locality: '2.5.4.7',
  state: '2.5.4.8',
  organization: '2.5.4.10',
  organizationalUnit: '2.5.4.11',
  uniqueIdentifier: '2.5.4.45',
  domainComponent: '0.9.2342.19200300.100.1.25',
  // RFC 5480, RFC 5758
  ecPublicKey: '1.2.840.10045.2.1',
  p256: '1.2.840.10045.3.1.7',
  p384: '1.3.132.0.34',
  p521: '1.3.132.0.35',
  ecdsaSha256: '1.2.840.10045.4.3.2',
  ecdsaSha384: '1.2.840.10045.4.3.3',
  ecdsaSha512: '1.2.840.10045.4.3.4',
  // RFC 8017
  rsaEncryption: '1.2.840.113549.1.1.1',
  rsaSha256: '1.2.840.113549.1.1.11',
  rsaSha384: '1.2.840.113549.1.1.12',
  rsaSha512: '1.2.840.113549.1.1.13',
  // RFC 8410
  ed25519: '1.3.101.112',
  // RFC 9881
  mlDsa44: '2.16.840.1.101.3.4.3.17',
  mlDsa65: '2.16.840.1.101.3.4.3.18',
  mlDsa87: '2.16.840.1.101.3.4.3.19',
  // RFC 2985, RFC 7292, RFC 8018
  extensionRequest: '1.2.840.113549.1.9.14',
  friendlyName: '1.2.840.113549.1.9.20',
  localKeyId: '1.2.840.113549.1.9.21',
  x509CertificateBag: '1.2.840.113549.1.9.22.1',
  shroudedKeyBag: '1.2.840.113549.1.12.10.1.2',
  certificateBag: '1.2.840.113549.1.12.10.1.3',
  cmsData: '1.2.840.113549.1.7.1',
  cmsEncryptedData: '1.2.840.113549.1.7.6',
  pbes2: '1.2.840.113549.1.5.13',
  pbkdf2: '1.2.840.113549.1.5.12',
  hmacSha256: '1.2.840.113549.2.9',
  sha256: '2.16.840.1.101.3.4.2.1',
  aes256Cbc: '2.16.840.1.101.3.4.1.42',
  /** Java's mark of a trusted certificate in a PKCS#12 file. */
  javaTrustedKeyUsage: '2.16.840.1.113894.746875.1.1',
  /** Interlock's own: the path prefixes an authority may speak for. An arc under 2.25 is a UUID (X.667). */
  pathPrefixes: `2.25.${BigInt('0xd6c20c44178842348ee35a73d32bcc21')}`,
} as const;
