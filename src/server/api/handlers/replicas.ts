import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Which control planes there are. */
export function replicaHandlers({ plane }: ApiParts): Handlers<'replicas.list'> {
  return {
    'replicas.list': async () => {
      const rows = await plane.replicas.list();
      return {
        isShared: plane.isShared,
        replicas: rows.map(({ about, ...row }) => ({ ...row, ...about })),
      };
    },
  };
}
