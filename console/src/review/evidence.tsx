import { HeatStrip } from '../parts/heat-strip.tsx';
import { When } from '../parts/marks.tsx';
import { counted, number } from '../parts/words.ts';
import type { ReviewChange } from './items.ts';

/** What a change rests on: how often, since when, from where, and at which hours of the week. */
export function Evidence({ of }: { readonly of: ReviewChange['evidence'] }) {
  const { accesses, count, days, firstSeen, lastSeen, hoursOfWeek, instances, sources, declared } = of;
  const hours = hoursOfWeek.filter((n) => n > 0).length;
  if (count === 0)
    return (
      <div className="heat evidence">
        <span className="dim">Never seen</span>
        <Declared by={declared} />
      </div>
    );
  return (
    <div className="heat evidence">
      <div className="row figures">
        <strong>{counted(count, 'call')}</strong>
        {accesses > 1 ? <span>{number(accesses)} accesses</span> : null}
        <span>{counted(days, 'day')}</span>
        <Named names={instances} what="instance" />
        <span className="dim">{hours} of 168 hours</span>
      </div>
      <HeatStrip hours={hoursOfWeek} />
      <div className="row figures dim">
        <span>
          first <When at={firstSeen} />
        </span>
        <span>
          last <When at={lastSeen} />
        </span>
        <span className="break">by {sources.join(', ')}</span>
      </div>
      <Declared by={declared} />
    </div>
  );
}

function Declared({ by }: { readonly by: readonly string[] }) {
  if (by.length === 0) return null;
  const [first] = by;
  return (
    <div className="dim break" title={by.join('\n')}>
      declared: {first}
      {by.length > 1 ? ` and ${by.length - 1} more` : ''}
    </div>
  );
}

/** How many, and which ones on hover. */
function Named({ names, what }: { readonly names: readonly string[]; readonly what: string }) {
  const shown = names.slice(0, 30).join('\n');
  return <span title={shown}>{counted(names.length, what)}</span>;
}
