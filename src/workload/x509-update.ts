import { InterlockError, parseSpiffeId, trustDomainOf } from '../access/index.ts';
import {
  type Bundle,
  importPkcs8,
  parseCertificates,
  parseCrl,
  spkiOf,
  verifyX509Svid,
} from '../identity/index.ts';
import type { X509SVID, X509SVIDResponse } from '../proto/index.ts';
import { type OnFault, readX509Bundles, x509BundleOf } from './bundle-map.ts';
import type { X509State, X509Svid } from './x509-state.ts';

/** Most identities of one process that are read from one message. */
const MAX_SVIDS = 1_000;

/** Chooses the identity to act with among those given; the standard's default is the first. */
export type PickSvid = (svids: readonly X509Svid[]) => X509Svid | undefined;

/** What a message is read with. */
export interface UpdateOptions {
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly pick: PickSvid;
  readonly previous: X509State | undefined;
  /** Told about federated bundles that could not be read. */
  readonly onFault: OnFault;
}

/**
 * Reads a message of the Workload API and checks all of it: each key belongs to its certificate, each chain is valid
 * now by its own trust domain's bundle, and names the ID it was announced with. Throws where any of it is not so, since
 * a message is one state: half of it is none.
 */
export function readX509Update(response: X509SVIDResponse, options: UpdateOptions): X509State {
  const { previous, onFault } = options;
  if (response.svids.length === 0) {
    throw new InterlockError('not_found', 'X509-SVID', 'the Workload API sent an update without an identity');
  }
  if (response.svids.length > MAX_SVIDS) {
    throw new InterlockError(
      'limit',
      'X509-SVID',
      `the Workload API sent ${response.svids.length} identities; at most ${MAX_SVIDS} are read`,
    );
  }
  const bundles = readX509Bundles(response.federatedBundles, previous?.bundles, onFault);
  // A domain's own bundle comes with its SVIDs, and counts more than one under the same name among the federated.
  for (const own of ownBundles(response.svids)) bundles.set(own.trustDomain, own);
  const svids = response.svids.map((svid) => readSvid(svid, bundles, options.now));
  const crls = response.crl.map((der) => parseCrl(der));
  const svid = options.pick(svids);
  if (svid === undefined || !svids.includes(svid)) {
    const offered = svids
      .slice(0, 5)
      .map(({ spiffeId, hint }) => (hint ? `${spiffeId} (${hint})` : spiffeId));
    throw new InterlockError(
      'not_found',
      'X509-SVID',
      `none of the ${svids.length} identities offered is the one asked for: ${offered.join(', ')}`,
    );
  }
  return { svid, svids, bundles, crls };
}

function* ownBundles(svids: readonly X509SVID[]): Generator<Bundle> {
  for (const { spiffeId, bundle } of svids) {
    yield x509BundleOf(trustDomainOf(parseSpiffeId(spiffeId)), bundle);
  }
}

function readSvid(svid: X509SVID, bundles: ReadonlyMap<string, Bundle>, now: number): X509Svid {
  const spiffeId = parseSpiffeId(svid.spiffeId);
  const chain = parseCertificates(svid.x509Svid);
  const verified = verifyX509Svid(chain, { bundles, now });
  if (verified.spiffeId !== spiffeId) {
    throw new InterlockError(
      'invalid_certificate',
      spiffeId,
      `the certificate announced as ${spiffeId} names ${verified.spiffeId}`,
    );
  }
  const key = importPkcs8(svid.x509SvidKey);
  if (chain[0] === undefined || !spkiOf(key).equals(chain[0].spki)) {
    throw new InterlockError(
      'invalid_certificate',
      spiffeId,
      `the private key sent for ${spiffeId} is not the key of its certificate`,
    );
  }
  return { spiffeId, chain, key, expiresAt: verified.expiresAt, hint: svid.hint };
}
