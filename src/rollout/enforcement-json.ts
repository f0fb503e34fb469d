import { z } from 'zod';
import { InterlockError, parseSpiffeId } from '../access/index.ts';
import { type AccessPolicy, STAGES } from '../policy/index.ts';
import { AUTHENTICATION_STAGES, type Enforcement } from './enforcement.ts';

// Of the policies only the outer shape: `compile` checks them as it checks every document.
const policies = z.array(z.custom<AccessPolicy>((value) => typeof value === 'object' && value !== null));
// A newer control plane may say more than this program knows: unknown fields are passed over.
const schema = z.object({
  workload: z.string().transform((id) => parseSpiffeId(id)),
  authentication: z.enum(AUTHENTICATION_STAGES),
  stage: z.enum(STAGES),
  enforced: policies.exactOptional(),
  target: policies.exactOptional(),
  targetVersion: z.number().exactOptional(),
  released: z.object({ id: z.string(), until: z.number().exactOptional() }).exactOptional(),
});

/** Reads what `JSON.stringify` makes of an {@link Enforcement}. Throws `invalid_document` naming `from`. */
export function readEnforcement(json: Uint8Array | string, from: string): Enforcement {
  try {
    return schema.parse(JSON.parse(typeof json === 'string' ? json : new TextDecoder().decode(json)));
  } catch (cause) {
    throw new InterlockError('invalid_document', from, `the state of ${from} cannot be read`, { cause });
  }
}
