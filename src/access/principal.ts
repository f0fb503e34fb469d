import { InterlockError } from './error.ts';
import { parseSpiffeId, type SpiffeId } from './spiffe-id.ts';

/**
 * Callers and callees that networks name without giving them an identity (Cilium's reserved identities), and
 * `unknown` where a recording does not say.
 */
export const ENTITIES = [
  'world',
  'host',
  'remote-node',
  'kube-apiserver',
  'ingress',
  'health',
  'init',
  'unmanaged',
  'unknown',
] as const;
export type Entity = (typeof ENTITIES)[number];

/**
 * Who acts, or is acted on. A workload has a SPIFFE ID; everything else is `unauthenticated`, with the address,
 * host name or {@link Entity} it is known by.
 */
export type Principal =
  | { readonly kind: 'workload'; readonly id: SpiffeId }
  | { readonly kind: 'unauthenticated'; readonly from: string };

const UNAUTHENTICATED = 'unauthenticated:';

/** The principal's one text form: the SPIFFE ID, or `unauthenticated:FROM`. Equal texts, equal principals. */
export function principalText(principal: Principal): string {
  return principal.kind === 'workload' ? principal.id : UNAUTHENTICATED + principal.from;
}

/** Reads the form that {@link principalText} writes. Throws `invalid_identity`. */
export function parsePrincipal(text: string): Principal {
  if (!text.startsWith(UNAUTHENTICATED)) return { kind: 'workload', id: parseSpiffeId(text) };
  const from = text.slice(UNAUTHENTICATED.length);
  if (from === '') {
    throw new InterlockError('invalid_identity', text, `"${text}" does not say where the caller came from`);
  }
  return { kind: 'unauthenticated', from };
}

/** True for a name in {@link ENTITIES}. */
export function isEntity(name: string): name is Entity {
  return (ENTITIES as readonly string[]).includes(name);
}
