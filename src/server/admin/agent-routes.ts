import { Hono } from 'hono';
import { z } from 'zod';
import { parseSpiffeId } from '../../access/index.ts';
import { makeJoinToken } from '../identity/tokens.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf } from './read-body.ts';

const newToken = z.strictObject({
  agent: z.string().min(1).max(1024),
  ttlMs: z.int().default(600_000),
  attributes: z.record(z.string().max(256), z.json()).default({}),
});
const named = z.strictObject({
  id: z.string().max(2048),
  reason: z.string().max(200).default('unspecified'),
});

/** Node agents, and the tokens by which they join. */
export function agentRoutes({ plane, server, timers }: AdminParts): Hono<AdminEnv> {
  const { agents, authorities, recorder, registry, store } = plane;
  return new Hono<AdminEnv>()
    .get('/', (context) => {
      const connected = new Map(server.service.connected().map((agent) => [agent.id as string, agent]));
      return context.json({
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
            isConnected: now !== undefined,
            address: now?.address,
            version: now?.version,
            since: now?.since,
            confirmed: now?.confirmed,
          };
        }),
      });
    })
    .post('/tokens', async (context) => {
      const body = await bodyOf(context, newToken);
      return context.json(await makeJoinToken(context.get('who'), body, authorities, recorder, timers));
    })
    .get('/tokens', async (context) => {
      const tokens = await recorder.within(store.joinTokens());
      return context.json({
        tokens: tokens.map(({ agent, createdAt, expiresAt }) => ({ agent, createdAt, expiresAt })),
      });
    })
    .post('/evict', async (context) => {
      const { id, reason } = await bodyOf(context, named);
      return context.json({ revoked: await agents.evict(context.get('who'), parseSpiffeId(id), reason) });
    })
    .post('/forget', async (context) => {
      const { id } = await bodyOf(context, named);
      await agents.forget(context.get('who'), parseSpiffeId(id));
      return context.json({ forgotten: id });
    });
}
