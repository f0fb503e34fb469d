import { InterlockError, parseTrustDomain } from '../access/index.ts';
import { type Bundle, type Bundles, parseCertificates, parseJwtBundle } from '../identity/index.ts';

/** Most trust domains in one message: far beyond any federation, and short of what would stall a process. */
const MAX_TRUST_DOMAINS = 1_000;

/** Told about each trust domain whose bundle could not be read. */
export type OnFault = (error: InterlockError) => void;

/** The bare name in a key of the Workload API's maps: `spiffe://example.org`, or as some servers send it, `example.org`. */
export function trustDomainOfKey(key: string): string {
  return parseTrustDomain(
    key.startsWith('spiffe://') ? key.slice('spiffe://'.length).replace(/\/$/, '') : key,
  );
}

/** A bundle from the concatenated DER certificates of the Workload API. Nothing in it: trust is withdrawn. */
export function x509BundleOf(trustDomain: string, der: Uint8Array): Bundle {
  const certificates = der.length === 0 ? [] : parseCertificates(der);
  return {
    trustDomain,
    x509Authorities: certificates.map((certificate) => certificate.der),
    jwtAuthorities: [],
  };
}

/** As {@link readBundles}, from the X.509 maps of the Workload API. */
export function readX509Bundles(
  map: Readonly<Record<string, Uint8Array>>,
  previous: Bundles | undefined,
  onFault: OnFault,
): Map<string, Bundle> {
  return readBundles(map, x509BundleOf, previous, onFault);
}

/** As {@link readBundles}, from the JWT map of the Workload API. */
export function readJwtBundles(
  map: Readonly<Record<string, Uint8Array>>,
  previous: Bundles | undefined,
  onFault: OnFault,
): Map<string, Bundle> {
  const read = (trustDomain: string, json: Uint8Array) => parseJwtBundle(json, trustDomain);
  return readBundles(map, read, previous, onFault);
}

/**
 * One bundle a trust domain. A bundle that cannot be read leaves that domain as it was in `previous` and is told to
 * `onFault`: one broken federation never takes the others along. Throws `limit`.
 */
function readBundles(
  map: Readonly<Record<string, Uint8Array>>,
  read: (trustDomain: string, bytes: Uint8Array) => Bundle,
  previous: Bundles | undefined,
  onFault: OnFault,
): Map<string, Bundle> {
  const entries = Object.entries(map);
  if (entries.length > MAX_TRUST_DOMAINS) {
    throw new InterlockError(
      'limit',
      'bundles',
      `the Workload API sent ${entries.length} bundles; at most ${MAX_TRUST_DOMAINS} are read`,
    );
  }
  const bundles = new Map<string, Bundle>();
  for (const [key, bytes] of entries) {
    let trustDomain: string | undefined;
    try {
      trustDomain = trustDomainOfKey(key);
      bundles.set(trustDomain, read(trustDomain, bytes));
    } catch (error) {
      if (!(error instanceof InterlockError)) throw error;
      const before = trustDomain === undefined ? undefined : previous?.get(trustDomain);
      if (before !== undefined) bundles.set(before.trustDomain, before);
      onFault(error);
    }
  }
  return bundles;
}
