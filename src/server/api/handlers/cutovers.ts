import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Moves of workloads from one authority to another. */
export function cutoverHandlers({
  plane,
}: ApiParts): Handlers<
  | 'cutovers.list'
  | 'cutovers.start'
  | 'cutovers.raise'
  | 'cutovers.pause'
  | 'cutovers.resume'
  | 'cutovers.back'
  | 'cutovers.finish'
> {
  const { cutovers } = plane;
  const shown = async (id: string) => {
    const cutover = cutovers.list().find((each) => each.id === id);
    if (cutover === undefined) return { id, state: 'undone' as const };
    return {
      ...cutover,
      fromTrustDomain: cutovers.places.domainOf(cutover.from),
      toTrustDomain: cutovers.places.domainOf(cutover.to),
      progress: await cutovers.progress(id),
    };
  };
  return {
    'cutovers.list': async () => ({
      cutovers: await Promise.all(cutovers.list().map(({ id }) => shown(id))),
    }),
    'cutovers.start': async ({ who, body }) => {
      await cutovers.start(who, body);
      return shown(body.id);
    },
    'cutovers.raise': async ({ who, params: { id }, body }) => {
      await cutovers.raise(who, id, body.share);
      return shown(id);
    },
    'cutovers.pause': async ({ who, params: { id } }) => {
      await cutovers.pause(who, id);
      return shown(id);
    },
    'cutovers.resume': async ({ who, params: { id }, body }) => {
      await cutovers.resume(who, id, body.share);
      return shown(id);
    },
    'cutovers.back': async ({ who, params: { id }, body }) => {
      await cutovers.back(who, id, body.share);
      return shown(id);
    },
    'cutovers.finish': async ({ who, params: { id } }) => {
      await cutovers.finish(who, id);
      return shown(id);
    },
  };
}
