import type { Answer } from '../../../api/index.ts';
import { type AccessPolicy, type Exception, exceptionsOf } from '../../../policy/index.ts';
import { fromText } from '../../estate/index.ts';
import type { Handlers } from '../handler.ts';
import { sortedPageOf } from '../page.ts';
import type { ApiParts } from '../parts.ts';

type Shown = Answer<'exceptions.list'>['exceptions'][number];

/** Digits of the last millisecond that an end can be: ends in this many are in the order of their text. */
const DIGITS = 13;

/** Rules that end by themselves. */
export function exceptionHandlers({
  enforcing,
  reviews,
  timers,
}: Pick<ApiParts, 'enforcing' | 'reviews' | 'timers'>): Handlers<'exceptions.list'> {
  return {
    'exceptions.list': ({ query }) => {
      const now = timers.now();
      const all = [...enforcing.rollouts.all.values()].flatMap(({ workload, target, enforced = [] }) => {
        const found = shownOf(target, enforced, now);
        if (found.length === 0) return [];
        const owners = reviews.ownersOf(workload);
        return found.map((each) => ({ ...each, owners }));
      });
      const items = sortedPageOf(all, query, keyOf);
      return { exceptions: items.items, next: items.next };
    },
  };
}

function keyOf({ ends, workload, policy, rule, sets, until }: Shown): string {
  return `${String(ends).padStart(DIGITS, '0')} ${workload} ${policy} ${rule} ${sets[0]} ${until}`;
}

/** The exceptions of both sets; one that stands in both is one. */
function shownOf(
  target: readonly AccessPolicy[],
  enforced: readonly AccessPolicy[],
  now: number,
): Omit<Shown, 'owners'>[] {
  const sets = new Map<string, { readonly exception: Exception; readonly sets: ('target' | 'enforced')[] }>();
  for (const [set, policies] of [
    ['target', target],
    ['enforced', enforced],
  ] as const) {
    for (const exception of exceptionsOf(policies)) {
      const key = JSON.stringify(exception);
      const known = sets.get(key);
      if (known === undefined) sets.set(key, { exception, sets: [set] });
      else known.sets.push(set);
    }
  }
  return [...sets.values()].map(({ exception: { from, ends, ...rest }, sets: of }) => ({
    ...rest,
    from: from.map(fromText),
    ends,
    over: ends <= now,
    sets: of,
  }));
}
