import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { abroadFault } from './abroad-fault.ts';
import type { ControlPlane } from './control-plane.ts';
import type { Slot } from './slots.ts';

/** How fast agents replace what nobody accepts any more, milliseconds. */
const AT_ONCE_MS = 2000;

/** Tells the agents here what follows from authorities that another control plane of the same state has changed. */
export function takenOver({ registry, link }: ControlPlane, before: readonly Slot[]): void {
  const known = new Map(before.map((slot) => [slot.id, slot]));
  for (const slot of registry.slots.current.value) {
    const was = known.get(slot.id);
    if (slot.taintedAt !== undefined && was?.taintedAt === undefined)
      link.replace({ authority: slot.id, overMs: slot.taintOverMs ?? AT_ONCE_MS });
    else if (slot.state === 'active') {
      const joined = registry.abroad.joined.get(slot.name);
      if (joined !== undefined && abroadFault(slot, joined) !== undefined)
        link.replace({ authority: slot.id, overMs: AT_ONCE_MS });
    }
    if (slot.unconfirmed === true && was?.state === 'prepared')
      for (const agent of link.behind(slot.publishedIn))
        link.disconnect(parseSpiffeId(agent), late(agent, slot));
  }
}

/** Why an agent has to attest anew that has not confirmed an authority which signs now. */
export function late(agent: string, { id }: Pick<Slot, 'id'>): InterlockError {
  return new InterlockError(
    'untrusted',
    agent,
    `${agent} has not confirmed authority ${id} in time: attest it anew`,
  );
}
