import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { IdLink, Mark } from '../parts/marks.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { actionText, verdictText } from '../parts/words.ts';

type Flip = Received<'flips.list'>['flips'][number];

const fromOf = ({ from }: Flip) => (from.kind === 'workload' ? from.id : `unauthenticated:${from.from}`);
const resultOf = ({ refused, after }: Flip) =>
  refused ? 'denied' : after.allowed ? 'would be allowed' : 'would be denied';

const COLUMNS: readonly Column<Flip>[] = [
  { key: 'from', head: 'Caller', value: fromOf, cell: (flip) => <IdLink id={fromOf(flip)} /> },
  {
    key: 'action',
    head: 'Action',
    value: ({ action }) => actionText(action),
    cell: ({ action }) => <code>{actionText(action)}</code>,
    isWide: true,
  },
  {
    key: 'result',
    head: 'Result',
    value: resultOf,
    cell: (flip) => (
      <Mark is={flip.refused ? 'denied' : flip.after.allowed ? 'allowed' : 'would-deny'}>
        {resultOf(flip)}
      </Mark>
    ),
  },
  { key: 'before', head: 'In force then', value: ({ before }) => verdictText(before) },
  { key: 'after', head: 'Target', value: ({ after }) => verdictText(after) },
  { key: 'count', head: 'Requests', value: ({ count }) => count, isNumber: true },
  {
    key: 'firstSeen',
    head: 'First',
    value: ({ firstSeen }) => firstSeen,
    isTime: true,
  },
  {
    key: 'lastSeen',
    head: 'Last',
    value: ({ lastSeen }) => lastSeen,
    isTime: true,
  },
];

/** What the target would change, as its proxies saw it. */
export function Flips({ workload }: { readonly workload: string }) {
  const flips = useQuery(read('flips.list', { query: { to: workload } }));
  return (
    <Loaded of={flips}>
      {(data) => (
        <>
          {data.flips.length === 0 ? null : (
            <div className="dim" style={{ marginBottom: 8 }}>
              Requests that proxies have denied, or that the target judges otherwise than what was in force
              then.
            </div>
          )}
          <DataTable
            name="flips"
            rows={data.flips}
            columns={COLUMNS}
            keyOf={(flip) =>
              `${fromOf(flip)} ${actionText(flip.action)} ${flip.refused} ${flip.after.allowed} ${flip.after.rule ?? ''} ${flip.targetVersion ?? ''}`
            }
            order={{ key: 'lastSeen', isDown: true }}
            empty={
              <Empty
                what="No flip: proxies saw no request whose verdict the target would change."
                todo="In shadow, each request is judged by today's set and by the target. Where they differ, it stands here."
              />
            }
          />
        </>
      )}
    </Loaded>
  );
}
