import type { Verdict } from '../policy/index.ts';

/**
 * Whether somebody has decided that an access is to be denied: a `deny` rule of the target says so by name. That nothing
 * allows it may be an oversight; this is none, so it holds no promotion up and takes no canary back.
 */
export function isDeniedOnPurpose({ after }: { readonly after: Verdict }): boolean {
  return after.decidedBy === 'deny';
}
