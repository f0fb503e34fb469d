import { createHash, type KeyObject, sign, X509Certificate } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';
import type { RandomBytes } from '../keys/index.ts';
import { isSignature } from '../x509/request.ts';
import { type Certificate, parseCertificates } from '../x509/certificate.ts';
import { type Attested, type AttestContext, MAX_EVIDENCE_BYTES, type NodeAttestor } from './attestor.ts';
import { verifyClientChain } from './client-chain.ts';
import { type ClaimRules, compileClaimRules, type ClaimTexts } from './claim-rules.ts';

/** What a node's certificate must be. */
export interface X509PopOptions extends ClaimTexts {
  /** Certificates of the authorities that nodes' certificates come from. */
  readonly roots: readonly Certificate[];
  readonly random: RandomBytes;
}

/** What is signed begins with this, so that no signature made for anything else can pass, nor this one elsewhere. */
const CONTEXT = Buffer.from('interlock x509pop v1\0');
const NONCE_BYTES = 32;
const MAX_SIGNATURE_BYTES = 16 * 1024;

/**
 * Attests a node by a certificate it has from elsewhere: the chain must lead to one of the roots, and the node signs a
 * challenge, bound to the key it asks an SVID for, with the certificate's key.
 */
export class X509PopAttestor implements NodeAttestor {
  readonly name = 'x509pop';
  readonly #options: X509PopOptions;
  readonly #rules: ClaimRules;

  /** Throws `invalid_document` for expressions that are none. */
  constructor(options: X509PopOptions) {
    this.#options = options;
    this.#rules = compileClaimRules(options, 'x509pop', { name: 'claims.fingerprint', when: '' });
  }

  async attest(payload: Uint8Array, context: AttestContext): Promise<Attested> {
    if (payload.byteLength > MAX_EVIDENCE_BYTES)
      throw new InterlockError('limit', 'x509pop', `evidence has at most ${MAX_EVIDENCE_BYTES} bytes`);
    const chain = parseCertificates(payload);
    const [leaf] = chain;
    if (leaf === undefined) throw refused('no certificate was given');
    const root = await verifyClientChain(chain, this.#options.roots, context.now);
    const { name, claims } = this.#rules.apply(claimsOfCertificate(leaf), leaf.subject);
    const nonce = Buffer.from(this.#options.random(NONCE_BYTES));
    const answer = Buffer.from(await context.challenge(nonce));
    const signed = possessionBytes(nonce, context.csr);
    const isRight =
      answer.length <= MAX_SIGNATURE_BYTES &&
      (await isSignature(hashFor(leaf.publicKey()), signed, leaf.publicKey(), answer));
    if (!isRight) throw refused(`the answer is not signed by the key of "${leaf.subject}"`);
    return { name, selectors: selectorsOfCertificate(leaf, root), claims, reattestable: true };
  }
}

/** The agent's answer to a challenge: signed by the key of its certificate. `csr`: the request that it sent (DER). */
export function answerChallenge(key: KeyObject, challenge: Uint8Array, csr: Uint8Array): Buffer {
  return sign(hashFor(key), possessionBytes(challenge, csr), key);
}

function possessionBytes(challenge: Uint8Array, csr: Uint8Array): Buffer {
  return Buffer.concat([CONTEXT, createHash('sha256').update(csr).digest(), challenge]);
}

/** The digest by key, the same on both sides. */
function hashFor(key: KeyObject): 'sha256' | 'sha384' | null {
  if (key.asymmetricKeyType === 'rsa') return 'sha256';
  if (key.asymmetricKeyType !== 'ec') return null;
  return key.asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'sha256' : 'sha384';
}

/** What expressions see: `claims.subject.cn`, `claims.serial`, `claims.fingerprint`, `claims.dns`, `claims.uris`. */
function claimsOfCertificate(leaf: Certificate): Record<string, unknown> {
  return {
    fingerprint: fingerprint(leaf, 'sha256'),
    serial: leaf.serial,
    subject: subjectParts(leaf),
    issuer: leaf.issuer,
    dns: leaf.dnsNames,
    uris: leaf.uriNames,
  };
}

/** The attributes of the subject by their short names in lower case; one given several times is a list. */
function subjectParts(leaf: Certificate): Record<string, unknown> {
  // Typed as text, given as an object whose values are a text or a list of texts.
  const subject: unknown = new X509Certificate(leaf.der).toLegacyObject().subject;
  if (typeof subject !== 'object' || subject === null) return {};
  return Object.fromEntries(Object.entries(subject).map(([key, value]) => [key.toLowerCase(), value]));
}

/** SPIRE's forms (its x509pop plugin), with SHA-1 for fingerprints as there: they select, they prove nothing. */
function selectorsOfCertificate(leaf: Certificate, root: Certificate): string[] {
  const { cn } = subjectParts(leaf);
  return [
    ...(typeof cn === 'string' ? [`x509pop:subject:cn:${cn}`] : []),
    `x509pop:serialnumber:${leaf.serial}`,
    `x509pop:ca:fingerprint:${fingerprint(root, 'sha1')}`,
  ];
}

function fingerprint(certificate: Certificate, hash: 'sha1' | 'sha256'): string {
  return createHash(hash).update(certificate.der).digest('hex');
}

function refused(reason: string): InterlockError {
  return new InterlockError('untrusted', 'x509pop', `this certificate is not accepted: ${reason}`);
}
