import { type KeyObject, randomBytes } from 'node:crypto';
import {
  InterlockError,
  isInterlockError,
  parseSpiffeId,
  type SpiffeId,
  trustDomainOf,
} from '../../access/index.ts';
import {
  AuthorityIssuer,
  type Certificate,
  createRequest,
  MAX_CHAIN,
  parseCertificate,
  signerOf,
  spkiOf,
  verifyX509Svid,
} from '../../identity/index.ts';
import type { ChildSvid } from './parent-client.ts';

/** How far the clock of another control plane may be ahead, and how long the proof lives; milliseconds. */
const AHEAD_MS = 5 * 60_000;
const PROOF_MS = 60_000;

/**
 * Throws `untrusted` unless verifiers that trust the root accept what the key signs under its new certificate. Another
 * control plane may send anything: what is wrong with it must show before workloads have identities of it.
 */
export async function assertSigns(
  key: KeyObject,
  { intermediates, root }: { readonly intermediates: readonly Certificate[]; readonly root: Certificate },
  now: number,
): Promise<void> {
  const [certificate = root] = intermediates;
  try {
    const id = parseSpiffeId(certificate.spiffeId ?? '');
    const at = Math.min(
      Math.max(now, ...[...intermediates, root].map(({ notBefore }) => notBefore)),
      now + AHEAD_MS,
    );
    const issuer = new AuthorityIssuer({
      chain: [certificate, ...intermediates.slice(1), root],
      signer: signerOf(key),
      trustDomain: trustDomainOf(id),
      random: randomBytes,
      now: () => at,
    });
    const path = `${certificate.prefixes?.[0] ?? '/'}proof`;
    const { chain } = await issuer.issueX509({
      csr: createRequest(key),
      spiffeId: parseSpiffeId(`${id}${path}`),
      ttl: PROOF_MS,
    });
    const bundles = new Map([[trustDomainOf(id), { x509Authorities: [root.der] }]]);
    verifyX509Svid(chain, { bundles, now: at });
  } catch (cause) {
    if (!isInterlockError(cause)) throw cause;
    throw new InterlockError(
      'untrusted',
      'parent',
      `nobody would accept what is signed with the certificate that the parent gave: ${cause.message}`,
      { cause },
    );
  }
}

/** The renewed SVID for another control plane. Throws `untrusted` where its chain is not one for this key and ID. */
export function checkedSvid(svid: ChildSvid, id: SpiffeId, now: number): ChildSvid {
  const refuse = (why: string, cause?: unknown) =>
    new InterlockError('untrusted', 'parent', `the parent renewed the SVID of ${id} with ${why}`, { cause });
  if (svid.chain.length > MAX_CHAIN) throw refuse(`${svid.chain.length} certificates`);
  let leaf: Certificate | undefined;
  try {
    [leaf] = svid.chain.map((der) => parseCertificate(der));
  } catch (cause) {
    if (!isInterlockError(cause)) throw cause;
    throw refuse('something that is no certificate', cause);
  }
  if (leaf?.spiffeId !== id || !leaf.spki.equals(spkiOf(svid.key)) || leaf.notAfter <= now)
    throw refuse('a certificate for another ID or key, or one that has ended');
  return svid;
}
