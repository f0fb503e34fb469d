import { type AccessPolicy, exceptionsOf, policiesAt } from '../policy/index.ts';
import type { Losses } from './losses.ts';

/**
 * The policies as an engine carries them that knows no time: rules that are over at `at` are left out, the others are rendered
 * as if they had no end, which is wider from their end on. Without a time rules that have an end are left out.
 */
export function withoutEnds(
  policies: readonly AccessPolicy[],
  at: number | undefined,
  losses: Losses,
): readonly AccessPolicy[] {
  for (const { policy, rule, until, ends } of exceptionsOf(policies)) {
    const where = { policy, rule };
    if (at === undefined)
      losses.add('narrower', 'end', where, 'Rules that have an end are left out: no time was given.');
    else if (ends > at)
      losses.add(
        'wider',
        'end',
        where,
        `The rule ends ${until}, and the documents know no time: it allows until they are rendered and applied again after that.`,
      );
  }
  return policiesAt(policies, at ?? Number.POSITIVE_INFINITY);
}
