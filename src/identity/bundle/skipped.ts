/**
 * Why an entry of a bundle's `keys` was left out. `foreign` entries are none of our business and the standard has us
 * ignore them; the others are faults of whoever published the bundle.
 */
export const SKIP_REASONS = {
  unknown_use: { foreign: true, says: 'its "use" is neither x509-svid nor jwt-svid' },
  unknown_key_type: { foreign: true, says: 'its key type is not one this program knows' },
  duplicate: { foreign: true, says: 'the same authority stands in the bundle already' },
  not_an_object: { foreign: false, says: 'it is not a JSON object' },
  key_id_set: { foreign: false, says: 'an x509-svid entry must not have a "kid"' },
  no_certificate: { foreign: false, says: 'its "x5c" does not hold exactly one certificate' },
  bad_certificate: { foreign: false, says: 'its "x5c" is not a certificate this program accepts' },
  not_an_authority: { foreign: false, says: 'its certificate is not one of a certificate authority' },
  key_differs: { foreign: false, says: 'its key is not the key of the certificate in its "x5c"' },
  no_key_id: { foreign: false, says: 'a jwt-svid entry needs a "kid" of 1 to 512 characters' },
  duplicate_key_id: { foreign: false, says: 'another key has the same "kid"' },
  private_key: { foreign: false, says: 'it holds a private key, which must be taken as stolen' },
  bad_key: { foreign: false, says: 'its key is malformed' },
  weak_key: { foreign: false, says: 'its RSA key is shorter than 2048 or longer than 8192 bits' },
  wrong_algorithm: { foreign: false, says: 'its "alg" is not one of JWT-SVID that fits its key' },
} as const;

export type SkipReason = keyof typeof SKIP_REASONS;

/** An entry of a bundle that was left out. */
export interface SkippedKey {
  /** Its place in `keys`, from 0. */
  readonly index: number;
  readonly reason: SkipReason;
}

/** One sentence about a skipped entry, for a log or a terminal. */
export function describeSkipped(skipped: SkippedKey): string {
  return `entry ${skipped.index + 1} was left out: ${SKIP_REASONS[skipped.reason].says}`;
}
