import type { AgentHere } from '../../identity/replicas.ts';
import { makeJoinToken } from '../../identity/tokens.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Node agents, and the tokens by which they join. */
export function agentHandlers({
  plane,
  server,
  timers,
}: ApiParts): Handlers<
  'agents.list' | 'agents.evict' | 'agents.forget' | 'join-tokens.list' | 'join-tokens.make'
> {
  const { agents, authorities, recorder, registry, store } = plane;
  return {
    'agents.list': () => {
      const connected = new Map(server.service.connected().map((agent) => [agent.id as string, agent]));
      const elsewhere = new Map(plane.replicas.agents().map((agent) => [agent.id, agent]));
      return {
        versions: {
          bundles: registry.bundles.current.version,
          rules: registry.rules.current.version,
          revocations: registry.revocations.current.version,
        },
        agents: agents.list().map(({ id, attestor, attributes, serial, notAfter, attestedAt, banned }) => {
          const now = connected.get(id);
          return {
            id,
            attestor,
            attributes,
            serial,
            notAfter,
            attestedAt,
            isEvicted: banned,
            isConnected: now !== undefined || elsewhere.has(id),
            address: now?.address,
            version: now?.version,
            since: now?.since,
            confirmed: now?.confirmed ?? confirmedBy(elsewhere.get(id)),
          };
        }),
      };
    },
    'agents.evict': async ({ who, params: { agent }, body: { reason } }) => ({
      revoked: await agents.evict(who, agent, reason),
    }),
    'agents.forget': async ({ who, params: { agent } }) => {
      await agents.forget(who, agent);
      return { forgotten: agent };
    },
    'join-tokens.list': async () => {
      const tokens = await recorder.within(store.joinTokens());
      return { tokens: tokens.map(({ agent, createdAt, expiresAt }) => ({ agent, createdAt, expiresAt })) };
    },
    'join-tokens.make': ({ who, body }) => makeJoinToken(who, body, authorities, recorder, timers),
  };
}

/** What an agent has confirmed that is connected to another control plane of the same state. */
function confirmedBy(agent: AgentHere | undefined) {
  return agent && { bundles: agent.bundles, rules: agent.rules, revocations: agent.revocations };
}
