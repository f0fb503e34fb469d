import {
  InterlockError,
  parseSpiffeId,
  parseTrustDomain,
  type SpiffeId,
  trustDomainOf,
} from '../../access/index.ts';

/** How a bundle endpoint is authenticated (SPIFFE_Federation.md section 5.2). */
export type FederationProfile =
  | { readonly name: 'https_web' }
  | { readonly name: 'https_spiffe'; readonly endpointSpiffeId: SpiffeId };

/** Where the bundle of another trust domain is fetched. Fetching says nothing of trust in the other direction. */
export interface FederationRelationship {
  /** The bare name of the trust domain that the bundle is of. */
  readonly trustDomain: string;
  /** An https URL without user name and password. */
  readonly endpointUrl: string;
  readonly profile: FederationProfile;
}

/** What may be written for a relationship; nothing of it is checked yet. */
export interface WrittenRelationship {
  readonly trustDomain: string;
  readonly endpointUrl: string;
  readonly profile: string;
  readonly endpointSpiffeId?: string | undefined;
}

const MAX_URL_LENGTH = 2048;

/**
 * Checks a relationship (SPIFFE_Federation.md sections 5.1, 5.2.1.1 and 5.2.2.1). `own` is the trust domain of this side,
 * which federates with others only. Throws `invalid_identity` or `invalid_document`.
 */
export function checkRelationship(written: WrittenRelationship, own: string): FederationRelationship {
  const trustDomain = parseTrustDomain(written.trustDomain);
  if (trustDomain === own) throw refused(trustDomain, 'a trust domain does not federate with itself');
  return { trustDomain, endpointUrl: checkUrl(written), profile: checkProfile(written) };
}

/** The trust domain whose bundle authenticates the endpoint, or undefined where public authorities do. */
export function endpointTrustDomain({ profile }: FederationRelationship): string | undefined {
  return profile.name === 'https_spiffe' ? trustDomainOf(profile.endpointSpiffeId) : undefined;
}

/** True where both say the same. */
export function sameRelationship(a: FederationRelationship, b: FederationRelationship): boolean {
  return JSON.stringify(written(a)) === JSON.stringify(written(b));
}

function written({ trustDomain, endpointUrl, profile }: FederationRelationship): unknown {
  const id = profile.name === 'https_spiffe' ? profile.endpointSpiffeId : undefined;
  return [trustDomain, endpointUrl, profile.name, id];
}

function checkUrl({ trustDomain, endpointUrl }: WrittenRelationship): string {
  const url =
    endpointUrl.length <= MAX_URL_LENGTH && URL.canParse(endpointUrl) ? new URL(endpointUrl) : undefined;
  if (url?.protocol !== 'https:') throw refused(trustDomain, 'its endpoint is not an https URL');
  if (url.username !== '' || url.password !== '') {
    // Not quoted: it may hold a password.
    throw refused(trustDomain, "its endpoint's URL must not hold a user name or password");
  }
  return url.href;
}

function checkProfile({ trustDomain, profile, endpointSpiffeId }: WrittenRelationship): FederationProfile {
  if (profile === 'https_web') {
    if (endpointSpiffeId === undefined) return { name: profile };
    throw refused(trustDomain, 'an https_web endpoint has no SPIFFE ID; did you mean https_spiffe?');
  }
  if (profile !== 'https_spiffe')
    throw refused(trustDomain, 'its profile is neither https_web nor https_spiffe');
  if (endpointSpiffeId === undefined) {
    throw refused(trustDomain, 'an https_spiffe endpoint needs the SPIFFE ID that it must prove');
  }
  return { name: profile, endpointSpiffeId: parseSpiffeId(endpointSpiffeId) };
}

function refused(trustDomain: string, reason: string): InterlockError {
  return new InterlockError('invalid_document', trustDomain, `federation with ${trustDomain}: ${reason}`);
}
