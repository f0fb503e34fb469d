import { Select } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Ends, type EndsOf, useEnds } from '../parts/ends.tsx';
import { AccessState, IdLink, Mark } from '../parts/marks.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { exactTime, number, verdictText } from '../parts/words.ts';

type Access = Received<'accesses.list'>['accesses'][number];

const columns = (end: 'from' | 'to', endsOf: EndsOf): readonly Column<Access>[] => [
  {
    key: 'other',
    head: end === 'from' ? 'Caller' : 'Callee',
    value: (row) => row[end],
    cell: (row) => <IdLink id={row[end]} />,
  },
  {
    key: 'action',
    head: 'Action',
    value: ({ text }) => text,
    cell: ({ text }) => <code>{text}</code>,
    isWide: true,
  },
  {
    key: 'state',
    head: 'State',
    value: ({ state }) => state,
    cell: ({ state }) => <AccessState state={state} />,
  },
  {
    key: 'target',
    head: 'By the target',
    value: ({ to, target }) => {
      const exception = endsOf(to, target);
      const until = exception === undefined ? '' : `, until ${exactTime(exception.ends)}`;
      return target === undefined ? '' : `${verdictText(target)}${until}`;
    },
    cell: ({ to, target }) => {
      const exception = endsOf(to, target);
      return (
        <>
          {target === undefined ? '' : verdictText(target)}
          {exception === undefined ? null : (
            <div>
              <Ends at={exception.ends} reason={exception.reason} />
            </div>
          )}
        </>
      );
    },
  },
  {
    key: 'authentication',
    head: 'Authenticated',
    value: ({ authentication }) => authentication,
    cell: ({ authentication }) =>
      authentication === 'plaintext' ? (
        <Mark is="plaintext">plain text</Mark>
      ) : authentication === 'mutual' ? (
        'both ends'
      ) : (
        <span className="dim">not known</span>
      ),
  },
  {
    key: 'views',
    head: 'Views',
    value: ({ views }) => views.join(', '),
    cell: ({ views }) => <Views views={views} />,
  },
  {
    key: 'count',
    head: 'Calls',
    value: ({ count }) => count,
    cell: ({ count }) => number(count),
    isNumber: true,
  },
  { key: 'days', head: 'Days', value: ({ days }) => days, isNumber: true },
  { key: 'instances', head: 'Instances', value: ({ instances }) => instances.length, isNumber: true },
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

const VIEWS = ['possible', 'declared', 'observed', 'authorized'] as const;

/** The views that have it, each by its first letter in a place of its own. */
function Views({ views }: Pick<Access, 'views'>) {
  return (
    <code title={views.join(', ')} aria-label={views.join(', ')} role="img">
      {VIEWS.map((view) => (views.includes(view) ? view[0]?.toUpperCase() : '·')).join('')}
    </code>
  );
}

/** Every access to or from a workload, with its evidence. */
export function Accesses({ workload }: { readonly workload: string }) {
  const [end, setEnd] = useState<'from' | 'to'>('from');
  const filter = end === 'from' ? { to: workload } : { from: workload };
  const endsOf = useEnds();
  const accesses = useQuery(read('accesses.list', { query: { ...filter, limit: 10_000 } }));
  return (
    <Loaded of={accesses}>
      {(data) => (
        <>
          <DataTable
            name={`accesses-${end}`}
            rows={data.accesses}
            columns={columns(end, endsOf)}
            keyOf={({ id }) => id}
            order={{ key: 'count', isDown: true }}
          >
            <Select
              size="xs"
              w={130}
              aria-label="Direction"
              value={end}
              onChange={(value) => setEnd(value === 'to' ? 'to' : 'from')}
              data={[
                { value: 'from', label: 'to it' },
                { value: 'to', label: 'by it' },
              ]}
            />
          </DataTable>
          {data.accesses.length === 0 ? (
            <Empty what="No access is known." todo="It shows up as soon as it was seen or is declared." />
          ) : null}
        </>
      )}
    </Loaded>
  );
}
