import type { IdentityStore } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';

/** The number of the last entry of the audit log, 0 of an empty one: entries have numbers without a gap. */
export async function auditEnd(
  store: Pick<IdentityStore, 'audit'>,
  recorder: Pick<Recorder, 'within'>,
): Promise<number> {
  const isThere = async (seq: number) => (await recorder.within(store.audit(seq, 1))).length > 0;
  let above = 1;
  while (await isThere(above)) above *= 2;
  let below = Math.floor(above / 2);
  while (above - below > 1) {
    const middle = Math.floor((above + below) / 2);
    if (await isThere(middle)) below = middle;
    else above = middle;
  }
  return below;
}
