import { useEffect, useRef } from 'react';
import { isTyping } from '../parts/typing.ts';

/** The keys of a review, for the list of keys. */
export const REVIEW_KEYS: readonly (readonly [string, string])[] = [
  ['j', 'The next one'],
  ['k', 'The one before'],
  ['x', 'Choose it, or not'],
  ['a', 'Approve what is chosen, or the one you are at'],
  ['A', 'Approve all that is ordinary'],
  ['r', 'Reject, with a reason'],
  ['d', 'Deny on purpose (questions)'],
  ['e', 'Edit the target'],
  ['c', 'Ask, or comment'],
  ['n', 'The next workload'],
  ['p', 'The workload before'],
];

/** How long the second key after "g" may take, milliseconds: as in the frame, whose keys these are. */
const SECOND_MS = 1500;

function isTaken(target: EventTarget | null): boolean {
  return isTyping(target) || (target instanceof Element && target.closest('[role="dialog"]') !== null);
}

/** Acts on single keys, but where somebody types, in a dialog, and after "g", which leads to another page. */
export function usePageKeys(keys: Readonly<Record<string, (() => void) | undefined>>): void {
  const latest = useRef(keys);
  useEffect(() => {
    latest.current = keys;
  });
  useEffect(() => {
    let since = Number.NEGATIVE_INFINITY;
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTaken(event.target)) return;
      const isSecond = event.timeStamp - since < SECOND_MS;
      since = !isSecond && event.key === 'g' ? event.timeStamp : Number.NEGATIVE_INFINITY;
      if (isSecond || !Object.hasOwn(latest.current, event.key)) return;
      const act = latest.current[event.key];
      if (act === undefined) return;
      // Else it is the first letter of what the key opens.
      event.preventDefault();
      act();
    };
    window.addEventListener('keydown', onKey);
    return () => window.removeEventListener('keydown', onKey);
  }, []);
}
