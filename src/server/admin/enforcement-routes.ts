import { Hono } from 'hono';
import { z } from 'zod';
import { parseSpiffeId } from '../../access/index.ts';
import { readPolicies, STAGES } from '../../policy/index.ts';
import { AUTHENTICATION_STAGES, type WorkloadRollout } from '../../rollout/index.ts';
import type { ChangeProgress } from '../enforcement/changes.ts';
import { preflightFacts } from '../enforcement/preflight-facts.ts';
import { releaseScopeSchema } from '../enforcement/releases.ts';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf, queryOf } from './read-body.ts';

/** Longest time that a caller may wait for confirmations in one call. */
const MAX_WAIT_MS = 30_000;
const workload = z
  .string()
  .max(2048)
  .transform((id) => parseSpiffeId(id));
const milliseconds = z.coerce.number().min(0);
const reason = z.string().trim().min(1).max(1000);

/** Policies, their rollouts, the points that enforce them, and the red button. */
export function enforcementRoutes({ enforcing, plane, timers }: AdminParts): Hono<AdminEnv> {
  const { rollouts, releases, points, changes, evidence, canaries } = enforcing;
  return new Hono<AdminEnv>()
    .get('/rollouts', (context) => context.json({ rollouts: [...rollouts.all.values()].map(shown) }))
    .get('/rollouts/one', (context) => {
      const query = queryOf(context, z.strictObject({ workload }));
      const rollout = rollouts.get(query.workload);
      return context.json({
        rollout,
        points: points.of(rollout.workload),
        ...(rollout.stage === 'canary' ? { next: canaries.next(rollout) } : {}),
      });
    })
    .post('/policies', async (context) => {
      const body = await bodyOf(
        context,
        z.strictObject({ yaml: z.string(), file: z.string().max(4096).optional() }),
      );
      const policies = readPolicies(body.yaml, body.file);
      const { done, change } = await enforcing.following(() => rollouts.apply(context.get('who'), policies));
      return context.json({ ...done, change });
    })
    .post('/policies/remove', async (context) => {
      const body = await bodyOf(context, z.strictObject({ workload, policy: z.string().max(253) }));
      const { done, change } = await enforcing.following(() =>
        rollouts.remove(context.get('who'), body.workload, body.policy),
      );
      return context.json({ rollout: shown(done), change });
    })
    .post('/rollouts/move', async (context) => {
      const body = await bodyOf(
        context,
        z.strictObject({
          workload,
          to: z.enum(STAGES),
          share: z.number().optional(),
          why: reason.optional(),
        }),
      );
      const { workload: id, to, ...order } = body;
      const { done, change } = await enforcing.following(() =>
        rollouts.move(context.get('who'), id, to, order),
      );
      return context.json({ rollout: shown(done), change });
    })
    .post('/rollouts/authentication', async (context) => {
      const body = await bodyOf(context, z.strictObject({ workload, stage: z.enum(AUTHENTICATION_STAGES) }));
      const { done, change } = await enforcing.following(() =>
        rollouts.authenticate(context.get('who'), body.workload, body.stage),
      );
      return context.json({ rollout: shown(done), change });
    })
    .get('/releases', (context) => context.json({ releases: releases.inForce, drills: releases.drills }))
    .post('/releases', async (context) => {
      const body = await bodyOf(
        context,
        z.strictObject({ scope: releaseScopeSchema, reason, forMs: z.number().min(1000).optional() }),
      );
      const { done, change } = await enforcing.following(() => releases.press(context.get('who'), body));
      return context.json({ release: done, change });
    })
    .post('/releases/arm', async (context) => {
      const body = await bodyOf(context, z.strictObject({ id: z.string().max(64).optional() }));
      const { done, change } = await enforcing.following(() => releases.arm(context.get('who'), body.id));
      return context.json({ ended: done, change });
    })
    .post('/releases/drill', async (context) => {
      const body = await bodyOf(
        context,
        z.strictObject({ waitMs: z.number().min(0).max(MAX_WAIT_MS).optional() }),
      );
      return context.json(shownProgress(await enforcing.drill(context.get('who'), body.waitMs ?? 10_000)));
    })
    .get('/changes/:id', async (context) => {
      const query = queryOf(
        context,
        z.strictObject({ known: milliseconds.optional(), waitMs: milliseconds.optional() }),
      );
      const { known = 0, waitMs = 0 } = query;
      return context.json(
        shownProgress(await changes.wait(context.req.param('id'), known, Math.min(waitMs, MAX_WAIT_MS))),
      );
    })
    .get('/preflight', async (context) => {
      const query = queryOf(context, z.strictObject({ workload }));
      return context.json(await preflightFacts(enforcing, plane, timers, query.workload));
    })
    .get('/proxies', (context) => context.json({ proxies: [...enforcing.documents.all.values()] }))
    .post('/proxies', async (context) => {
      const body = await bodyOf(
        context,
        z.strictObject({ yaml: z.string(), file: z.string().max(4096).default('the document') }),
      );
      const { done, change } = await enforcing.following(() =>
        enforcing.documents.apply(context.get('who'), body.yaml, body.file),
      );
      return context.json({ workload: done.workload, change });
    })
    .post('/proxies/remove', async (context) => {
      const body = await bodyOf(context, z.strictObject({ workload }));
      await enforcing.documents.remove(context.get('who'), body.workload);
      return context.json({ removed: body.workload });
    })
    .get('/points', (context) => context.json({ points: [...points.all] }))
    .get('/flips', (context) => {
      const { to, since } = queryOf(
        context,
        z.strictObject({ to: workload.optional(), since: milliseconds.optional() }),
      );
      const filter = { ...(to === undefined ? {} : { to }), ...(since === undefined ? {} : { since }) };
      return context.json({ flips: evidence.flips(filter) });
    });
}

/** A rollout as lists show it: its policies by name. */
function shown({ target, enforced, ...rest }: WorkloadRollout) {
  const names = (policies: WorkloadRollout['target']) => policies.map(({ metadata }) => metadata.name);
  return { ...rest, target: names(target), ...(enforced === undefined ? {} : { enforced: names(enforced) }) };
}

function shownProgress({ confirmed, waiting, ...rest }: ChangeProgress) {
  const named = ({ key, identity, instance, connected, fault }: (typeof waiting)[number]['point']) => ({
    key,
    identity,
    instance,
    connected,
    ...(fault === undefined ? {} : { fault }),
  });
  return {
    ...rest,
    confirmed: confirmed.map(({ point, ms }) => ({ ...named(point), ms })),
    waiting: waiting.map(({ point }) => named(point)),
  };
}
