import { InterlockError, parseSpiffeId, pathOf, type SpiffeId, trustDomainOf } from '../../access/index.ts';
import { type AgentAttributes, isInside, isReservedPath } from '../../identity/index.ts';
import type { ChildTokenRequest, SignedToken } from '../agents/desk.ts';
import { rightsOf } from './child-rights.ts';
import type { Issuing } from './issuing.ts';
import type { Registry } from './registry.ts';

/**
 * Has a JWT-SVID signed for a workload of a child authority: for IDs inside the prefixes that its rule gives, and those
 * of this control plane itself. A control plane that is limited as well passes it on, and its parent checks again.
 */
export async function signChildJwt(
  agent: AgentAttributes,
  { spiffeId: text, audience, ttl }: ChildTokenRequest,
  registry: Registry,
  issuing: Issuing,
): Promise<SignedToken> {
  const given = rightsOf(registry, agent);
  const { id } = agent.agent;
  const spiffeId = parseSpiffeId(text);
  const fault =
    faultOf(spiffeId, given.prefixes, registry.domain.trustDomain) ??
    faultOf(spiffeId, registry.domain.prefixes, registry.domain.trustDomain);
  if (fault !== undefined)
    throw new InterlockError('forbidden', id, `${id} may not speak for ${spiffeId}: ${fault}`);
  if (!(ttl > 0)) throw new InterlockError('usage', id, 'a JWT-SVID needs a life of at least a second');
  return issuing.jwt({
    spiffeId,
    audience,
    ttl: Math.min(ttl, given.jwtTtl),
    authority: given.authority,
    agent: id,
    rule: given.rule,
  });
}

/** Why a child that is limited to the prefixes may not have a token for the ID. */
function faultOf(
  spiffeId: SpiffeId,
  prefixes: readonly string[] | undefined,
  trustDomain: string,
): string | undefined {
  if (trustDomainOf(spiffeId) !== trustDomain) return `it is not of the trust domain ${trustDomain}`;
  if (pathOf(spiffeId) === '' || isReservedPath(pathOf(spiffeId))) return 'no workload has this ID';
  if (isInside(spiffeId, prefixes)) return undefined;
  return `it is outside ${prefixes?.join(', ') || 'every prefix, as its rule gives none'}`;
}
