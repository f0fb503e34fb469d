import { integer } from '../der/index.ts';
import { type Differences, makeAuthority, NOW, uris } from './craft.test-helper.ts';
import { CertificateError } from './fault.ts';
import { extension } from './sign.ts';
import { verifyX509Svid, type VerifyX509Options, type X509Bundles } from './verify.ts';

/** The root of example.org, a child and a grandchild of it. */
export const root = makeAuthority(undefined, { name: 'root' });
export const child = makeAuthority(root, { name: 'child' });
export const grandchild = makeAuthority(child, { name: 'grandchild' });
/** The bundle of that root. */
export const BUNDLES = bundleOf(root.der);

/** The bundle of example.org with these authorities. */
export function bundleOf(...authorities: readonly Buffer[]): X509Bundles {
  return new Map([['example.org', { x509Authorities: authorities }]]);
}

/** Verifies against that root at {@link NOW}. */
export function verify(chain: readonly Buffer[], options: Partial<VerifyX509Options> = {}) {
  return verifyX509Svid(chain, { bundles: BUNDLES, now: NOW, ...options });
}

/** The fault found, or "none". */
export function faultOf(work: () => unknown): string {
  try {
    work();
    return 'none';
  } catch (error) {
    if (error instanceof CertificateError) return error.fault;
    throw error;
  }
}

/** An unknown critical extension. */
export const unknownCritical = extension('2.5.29.54', true, integer(0));
/** A difference in the URIs. */
export const names = (...list: readonly string[]): Differences => ({ extensions: { names: uris(...list) } });
