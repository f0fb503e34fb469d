import { isInterlockError } from '../../access/index.ts';
import { assertNotRevoked } from '../../identity/index.ts';
import type { Joined } from './abroad.ts';
import type { Slot } from './slots.ts';

/** Why nobody accepts what an authority signs that a control plane abroad has certified; undefined where all do. */
export function abroadFault({ intermediates, root }: Slot, { bundle, crls }: Joined): string | undefined {
  if (!bundle.x509Authorities.some((der) => der.equals(root.der)))
    return `its root is not in the bundle of ${bundle.trustDomain} any more`;
  try {
    assertNotRevoked([...intermediates, root], crls);
    return undefined;
  } catch (error) {
    if (isInterlockError(error)) return error.message;
    throw error;
  }
}
