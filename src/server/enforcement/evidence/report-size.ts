import type { Action } from '../../../access/index.ts';
import type { Reported, SeenFlip } from './intake.ts';

/** Characters of an entry's texts that count as one more entry. */
const ENTRY_TEXT = 500;

/** How much room a report takes, in entries: one whose texts are long counts for several. */
export function sizeOf({ accesses, flips, plaintext, unreached = [] }: Reported): number {
  let size = 1 + accesses.length + flips.length + plaintext.length + unreached.length;
  for (const { action, instance } of accesses) size += weightOf(textOf(action) + instance.length);
  for (const { action, before, after } of flips)
    size += weightOf(textOf(action) + namesOf(before) + namesOf(after));
  for (const { host, detail } of unreached) size += weightOf(host.length + detail.length);
  return size;
}

const weightOf = (characters: number) => Math.floor(characters / ENTRY_TEXT);

const namesOf = ({ policy = '', rule = '' }: SeenFlip['before']) => policy.length + rule.length;

function textOf(action: Action): number {
  if (action.kind === 'http') return action.method.length + action.path.length;
  return action.kind === 'grpc' ? action.service.length + action.method.length : 0;
}
