import { InterlockError } from '../../access/index.ts';
import type { OpenItem, ReviewDocument } from './document.ts';
import type { ReviewView } from './view.ts';

/** What is open in a review, as it is noted. */
export function openItems({ changes, questions }: ReviewView, at: number): OpenItem[] {
  return [
    ...changes.map(({ id, kind, doubt }) => ({
      id,
      kind,
      at,
      ...(doubt === undefined ? {} : { isDoubt: true as const }),
    })),
    ...questions.map(({ id }) => ({ id, kind: 'question' as const, at })),
  ];
}

/** How many there are of each kind. */
export function countKinds(items: readonly OpenItem[]): Record<OpenItem['kind'] | 'doubts', number> {
  const counts = { added: 0, widened: 0, removed: 0, question: 0, doubts: 0 };
  for (const { kind, isDoubt } of items) counts[isDoubt === true ? 'doubts' : kind]++;
  return counts;
}

/** Somebody was faster. */
export function changedMeanwhile({ workload, last }: ReviewDocument): InterlockError {
  const what = last === undefined ? 'its target is another one now' : `last, ${last.who} ${last.what}`;
  return new InterlockError('conflict', workload, `${workload} was changed meanwhile: ${what}. Look again`);
}
