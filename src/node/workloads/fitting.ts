import { type Bundle, type Bundles, formatJwtBundle } from '../../identity/index.ts';

/** What the bundles in one answer may take in their largest form, bytes; a message has 4 MiB, and SVIDs and CRLs too. */
export const MAX_BUNDLES_BYTES: number = 3 * 1024 * 1024;

/** What bundles and revocation lists in one answer may take together, DER, bytes; the rest is for SVIDs. */
export const MAX_TRUST_BYTES: number = 3.5 * 1024 * 1024;

/**
 * Those of the lists, in their order, that fit beside the bundles: the control plane's own come first, then those that
 * other control planes made, which must not cost a workload its answer.
 */
export function fittingLists(lists: readonly Buffer[], bundles: Bundles): readonly Buffer[] {
  let left = MAX_TRUST_BYTES;
  for (const { x509Authorities } of bundles.values())
    for (const { length } of x509Authorities) left -= length;
  return lists.filter(({ length }) => {
    if (length > left) return false;
    left -= length;
    return true;
  });
}

/** Bundles that fit into one answer, and the trust domains of those that do not. */
export interface Fitting {
  readonly bundles: Bundles;
  readonly leftOut: readonly string[];
}

/**
 * Those that come first, always; then the others in the order of their names, as long as there is room. One more peer
 * with a huge bundle must not cost a workload its answer.
 */
export function fitting(bundles: Bundles, first: ReadonlySet<string>, most = MAX_BUNDLES_BYTES): Fitting {
  let size = 0;
  for (const [domain, bundle] of bundles) if (first.has(domain)) size += sizeOf(bundle);
  const leftOut = new Set<string>();
  for (const domain of [...bundles.keys()].filter((name) => !first.has(name)).sort()) {
    const bundle = bundles.get(domain);
    const more = bundle === undefined ? 0 : sizeOf(bundle);
    if (size + more <= most) size += more;
    else leftOut.add(domain);
  }
  if (leftOut.size === 0) return { bundles, leftOut: [] };
  return {
    bundles: new Map([...bundles].filter(([domain]) => !leftOut.has(domain))),
    leftOut: [...leftOut],
  };
}

const sizes = new WeakMap<Bundle, number>();

/** PEM, as SDS has it, or JWKS, whichever is more; worked out once for each bundle. */
function sizeOf(bundle: Bundle): number {
  let size = sizes.get(bundle);
  if (size === undefined) {
    const pem = bundle.x509Authorities.reduce((sum, { length }) => sum + Math.ceil(length * 1.36) + 64, 0);
    size = Math.max(pem, Buffer.byteLength(formatJwtBundle(bundle)));
    sizes.set(bundle, size);
  }
  return size;
}
