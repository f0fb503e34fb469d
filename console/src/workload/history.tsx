import { Button } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { call } from '../api/client.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id } from '../parts/marks.tsx';
import { Empty, Problem } from '../parts/states.tsx';
import { actText, type HistoryEntry, restsOn, whyText } from './history-words.ts';

const PAGE = 200;

/** So much of the evidence stands in a row; the whole stands on hover. */
const MOST = 240;
const cut = (text: string) => (text.length > MOST ? `${text.slice(0, MOST)}…` : text);

const COLUMNS: readonly Column<HistoryEntry>[] = [
  {
    key: 'at',
    head: 'When',
    value: ({ at }) => at,
    isTime: true,
  },
  { key: 'who', head: 'Who', value: ({ who }) => who, cell: ({ who }) => <Id id={who} /> },
  { key: 'act', head: 'What', value: actText },
  { key: 'why', head: 'Why', value: whyText, isWide: true },
  {
    key: 'on',
    head: 'On what evidence',
    value: restsOn,
    cell: (entry) => (
      <span className="dim" title={restsOn(entry)}>
        {cut(restsOn(entry))}
      </span>
    ),
    isWide: true,
  },
];

/** Who has changed or moved a workload, when, and on what. */
export function History({ workload }: { readonly workload: string }) {
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage, refetch } = useInfiniteQuery({
    queryKey: ['history.get', { params: { workload } }, 'pages'],
    queryFn: ({ signal, pageParam }) =>
      call(
        'history.get',
        { params: { workload }, query: { limit: PAGE, ...(pageParam === '' ? {} : { after: pageParam }) } },
        { signal },
      ),
    initialPageParam: '',
    getNextPageParam: ({ next }) => next,
  });
  if (data === undefined)
    return error === null ? (
      <div className="dim">Reading...</div>
    ) : (
      <Problem error={error} again={() => void refetch()} />
    );
  return (
    <div className="stack" style={{ gap: 8 }}>
      <DataTable
        name="history"
        rows={data.pages.flatMap(({ entries }) => entries)}
        columns={COLUMNS}
        keyOf={({ seq }) => String(seq)}
        empty={<Empty what="Nothing was done to it yet." />}
      />
      {hasNextPage ? (
        <div>
          <Button
            size="compact-sm"
            variant="default"
            loading={isFetchingNextPage}
            onClick={() => void fetchNextPage()}
          >
            Older
          </Button>
        </div>
      ) : null}
    </div>
  );
}
