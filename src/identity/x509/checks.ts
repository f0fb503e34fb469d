import { parseSpiffeId, pathOf, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { OID } from '../der/index.ts';
import { keyIdOf } from '../keys/index.ts';
import { arePrefixesInside, isInside } from '../prefixes.ts';
import type { Certificate } from './certificate.ts';
import { KEY_USAGE } from './extensions.ts';
import { CertificateError, type X509Fault } from './fault.ts';
import { nameOutside } from './name-constraints.ts';

/** RSA keys shorter than this are weak (NIST SP 800-57 part 1), longer ones cost a verifier too much. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

const SIGNS_CERTIFICATES = KEY_USAGE.keyCertSign;
const SIGNS_ANYTHING_BUT_DATA = KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign;

/** What each certificate of a chain must be, whatever it is for. */
export function checkAny(certificate: Certificate, now: number): void {
  const { version, unknownCritical, keyKind, notBefore, notAfter } = certificate;
  if (version !== 3) throw fault('version', certificate, `is of version ${version}, not 3`);
  if (unknownCritical.length > 0)
    throw fault(
      'unknown_critical_extension',
      certificate,
      `has a critical extension that is not known here, ${clip(unknownCritical.join(', '))}`,
    );
  checkKey(certificate, keyKind);
  if (now < notBefore)
    throw fault(
      'not_yet_valid',
      certificate,
      `is valid only from ${instant(notBefore)}; it is ${instant(now)}`,
    );
  if (now > notAfter)
    throw fault('expired', certificate, `expired at ${instant(notAfter)}; it is ${instant(now)}`);
}

function checkKey(certificate: Certificate, keyKind: Certificate['keyKind']): void {
  if (keyKind === undefined) throw fault('weak_key', certificate, 'has a kind of key that is not accepted');
  const bits = certificate.modulusBits;
  if (bits !== undefined && (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS))
    throw fault(
      'weak_key',
      certificate,
      `has an RSA key of ${bits} bits; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} are accepted`,
    );
}

/** What X509-SVID.md asks of a workload's certificate; gives its ID. */
export function checkLeaf(leaf: Certificate): SpiffeId {
  if (leaf.isAuthority)
    throw fault('leaf_is_authority', leaf, "is an authority's certificate, not a workload's");
  const { keyUsage = 0, extendedKeyUsage } = leaf;
  if (!leaf.isKeyUsageCritical) throw fault('leaf_key_usage', leaf, 'has no critical keyUsage');
  if ((keyUsage & KEY_USAGE.digitalSignature) === 0)
    throw fault('leaf_key_usage', leaf, 'has a keyUsage without digitalSignature');
  if ((keyUsage & SIGNS_ANYTHING_BUT_DATA) !== 0)
    throw fault('leaf_key_usage', leaf, "has an authority's keyUsage");
  if (extendedKeyUsage !== undefined && !isForTls(extendedKeyUsage))
    throw fault('leaf_extended_key_usage', leaf, 'is not for both TLS servers and TLS clients');
  const spiffeId = onlyId(leaf);
  if (pathOf(spiffeId) === '')
    throw fault('spiffe_id_path', leaf, "has a trust domain's own ID, which no workload has");
  return spiffeId;
}

function isForTls(usages: readonly string[]): boolean {
  return usages.includes(OID.serverAuth) && usages.includes(OID.clientAuth);
}

/** X509-SVID.md section 2: exactly one URI, and it is the ID. */
function onlyId(certificate: Certificate): SpiffeId {
  const [uri, second] = certificate.uriNames;
  if (uri === undefined || second !== undefined)
    throw fault('one_uri', certificate, `has ${certificate.uriNames.length} URIs as names, not one`);
  try {
    return certificate.spiffeId ?? parseSpiffeId(uri);
  } catch (cause) {
    throw fault('spiffe_id', certificate, `has no SPIFFE ID: ${(cause as Error).message}`);
  }
}

/** Whether an authority stands in a trust bundle, or came with the chain: it is held to more then. */
export type Origin = 'bundle' | 'chain';

/** What an authority in the chain of `spiffeId` must be. `below`: authorities between it and the leaf. */
export function checkAuthority(
  authority: Certificate,
  origin: Origin,
  spiffeId: SpiffeId,
  below: readonly Certificate[],
): void {
  if (!authority.isAuthority) throw fault('not_an_authority', authority, "is no authority's certificate");
  checkAuthorityUsage(authority, origin);
  const { pathLength, uriNames } = authority;
  // Counts every authority, also one that names itself as its issuer: stricter than RFC 5280 section 6.1.4 (l).
  if (pathLength !== undefined && below.length > pathLength)
    throw fault(
      'path_length',
      authority,
      `allows ${pathLength} authorities below it; the chain has ${below.length}`,
    );
  if (uriNames.length > 0) checkAuthorityId(authority, origin, spiffeId);
}

function checkAuthorityUsage(authority: Certificate, origin: Origin): void {
  const { keyUsage, extendedKeyUsage } = authority;
  const isTrusted = origin === 'bundle';
  // A root of somebody's own may be older than the SPIFFE standards; what is between is an SVID.
  if (keyUsage === undefined ? !isTrusted : (keyUsage & SIGNS_CERTIFICATES) === 0)
    throw fault('not_an_authority', authority, 'has no keyUsage that lets it sign certificates');
  if (!isTrusted && !authority.isKeyUsageCritical)
    throw fault('not_an_authority', authority, 'has a keyUsage that is not critical');
  if (isTrusted || extendedKeyUsage === undefined) return;
  if (!isForTls(extendedKeyUsage) && !extendedKeyUsage.includes(OID.anyExtendedKeyUsage))
    throw fault('outside_issuer', authority, 'may issue only for other purposes than TLS');
}

/** X509-SVID.md section 3.2. An authority may have no ID; a root may be shared by several trust domains. */
function checkAuthorityId(authority: Certificate, origin: Origin, spiffeId: SpiffeId): void {
  const id = onlyId(authority);
  if (pathOf(id) !== '')
    throw fault('spiffe_id_path', authority, "is an authority's and has an ID with a path");
  if (origin === 'chain' && trustDomainOf(id) !== trustDomainOf(spiffeId))
    throw fault('trust_domain', authority, `is of another trust domain than ${spiffeId}`);
}

/** Path prefixes by hex key identifier, for authorities whose certificates do not carry them. */
export type Scopes = ReadonlyMap<string, readonly string[]>;

/** The limits of an authority: what its certificate says, and what the verifier's own map says. All of them hold. */
export function limitsOf(authority: Certificate, scopes: Scopes | undefined): (readonly string[])[] {
  const { prefixes, subjectKeyId } = authority;
  const limits = prefixes === undefined ? [] : [prefixes];
  if (scopes === undefined || scopes.size === 0) return limits;
  // An identifier in a certificate is its issuer's word; the one computed from the key cannot be chosen.
  for (const id of new Set([subjectKeyId ?? '', keyIdOf(authority.spki)])) {
    const scope = scopes.get(id);
    if (scope !== undefined) limits.push(scope);
  }
  return limits;
}

/** The leaf must lie inside every limit of the authority, and the authority below must not have wider ones. */
export function checkLimits(
  authority: Certificate,
  spiffeId: SpiffeId,
  below: readonly Certificate[],
  scopes: Scopes | undefined,
): void {
  const child = below.at(-1);
  for (const limit of limitsOf(authority, scopes)) {
    const text = limit.join(', ') || 'nothing';
    if (!isInside(spiffeId, limit))
      throw fault('outside_prefixes', authority, `may speak only for ${text}, not for ${spiffeId}`);
    if (child?.prefixes !== undefined && !arePrefixesInside(child.prefixes, limit))
      throw fault(
        'outside_issuer',
        child,
        `has path prefixes that its issuer, limited to ${text}, cannot give`,
      );
  }
}

/** Every certificate below an authority must have names that its nameConstraints allow. */
export function checkNames(authority: Certificate, chain: readonly Certificate[]): void {
  const { nameConstraints } = authority;
  if (nameConstraints === undefined) return;
  for (const certificate of chain) {
    const name = nameOutside(nameConstraints, certificate);
    if (name === undefined) continue;
    const whose = clip(authority.subject);
    throw fault('name_constraints', certificate, `has the name ${clip(name)}, which "${whose}" may not give`);
  }
}

/** The error for one certificate of a chain; `reason` goes on from its name. */
export function fault(name: X509Fault, certificate: Certificate, reason: string): CertificateError {
  const who = certificate.spiffeId ?? clip(certificate.subject === '' ? 'nobody' : certificate.subject);
  return new CertificateError(name, who, `the certificate of "${who}" is refused: it ${reason}`);
}

/** An outsider's text may be long. */
function clip(text: string): string {
  return text.length > 120 ? `${text.slice(0, 117)}...` : text;
}

function instant(ms: number): string {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : 'an unknown time';
}
