import { InterlockError } from '../../access/index.ts';
import { type Bundle, formatBundle, joinBundles, MAX_BUNDLE_BYTES } from '../../identity/index.ts';

/** What one control plane abroad may bring into a bundle that every workload is given, and all of them together. */
const EACH = { keys: 64, bytes: 128 * 1024 };
const ALL = { keys: 256, bytes: 512 * 1024 };

type Limits = typeof EACH;

function isWithin(bundle: Bundle, { keys, bytes }: Limits): boolean {
  const count = bundle.x509Authorities.length + bundle.jwtAuthorities.length;
  return count <= keys && Buffer.byteLength(formatBundle(bundle)) <= bytes;
}

/** Throws `limit` where the bundle of a control plane abroad is so large that it could crowd out ours. */
export function assertModest(bundle: Bundle, from: string): void {
  if (isWithin(bundle, EACH)) return;
  throw new InterlockError(
    'limit',
    from,
    `the bundle of ${from} is too large: at most ${EACH.keys} keys and ${EACH.bytes} bytes are taken`,
  );
}

/** The authorities of the bundles, one after the other; what does not fit any more is left out. */
export function joinWithin(trustDomain: string, bundles: readonly Bundle[]): Bundle {
  let all = joinBundles(trustDomain, []);
  for (const bundle of bundles) {
    const more = joinBundles(trustDomain, [all, bundle]);
    if (isWithin(more, ALL)) all = more;
  }
  return all;
}

/** A bundle as it is kept. Throws `limit` for one that could not be read again: as it was written here it is longer. */
export function keptBundle(bundle: Bundle): string {
  const text = formatBundle(bundle);
  if (Buffer.byteLength(text) <= MAX_BUNDLE_BYTES) return text;
  throw new InterlockError(
    'limit',
    bundle.trustDomain,
    `the bundle of ${bundle.trustDomain} is larger than ${MAX_BUNDLE_BYTES} bytes`,
  );
}
