import { type KeyObject, verify as verifyBytes } from 'node:crypto';
import { InterlockError, type SpiffeId } from '../../access/index.ts';
import {
  bitString,
  bufferOf,
  DerReader,
  element,
  encodeOid,
  integer,
  OID,
  octetString,
  oid,
  oidKey,
  sequence,
  set,
  TAG,
} from '../der/index.ts';
import {
  KEY_ALGORITHMS,
  type KeyAlgorithm,
  readPublicKey,
  type SignatureAlgorithmRow,
  signerOf,
} from '../keys/index.ts';
import { importSpki, readSignatureAlgorithm } from './certificate.ts';
import { type Extensions, generalNames } from './extensions.ts';
import { expectName } from './name.ts';

/** The largest request read: one for ML-DSA-65 has 5.5 KiB. */
export const MAX_REQUEST_BYTES: number = 32 * 1024;
/** Attributes, and extensions asked for, in one request. */
const MAX_ATTRIBUTES = 64;

/** A request for a certificate (PKCS#10, RFC 2986). Only its key counts here: what it asks to be named is no proof. */
export interface CertificateRequest {
  readonly der: Buffer;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Buffer;
  readonly algorithm: KeyAlgorithm;
  /** The names it asks for, to be shown; the issuer decides. */
  readonly uriNames: readonly string[];
  readonly dnsNames: readonly string[];
  /** What is signed, how, and the signature. */
  readonly info: Buffer;
  readonly signatureAlgorithm: SignatureAlgorithmRow;
  readonly signature: Buffer;
}

const EXTENSION_REQUEST = oidKey(encodeOid(OID.extensionRequest));
const SUBJECT_ALT_NAME = oidKey(encodeOid(OID.subjectAltName));
const NO_NAMES: Pick<Extensions, 'uriNames' | 'dnsNames'> = { uriNames: [], dnsNames: [] };

/** Reads a request. Throws `invalid_certificate`, also for a key that no certificate is issued for, or `limit`. */
export function parseRequest(der: Uint8Array): CertificateRequest {
  if (der.length > MAX_REQUEST_BYTES) {
    throw new InterlockError(
      'limit',
      'request',
      `a certificate request has more than ${MAX_REQUEST_BYTES} bytes`,
    );
  }
  const bytes = bufferOf(der);
  const reader = new DerReader(bytes, 'a certificate request');
  const outer = reader.enter(TAG.sequence);
  reader.finish();
  const inside = outer.enter(TAG.sequence);
  const info = outer.whole();
  if (inside.smallInteger() !== 0) throw reader.fault('its version is unknown');
  expectName(inside);
  const key = readPublicKey(inside);
  const names = readAttributes(inside.enter(0xa0));
  inside.finish();
  const [, , signatureAlgorithm] = readSignatureAlgorithm(outer);
  const signature = outer.bitString();
  outer.finish();
  const { spki, algorithm } = key;
  if (algorithm === undefined) {
    const labels = Object.values(KEY_ALGORITHMS).map(({ label }) => label);
    throw new InterlockError(
      'invalid_certificate',
      'request',
      `no certificate is issued for this kind of key; use one of ${labels.join(', ')}`,
    );
  }
  if (signatureAlgorithm === undefined || !signatureAlgorithm.keys.includes(algorithm)) {
    throw new InterlockError(
      'invalid_certificate',
      'request',
      'the request is not signed by an algorithm of its key',
    );
  }
  const { uriNames, dnsNames } = names;
  return { der: bytes, spki, algorithm, uriNames, dnsNames, info, signatureAlgorithm, signature };
}

/** The names among the extensions asked for (RFC 2985 section 5.4.2). Other attributes are none of ours. */
function readAttributes(attributes: DerReader): Pick<Extensions, 'uriNames' | 'dnsNames'> {
  let names = NO_NAMES;
  let count = 0;
  let asked = false;
  while (!attributes.done) {
    if (++count > MAX_ATTRIBUTES) throw attributes.fault(`it has more than ${MAX_ATTRIBUTES} attributes`);
    const attribute = attributes.enter(TAG.sequence);
    attribute.expect(TAG.oid);
    const key = oidKey(attribute.bytes, attribute.start, attribute.stop);
    const values = attribute.enter(TAG.set);
    attribute.finish();
    if (key !== EXTENSION_REQUEST) continue;
    if (asked) throw attributes.fault('it asks for extensions twice');
    asked = true;
    names = namesAskedFor(values.enter(TAG.sequence));
    values.finish();
  }
  return names;
}

function namesAskedFor(extensions: DerReader): Pick<Extensions, 'uriNames' | 'dnsNames'> {
  let names: Pick<Extensions, 'uriNames' | 'dnsNames'> | undefined;
  let count = 0;
  while (!extensions.done) {
    if (++count > MAX_ATTRIBUTES)
      throw extensions.fault(`it asks for more than ${MAX_ATTRIBUTES} extensions`);
    const extension = extensions.enter(TAG.sequence);
    extension.expect(TAG.oid);
    const key = oidKey(extension.bytes, extension.start, extension.stop);
    // Tools exist that write out the default here; nothing rests on it.
    if (extension.peek() === TAG.boolean) extension.boolean();
    const value = extension.enter(TAG.octetString);
    extension.finish();
    if (key !== SUBJECT_ALT_NAME) continue;
    if (names !== undefined) throw extensions.fault('it asks for alternative names twice');
    names = generalNames(value);
    value.finish();
  }
  return names ?? NO_NAMES;
}

/**
 * Proof of possession: the request is signed by the key it asks a certificate for. Checked in the thread pool, and
 * the first place where OpenSSL sees the key. Throws `invalid_certificate` for no key, `untrusted` for another's.
 */
export async function verifyRequest(request: CertificateRequest): Promise<void> {
  const key = importSpki(request.spki, 'a certificate request');
  const { hash } = request.signatureAlgorithm;
  if (await isSignature(hash, request.info, key, request.signature)) return;
  throw new InterlockError('untrusted', 'request', 'the request is not signed by the key that it names');
}

/** Whether a signature is of this key, found out in the thread pool. */
export function isSignature(
  hash: string | null,
  data: Buffer,
  key: KeyObject,
  signature: Buffer,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    verifyBytes(hash, data, key, signature, (error, ok) => (error === null ? resolve(ok) : reject(error)));
  });
}

/** What a request may ask for. */
export interface RequestOptions {
  readonly spiffeId?: SpiffeId;
  readonly dnsNames?: readonly string[];
}

/** A PKCS#10 request in DER, signed by this private key, with an empty subject. */
export function createRequest(privateKey: KeyObject, options: RequestOptions = {}): Buffer {
  const signer = signerOf(privateKey);
  const names = [
    ...(options.spiffeId === undefined ? [] : [element(0x86, Buffer.from(options.spiffeId, 'latin1'))]),
    ...(options.dnsNames ?? []).map((name) => element(0x82, Buffer.from(name, 'latin1'))),
  ];
  const asked = sequence(sequence(oid(OID.subjectAltName), octetString(sequence(...names))));
  const attributes = names.length === 0 ? [] : [sequence(oid(OID.extensionRequest), set(asked))];
  const info = sequence(integer(0), sequence(), signer.spki, element(0xa0, ...attributes));
  const { signatureAlgorithm } = KEY_ALGORITHMS[signer.algorithm];
  return sequence(info, signatureAlgorithm, bitString(signer.sign(info)));
}
