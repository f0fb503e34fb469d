import { Hono } from 'hono';
import { z } from 'zod';
import { formatBundle, pemOf } from '../../identity/index.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { queryOf } from './read-body.ts';

const range = z.strictObject({
  from: z.coerce.number().int().min(1).default(1),
  limit: z.coerce.number().int().min(1).max(10_000).default(1000),
});

/** The control plane itself: its state, its bundle, its audit log. */
export function logRoutes(parts: AdminParts): Hono<AdminEnv> {
  const { plane, version, startedAt, server, timers } = parts;
  const { registry, store, recorder } = plane;
  return new Hono<AdminEnv>()
    .get('/status', async (context) => {
      const counts = await recorder.within(store.liveCounts(timers.now()));
      return context.json({
        version,
        startedAt,
        trustDomain: registry.domain.trustDomain,
        port: server.port,
        agents: plane.agents.list().length,
        connected: server.service.connected().length,
        rules: registry.rules.current.value.rules.length,
        live: counts.reduce((sum, { count }) => sum + count, 0),
        revoked: registry.revoked.length,
      });
    })
    .get('/bundle', (context) => {
      const bundle = registry.ownBundle;
      return context.json({ document: formatBundle(bundle), pem: pemOf(bundle) });
    })
    .get('/audit', async (context) => {
      const { from, limit } = queryOf(context, range);
      return context.json({ entries: await recorder.within(store.audit(from, limit)) });
    })
    .get('/audit/verify', async (context) => {
      const { from } = queryOf(context, range);
      // Reading a long log takes its time: no limit on the wait.
      const fault = await store.verifyAudit(from);
      return context.json({ isWhole: fault === undefined, fault });
    });
}
