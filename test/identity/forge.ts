import { createPrivateKey, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSpiffeId } from '../../src/access/index.ts';
import {
  authorityTemplate,
  type Bundles,
  type Certificate,
  CertificateError,
  generateKey,
  issuerOf,
  leafTemplate,
  newSerial,
  parseCertificate,
  type Signer,
  signCertificate,
  signerOf,
} from '../../src/identity/index.ts';
import type { X509State, X509View } from '../../src/workload/index.ts';

const YEAR_MS = 365 * 86_400_000;

/** An authority whose key a thief has: its certificate, those above it without the root, and the key. */
export interface Stolen {
  readonly chain: readonly Certificate[];
  readonly signer: Signer;
}

/** The key of an authority as it lies in a control plane's state. */
export function stolenKey(state: string, keyId: string): Signer {
  return signerOf(createPrivateKey(readFileSync(join(state, 'keys', `${keyId}.pem`))));
}

/** When what is forged is valid; milliseconds since 1970. */
export interface Validity {
  readonly notBefore?: number;
  readonly notAfter?: number;
}

/** An identity as it is shown to a peer: the chain, and the key to the leaf. */
export type Forged = X509State['svid'];

/** A leaf signed by whoever has the key: neither the prefixes nor the end of the authority are asked. */
export function forgeLeaf({ chain, signer }: Stolen, id: string, validity: Validity = {}): Forged {
  const [authority, ...above] = chain;
  if (authority === undefined) throw new TypeError('nobody to sign');
  const spiffeId = parseSpiffeId(id);
  const key = generateKey('ec-p256');
  const template = leafTemplate({
    spiffeId,
    spki: signerOf(key).spki,
    ...times(validity),
    serial: newSerial(randomBytes),
    issuer: { ...issuerOf(authority), scopes: [], notAfter: Date.now() + YEAR_MS },
  });
  const leaf = parseCertificate(signCertificate({ ...template, ...times(validity) }, signer));
  const shown = [leaf, authority, ...above].filter((each) => !isRoot(each));
  return { spiffeId, chain: shown, key, expiresAt: leaf.notAfter, hint: '' };
}

/** An authority below the stolen one, with a key of the thief's. */
export function forgeAuthority(
  { chain, signer }: Stolen,
  prefixes: readonly string[] | undefined,
  validity: Validity = {},
): Stolen {
  const [authority, ...above] = chain;
  if (authority === undefined) throw new TypeError('nobody to sign');
  const own = signerOf(generateKey('ec-p256'));
  const issuer = { ...issuerOf(authority), scopes: [] };
  // Made as a root, so that nobody asks what the issuer may give.
  const template = authorityTemplate({
    trustDomain: 'example.org',
    spki: own.spki,
    ...times(validity),
    serial: newSerial(randomBytes),
    prefixes,
  });
  const signed = signCertificate({ ...template, issuerName: issuer.name, issuer }, signer);
  const certificate = parseCertificate(signed);
  return { chain: [certificate, authority, ...above], signer: own };
}

/** Why our verifier refuses, by its closed word; "none" where it does not. */
export function faultOf(verify: () => unknown): string {
  try {
    verify();
    return 'none';
  } catch (error) {
    if (error instanceof CertificateError) return error.fault;
    throw error;
  }
}

/** A source that shows a forged identity and trusts what it is told to. */
export function viewOf(svid: Forged, bundles: Bundles): X509View {
  return { state: { svid, svids: [svid], bundles, crls: [] }, onUpdate: () => () => {} };
}

function times({ notBefore, notAfter }: Validity): { notBefore: number; notAfter: number } {
  const whole = (ms: number) => ms - (ms % 1000);
  return {
    notBefore: whole(notBefore ?? Date.now() - 10_000),
    notAfter: whole(notAfter ?? Date.now() + 3_600_000),
  };
}

function isRoot({ subjectName, issuerName }: Certificate): boolean {
  return subjectName.equals(issuerName);
}
