import { Hono } from 'hono';
import { z } from 'zod';
import { checkRelationship, parseBundle, type PeerStatus } from '../../identity/index.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf } from './read-body.ts';

const relationship = z.strictObject({
  trustDomain: z.string().max(255),
  endpointUrl: z.string().max(2048),
  profile: z.string().max(40),
  endpointSpiffeId: z.string().max(2048).optional(),
  /** The first bundle, for an https_spiffe endpoint of the peer itself. */
  bundle: z.string().max(1_100_000).optional(),
});

/** Trust domains that this one federates with. */
export function federationRoutes({ plane, federation }: AdminParts): Hono<AdminEnv> {
  return new Hono<AdminEnv>()
    .get('/', (context) =>
      context.json({
        peers: federation.status().map(peerJson),
        children: [...plane.children.owners].map(([trustDomain, agent]) => ({ trustDomain, agent })),
      }),
    )
    .put('/', async (context) => {
      const { bundle, ...written } = await bodyOf(context, relationship);
      const checked = checkRelationship(written, plane.registry.domain.trustDomain);
      const first = bundle === undefined ? undefined : parseBundle(bundle, checked.trustDomain);
      const peer = await federation.put(context.get('who'), checked, first);
      return context.json(peer === undefined ? {} : peerJson(peer));
    })
    .post('/:trustDomain/refresh', async (context) =>
      context.json(peerJson(await federation.refresh(context.req.param('trustDomain')))),
    )
    .delete('/:trustDomain', async (context) => {
      await federation.remove(context.get('who'), context.req.param('trustDomain'));
      return context.json({ removed: context.req.param('trustDomain') });
    });
}

/** How it stands with the bundle of a peer: one word. */
function stateOf({ fetchedAt, failures, isStale }: PeerStatus): string {
  if (failures > 0) return 'failing';
  if (fetchedAt === undefined) return 'not_fetched';
  return isStale ? 'stale' : 'fresh';
}

function peerJson(peer: PeerStatus) {
  const { bundle, relationship, ...state } = peer;
  const { endpointUrl, profile } = relationship;
  return {
    ...state,
    state: stateOf(peer),
    endpointUrl,
    profile: profile.name,
    endpointSpiffeId: profile.name === 'https_spiffe' ? profile.endpointSpiffeId : undefined,
    sequence: bundle?.sequence,
    authorities: bundle?.x509Authorities.length ?? 0,
  };
}
