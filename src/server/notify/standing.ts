import { actionText, principalText } from '../../access/index.ts';
import type { SeenFlip } from '../../store/index.ts';
import type { Slot } from '../identity/slots.ts';
import { type Notice, plain } from './notice.ts';

/** A notice of something that is so for a while: it is told once for each key. */
export interface Standing {
  readonly key: string;
  readonly notice: Notice;
  /** No news where it is so already when people are told for the first time. */
  readonly isUsual?: true;
}

/** What is left of the life of an authority when people are told that none takes over: an eighth, and a 24th. */
const LEFT = [8, 24] as const;

/**
 * Authorities that sign and end soon. The next one takes over with a sixth of the life left: where less is left, none has. `isOffline`: a person has to sign the next one, and is told at half of the life.
 */
export function authoritiesEnding(
  slots: readonly Pick<Slot, 'id' | 'name' | 'state' | 'notBefore' | 'notAfter'>[],
  { now, isOffline }: { readonly now: number; readonly isOffline: boolean },
): Standing[] {
  const found: Standing[] = [];
  for (const { id, name, state, notBefore, notAfter } of slots) {
    if (state !== 'active') continue;
    const parts: readonly number[] = isOffline ? [2, ...LEFT] : LEFT;
    const part = parts.findLast((each) => now >= notAfter - (notAfter - notBefore) / each);
    if (part === undefined) continue;
    const end = new Date(notAfter).toISOString();
    const isOver = now >= notAfter;
    const todo = isOffline
      ? 'make a request with "interlock authority csr" and have it signed'
      : 'look why no other one takes over';
    found.push({
      key: `authority ${id} ${isOver ? 'over' : part}`,
      notice: {
        type: 'authority-expiring',
        at: now,
        subject: id,
        summary: `the authority ${id} ("${plain(name)}") ${isOver ? 'ended' : 'ends'} at ${end}: ${todo}`,
        details: { name: plain(name), notAfter },
        scope: { kind: 'all' },
      },
    });
  }
  return found;
}

/** What people are told of a flip. */
export function flipNotice(flip: SeenFlip, at: number): Notice {
  const { from, to, action, refused, after } = flip;
  const what = plain(`${principalText(from)} ${actionText(action)}`);
  const means = refused
    ? 'it is denied now'
    : after.allowed
      ? 'it is denied today, and the target would allow it'
      : 'it is allowed today, and the target would deny it';
  return {
    type: 'flip',
    at,
    subject: to,
    summary: `${what} on ${to}: ${means}`,
    details: {
      from: plain(principalText(from)),
      action: plain(actionText(action)),
      refused,
      count: flip.count,
    },
    scope: { kind: 'workload', workload: to },
  };
}
