import { InterlockError } from '../../../access/index.ts';
import type { Answer } from '../../../api/index.ts';
import { SealedVault } from '../../keys/sealed-vault.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** The keys that the keys of authorities are sealed with, and their change. */
export function keyHandlers({ plane }: Pick<ApiParts, 'plane'>): Handlers<'sealing.get' | 'sealing.reseal'> {
  const { keys, recorder, replicas } = plane;
  const shown = async (): Promise<Answer<'sealing.get'>> => {
    const { vault } = keys;
    if (!(vault instanceof SealedVault)) return { isSealed: false, keys: [], replicas: [], isDone: true };
    const { sealing, sealed } = await recorder.within(vault.sealed());
    const { ids } = vault.ring;
    const [wanted] = ids;
    const others = replicas.keysOfOthers();
    const held = new Set(ids);
    return {
      isSealed: true,
      ...(wanted === undefined ? {} : { wanted }),
      ...(sealing === undefined ? {} : { sealing }),
      keys: [...new Set([...ids, ...(sealing === undefined ? [] : [sealing]), ...sealed.keys()])].map(
        (id) => ({
          id: id === '' ? 'unknown' : id,
          seals: sealed.get(id) ?? 0,
          isHere: held.has(id),
        }),
      ),
      replicas: others,
      isDone:
        sealing === wanted &&
        [...sealed.keys()].every((id) => id === wanted) &&
        others.every(({ keys: theirs = [] }) => theirs.some((id) => id === wanted)),
    };
  };
  return {
    'sealing.get': shown,
    'sealing.reseal': async ({ who }) => {
      const { vault } = keys;
      if (!(vault instanceof SealedVault))
        throw new InterlockError(
          'conflict',
          'keys',
          'nothing is sealed here: keys are files of the state directory, for its owner alone',
        );
      const [{ id }] = vault.ring.reread();
      // One that has just come as well.
      await recorder.within(replicas.follow());
      refuseLacking(id, replicas.keysOfOthers(), vault.ring.file);
      await recorder.commit([], recorder.entry(who, 'keys.reseal', id));
      const resealed = await vault.reseal(id);
      await recorder.commit([], recorder.entry(who, 'keys.resealed', id, { keys: resealed }));
      return { ...(await shown()), resealed };
    },
  };
}

/** What one seals the others must open. */
function refuseLacking(
  id: string,
  others: ReturnType<ApiParts['plane']['replicas']['keysOfOthers']>,
  file: string,
): void {
  const lacking = others.filter(({ keys = [] }) => !keys.includes(id));
  if (lacking.length === 0) return;
  const names = lacking.map(({ id: replica, host }) =>
    host === undefined ? replica : `${host} (${replica})`,
  );
  throw new InterlockError(
    'conflict',
    id,
    `${names.join(', ')} ${lacking.length === 1 ? 'has' : 'have'} not got the key ${id}, the first in ${file} here: give every control plane the same file; it is read within some seconds`,
  );
}
