import type { Received } from '../../../src/api/index.ts';
import { IdLink, Mark, Stage } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';

export type Workload = Received<'workloads.list'>['workloads'][number];

const COLUMNS = ['none', 'draft', 'shadow', 'canary', 'enforced', 'released'] as const;
/** A column shows so many, those with something open first; the table has them all. */
const MOST = 100;

/** Where a workload stands. A release lies over its stage. */
export const columnOf = ({ released, stage }: Workload) =>
  released === undefined ? (stage ?? 'none') : 'released';

/** What is to be done about it first: somebody would be denied, then somebody is not authenticated, then the rest. */
export const urgencyOf = ({ flips, plaintext, doubts = 0, behind }: Workload) =>
  1e9 * flips + 1e6 * plaintext + doubts + behind;

/** A column for each stage. */
export function Board({
  workloads,
  isTall,
}: {
  readonly workloads: readonly Workload[];
  readonly isTall: boolean;
}) {
  const by = Map.groupBy(workloads, columnOf);
  return (
    <div className="board" role="region" aria-label="Board by stage" tabIndex={0}>
      {COLUMNS.map((column) => {
        const own = (by.get(column) ?? []).toSorted((a, b) => urgencyOf(b) - urgencyOf(a));
        return (
          <section
            key={column}
            aria-label={column === 'none' ? 'no policy' : column}
            tabIndex={0}
            style={isTall ? { maxHeight: 'calc(100vh - 130px)' } : {}}
          >
            <header>
              <h2>
                {column === 'released' ? (
                  <Mark is="denied">released</Mark>
                ) : (
                  <Stage stage={column === 'none' ? undefined : column} />
                )}
              </h2>
              <span className="dim">{own.length}</span>
            </header>
            <ul>
              {own.slice(0, MOST).map((workload) => (
                <li key={workload.id}>
                  <Card {...workload} />
                </li>
              ))}
            </ul>
            {own.length > MOST ? (
              <span className="dim">and {own.length - MOST} more in the table</span>
            ) : null}
          </section>
        );
      })}
    </div>
  );
}

function Card({ id, tier, share, stage, flips, doubts = 0, plaintext, hasOlderSet }: Workload) {
  return (
    <>
      <div className="row spread" style={{ flexWrap: 'nowrap' }}>
        <IdLink id={id} />
        <span className="dim">{stage === 'canary' ? `${Math.round((share ?? 0) * 100)} %` : ''}</span>
      </div>
      <div className="row" style={{ fontSize: 12, columnGap: 10, rowGap: 0 }}>
        {hasOlderSet ? <span>older policies still enforced</span> : null}
        {tier === 'standard' ? null : <span>{tier}</span>}
        {flips > 0 ? <Mark is="would-deny">{counted(flips, 'flip')}</Mark> : null}
        {doubts > 0 ? <span>{counted(doubts, 'doubt')}</span> : null}
        {plaintext > 0 ? <Mark is="plaintext">{plaintext} plain text</Mark> : null}
      </div>
    </>
  );
}
