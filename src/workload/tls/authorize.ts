import { parseSpiffeId, parseTrustDomain, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import type { VerifiedX509Svid } from '../../identity/index.ts';

/** Who may be at the other end, once it has proven who it is. */
export interface Authorizer {
  /** In words, for messages: "spiffe://example.org/db". */
  readonly expects: string;
  /** Exactly `true` lets the peer in: a promise, or any other value, does not. */
  allows(peer: VerifiedX509Svid): boolean;
}

/** Only this identity, or only these. Throws `invalid_identity` for what is none. */
export function authorizeId(...ids: readonly string[]): Authorizer {
  const allowed: ReadonlySet<SpiffeId> = new Set(ids.map((id) => parseSpiffeId(id)));
  return { expects: ids.join(' or '), allows: ({ spiffeId }) => allowed.has(spiffeId) };
}

/** Every identity of a trust domain. Throws `invalid_identity` for what is no trust domain's name. */
export function authorizeMemberOf(trustDomain: string): Authorizer {
  const name = parseTrustDomain(trustDomain);
  return {
    expects: `a member of ${name}`,
    allows: ({ spiffeId }) => trustDomainOf(spiffeId) === name,
  };
}

/** Every identity of every trust domain that the source trusts, federated ones included. */
export function authorizeAny(): Authorizer {
  return { expects: 'any trusted identity', allows: () => true };
}

/** Who a function of the program's own lets in; `expects` says in words who that is. */
export function authorizeWhere(expects: string, allows: (peer: VerifiedX509Svid) => boolean): Authorizer {
  return { expects, allows };
}
