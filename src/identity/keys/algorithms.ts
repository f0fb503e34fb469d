import { bitString, encodeOid, OID, oid, type OidKey, oidKey, sequence } from '../der/index.ts';

/** What kind of public key a certificate may hold that this program reads. */
export type KeyKind =
  | 'ec-p256'
  | 'ec-p384'
  | 'ec-p521'
  | 'ed25519'
  | 'ml-dsa-44'
  | 'ml-dsa-65'
  | 'ml-dsa-87'
  | 'rsa';

/** The kinds of key that this program makes. */
export type KeyAlgorithm = 'ec-p256' | 'ec-p384' | 'ed25519' | 'ml-dsa-65';

/** One row of {@link KEY_ALGORITHMS}. */
export interface KeyAlgorithmRow {
  readonly algorithm: KeyAlgorithm;
  /** For people. */
  readonly label: string;
  /** The type of key in node:crypto, and the curve where that is one more word. */
  readonly nodeType: 'ec' | 'ed25519' | 'ml-dsa-65';
  readonly namedCurve?: string;
  /** The digest to sign with; null where the algorithm brings its own. */
  readonly hash: 'sha256' | 'sha384' | null;
  /** The AlgorithmIdentifier of its signatures, DER. */
  readonly signatureAlgorithm: Buffer;
  /** The one form of SubjectPublicKeyInfo: these bytes, then `keyBytes` bytes of key. */
  readonly spkiHeader: Buffer;
  readonly keyBytes: number;
  /** `alg` of JWS (RFC 7518). Undefined where JWT-SVID section 2.1 allows none. */
  readonly jwt: 'ES256' | 'ES384' | undefined;
}

/**
 * The SubjectPublicKeyInfo up to the bits of a key of this length; for elliptic curves with the point's first byte,
 * its form.
 */
function spkiHeader(algorithm: Buffer, keyBytes: number, form?: number): Buffer {
  const whole = sequence(algorithm, bitString(Buffer.alloc(keyBytes, form ?? 0)));
  return whole.subarray(0, whole.length - keyBytes + (form === undefined ? 0 : 1));
}

/** RFC 5480 section 2.2: an uncompressed point. */
const UNCOMPRESSED = 0x04;

/** Key types of authorities, SVIDs and requests: one row each. */
export const KEY_ALGORITHMS: Readonly<Record<KeyAlgorithm, KeyAlgorithmRow>> = {
  'ec-p256': {
    algorithm: 'ec-p256',
    label: 'ECDSA P-256',
    nodeType: 'ec',
    namedCurve: 'P-256',
    hash: 'sha256',
    signatureAlgorithm: sequence(oid(OID.ecdsaSha256)),
    spkiHeader: spkiHeader(sequence(oid(OID.ecPublicKey), oid(OID.p256)), 65, UNCOMPRESSED),
    keyBytes: 65,
    jwt: 'ES256',
  },
  'ec-p384': {
    algorithm: 'ec-p384',
    label: 'ECDSA P-384',
    nodeType: 'ec',
    namedCurve: 'P-384',
    hash: 'sha384',
    signatureAlgorithm: sequence(oid(OID.ecdsaSha384)),
    spkiHeader: spkiHeader(sequence(oid(OID.ecPublicKey), oid(OID.p384)), 97, UNCOMPRESSED),
    keyBytes: 97,
    jwt: 'ES384',
  },
  ed25519: {
    algorithm: 'ed25519',
    label: 'Ed25519',
    nodeType: 'ed25519',
    hash: null,
    signatureAlgorithm: sequence(oid(OID.ed25519)),
    spkiHeader: spkiHeader(sequence(oid(OID.ed25519)), 32),
    keyBytes: 32,
    jwt: undefined,
  },
  'ml-dsa-65': {
    algorithm: 'ml-dsa-65',
    label: 'ML-DSA-65',
    nodeType: 'ml-dsa-65',
    hash: null,
    signatureAlgorithm: sequence(oid(OID.mlDsa65)),
    spkiHeader: spkiHeader(sequence(oid(OID.mlDsa65)), 1952),
    keyBytes: 1952,
    jwt: undefined,
  },
};

/** One row of {@link SIGNATURE_ALGORITHMS}. */
export interface SignatureAlgorithmRow {
  /** For people. */
  readonly label: string;
  readonly hash: 'sha256' | 'sha384' | 'sha512' | null;
  /** The kinds of key that can have made such a signature. */
  readonly keys: readonly KeyKind[];
  /** Whether NULL may stand as the parameters: RFC 4055 wants it for RSA, the others want nothing. */
  readonly nullParameters: boolean;
}

const EC: readonly KeyKind[] = ['ec-p256', 'ec-p384', 'ec-p521'];
const RSA: readonly KeyKind[] = ['rsa'];

/**
 * Signatures that are accepted on certificates and CRLs, by {@link oidKey}: what is not here (MD5, SHA-1, DSA) is
 * refused. RSA is read, since SPIRE and public authorities may use it, and never made.
 */
export const SIGNATURE_ALGORITHMS: ReadonlyMap<OidKey, SignatureAlgorithmRow> = new Map(
  (
    [
      [OID.ecdsaSha256, 'ecdsa-with-SHA256', 'sha256', EC],
      [OID.ecdsaSha384, 'ecdsa-with-SHA384', 'sha384', EC],
      [OID.ecdsaSha512, 'ecdsa-with-SHA512', 'sha512', EC],
      [OID.rsaSha256, 'sha256WithRSAEncryption', 'sha256', RSA],
      [OID.rsaSha384, 'sha384WithRSAEncryption', 'sha384', RSA],
      [OID.rsaSha512, 'sha512WithRSAEncryption', 'sha512', RSA],
      [OID.ed25519, 'Ed25519', null, ['ed25519']],
      [OID.mlDsa44, 'ML-DSA-44', null, ['ml-dsa-44']],
      [OID.mlDsa65, 'ML-DSA-65', null, ['ml-dsa-65']],
      [OID.mlDsa87, 'ML-DSA-87', null, ['ml-dsa-87']],
    ] as const
  ).map(([dotted, label, hash, keys]) => [
    oidKey(encodeOid(dotted)),
    { label, hash, keys, nullParameters: keys === RSA },
  ]),
);
