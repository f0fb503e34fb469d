import { checkRelationship, parseBundle, type PeerStatus } from '../../../identity/index.ts';
import { InterlockError, spiffeIdOf } from '../../../access/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Trust domains that this one federates with. */
export function federationHandlers({
  plane,
  federation,
}: ApiParts): Handlers<'federation.list' | 'federation.put' | 'federation.refresh' | 'federation.remove'> {
  return {
    'federation.list': () => ({
      peers: federation.status().map(peerJson),
      children: [...plane.children.owners].map(([trustDomain, agent]) => ({ trustDomain, agent })),
    }),
    'federation.put': async ({ who, body: { bundle, ...written } }) => {
      const checked = checkRelationship(written, plane.registry.domain.trustDomain);
      const first = bundle === undefined ? undefined : parseBundle(bundle, checked.trustDomain);
      const peer = await federation.put(who, checked, first);
      if (peer !== undefined) return peerJson(peer);
      throw new InterlockError(
        'conflict',
        checked.trustDomain,
        `${checked.trustDomain} was removed at the same moment`,
      );
    },
    'federation.refresh': async ({ params: { trustDomain } }) =>
      peerJson(await federation.refresh(trustDomain)),
    'federation.remove': async ({ who, params: { trustDomain } }) => {
      await federation.remove(who, trustDomain);
      return { removed: trustDomain };
    },
  };
}

/** How it stands with the bundle of a peer: one word. */
function stateOf({ fetchedAt, failures, isStale }: PeerStatus) {
  if (failures > 0) return 'failing' as const;
  if (fetchedAt === undefined) return 'not_fetched' as const;
  return isStale ? ('stale' as const) : ('fresh' as const);
}

function peerJson(peer: PeerStatus) {
  const { bundle, relationship, ...state } = peer;
  const { endpointUrl, profile } = relationship;
  return {
    ...state,
    state: stateOf(peer),
    endpointUrl,
    profile: profile.name,
    endpointSpiffeId: profile.name === 'https_spiffe' ? spiffeIdOf(profile.endpointSpiffeId) : undefined,
    sequence: bundle?.sequence,
    authorities: bundle?.x509Authorities.length ?? 0,
  };
}
