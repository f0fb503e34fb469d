import { Hono } from 'hono';
import { z } from 'zod';
import type { AdminEnv, AdminParts } from './parts.ts';
import { bodyOf } from './read-body.ts';

const share = z.number().min(0).max(1);
const name = z.string().min(1).max(253);

/** Moves of workloads from one authority to another. */
export function cutoverRoutes({ plane }: AdminParts): Hono<AdminEnv> {
  const { cutovers } = plane;
  const withProgress = async (id: string) => {
    const cutover = cutovers.list().find((each) => each.id === id);
    return cutover === undefined
      ? { id, state: 'undone' }
      : {
          ...cutover,
          fromTrustDomain: cutovers.places.domainOf(cutover.from),
          toTrustDomain: cutovers.places.domainOf(cutover.to),
          progress: await cutovers.progress(id),
        };
  };
  return new Hono<AdminEnv>()
    .get('/', async (context) =>
      context.json({ cutovers: await Promise.all(cutovers.list().map(({ id }) => withProgress(id))) }),
    )
    .post('/', async (context) => {
      const body = await bodyOf(context, z.strictObject({ id: name, from: name, to: name, share }));
      await cutovers.start(context.get('who'), body);
      return context.json(await withProgress(body.id));
    })
    .post('/:id/raise', async (context) => {
      const body = await bodyOf(context, z.strictObject({ share }));
      await cutovers.raise(context.get('who'), context.req.param('id'), body.share);
      return context.json(await withProgress(context.req.param('id')));
    })
    .post('/:id/:act{pause|resume|back|finish}', async (context) => {
      const body = await bodyOf(context, z.strictObject({ share: share.optional() }));
      const { id, act } = context.req.param();
      const who = context.get('who');
      if (act === 'pause') await cutovers.pause(who, id);
      else if (act === 'resume') await cutovers.resume(who, id, body.share);
      else if (act === 'back') await cutovers.back(who, id, body.share);
      else await cutovers.finish(who, id);
      return context.json(await withProgress(id));
    });
}
