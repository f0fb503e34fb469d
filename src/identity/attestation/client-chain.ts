import { InterlockError } from '../../access/index.ts';
import type { Certificate } from '../x509/certificate.ts';
import { KEY_USAGE } from '../x509/extensions.ts';
import { isSignature } from '../x509/request.ts';

/** Certificates in one chain, the leaf among them. */
const MAX_CHAIN = 8;
/** RSA keys below this are broken within reach (NIST SP 800-131A). */
const LEAST_RSA_BITS = 2048;
/** RFC 5280 section 4.2.1.12: id-kp-clientAuth, and anyExtendedKeyUsage. */
const CLIENT_AUTH: ReadonlySet<string> = new Set(['1.3.6.1.5.5.7.3.2', '2.5.29.37.0']);

/**
 * The root that a chain of any public-key infrastructure (not of SVIDs) leads to, checked after RFC 5280 section 6: times,
 * names, signatures, who may sign, path lengths, no critical extension that is not understood. Throws `untrusted`.
 */
export async function verifyClientChain(
  chain: readonly Certificate[],
  roots: readonly Certificate[],
  now: number,
): Promise<Certificate> {
  const [leaf, ...intermediates] = chain;
  if (leaf === undefined) throw refused('', 'no certificate was given');
  if (chain.length > MAX_CHAIN)
    throw refused(leaf.subject, `its chain has more than ${MAX_CHAIN} certificates`);
  checkAny(leaf, now);
  checkLeaf(leaf);
  let below = leaf;
  // Authorities passed so far that count against a path length: those that did not issue themselves.
  let passed = 0;
  const left = [...intermediates];
  for (;;) {
    const root = await issuerAmong(below, roots);
    if (root !== undefined) {
      checkIssuer(root, passed, now);
      return root;
    }
    const issuer = await issuerAmong(below, left);
    if (issuer === undefined) throw refused(leaf.subject, 'its chain leads to none of the roots given');
    checkIssuer(issuer, passed, now);
    left.splice(left.indexOf(issuer), 1);
    if (!issuer.subjectName.equals(issuer.issuerName)) passed++;
    below = issuer;
  }
}

async function issuerAmong(
  below: Certificate,
  candidates: readonly Certificate[],
): Promise<Certificate | undefined> {
  const { signatureAlgorithm: how } = below;
  for (const candidate of candidates) {
    if (!candidate.subjectName.equals(below.issuerName)) continue;
    if (how === undefined || candidate.keyKind === undefined || !how.keys.includes(candidate.keyKind))
      continue;
    if (await isSignature(how.hash, below.tbs, candidate.publicKey(), below.signature)) return candidate;
  }
  return undefined;
}

function checkAny(certificate: Certificate, now: number): void {
  const { subject, notBefore, notAfter, version, unknownCritical } = certificate;
  if (version !== 3) throw refused(subject, 'it is not of version 3');
  if (now < notBefore) throw refused(subject, `it is valid only from ${new Date(notBefore).toISOString()}`);
  if (now > notAfter) throw refused(subject, `it expired at ${new Date(notAfter).toISOString()}`);
  if (unknownCritical.length > 0)
    throw refused(
      subject,
      `it has a critical extension that is not known here, ${unknownCritical.join(', ')}`,
    );
  if (certificate.keyKind === undefined || (certificate.modulusBits ?? LEAST_RSA_BITS) < LEAST_RSA_BITS)
    throw refused(subject, 'its key is too weak, or of a kind that is not accepted');
}

function checkLeaf({ subject, isAuthority, keyUsage, extendedKeyUsage }: Certificate): void {
  if (isAuthority) throw refused(subject, 'it is an authority');
  if (keyUsage !== undefined && (keyUsage & KEY_USAGE.digitalSignature) === 0)
    throw refused(subject, 'its key is not for signatures');
  if (extendedKeyUsage !== undefined && !extendedKeyUsage.some((usage) => CLIENT_AUTH.has(usage)))
    throw refused(subject, 'its key is not for clients');
}

function checkIssuer(issuer: Certificate, passed: number, now: number): void {
  checkAny(issuer, now);
  if (!issuer.isAuthority) throw refused(issuer.subject, 'it issued a certificate and is no authority');
  if (issuer.keyUsage !== undefined && (issuer.keyUsage & KEY_USAGE.keyCertSign) === 0)
    throw refused(issuer.subject, 'its key is not for signing certificates');
  if (issuer.pathLength !== undefined && passed > issuer.pathLength)
    throw refused(issuer.subject, `more than ${issuer.pathLength} authorities stand below it`);
}

function refused(subject: string, reason: string): InterlockError {
  const named = subject === '' ? 'this certificate' : `the certificate "${subject.slice(0, 120)}"`;
  return new InterlockError('untrusted', 'x509pop', `${named} is not accepted: ${reason}`);
}
