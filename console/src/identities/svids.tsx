import { Button } from '@mantine/core';
import { useInfiniteQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { call } from '../api/client.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, IdLink, LongId } from '../parts/marks.tsx';
import { useNow } from '../parts/now.ts';
import { Empty, Loaded } from '../parts/states.tsx';
import { number, percent } from '../parts/words.ts';

type Svid = Received<'identities.list'>['identities'][number];

/** How much of its life an SVID has behind it. Agents renew at the half. */
function Age({ issuedAt, notAfter }: Pick<Svid, 'issuedAt' | 'notAfter'>) {
  const now = useNow();
  const share = Math.min(1, Math.max(0, (now - issuedAt) / (notAfter - issuedAt)));
  return (
    <div className="row" style={{ flexWrap: 'nowrap' }}>
      <div className="bar" style={{ width: 60 }} aria-hidden>
        <i
          style={{
            width: `${share * 100}%`,
            background: share > 0.75 ? 'var(--is-would-deny)' : 'var(--is-unused)',
          }}
        />
      </div>
      <span style={{ whiteSpace: 'nowrap' }}>{percent(Math.round(share * 100) / 100)}</span>
    </div>
  );
}

const LIVE: readonly Column<Svid>[] = [
  {
    key: 'spiffeId',
    head: 'SPIFFE ID',
    value: ({ spiffeId }) => spiffeId,
    cell: ({ spiffeId, kind }) => (kind === 'workload' ? <IdLink id={spiffeId} /> : <Id id={spiffeId} />),
  },
  { key: 'kind', head: 'Kind', value: ({ kind }) => kind },
  { key: 'age', head: 'Life used', value: ({ issuedAt }) => issuedAt, cell: (svid) => <Age {...svid} /> },
  {
    key: 'notAfter',
    head: 'Ends',
    value: ({ notAfter }) => notAfter,
    isTime: true,
  },
  {
    key: 'authority',
    head: 'Authority',
    value: ({ authorityName, authority }) => authorityName ?? authority.slice(0, 10),
  },
  { key: 'rule', head: 'Rule', value: ({ rule }) => rule },
  { key: 'agent', head: 'Agent', value: ({ agent }) => agent, cell: ({ agent }) => <Id id={agent} /> },
  {
    key: 'serial',
    head: 'Serial',
    value: ({ serial }) => serial,
    cell: ({ serial }) => <LongId id={serial} />,
  },
];

/** SVIDs that are read at a time. */
const PAGE = 10_000;

/** The live SVIDs, what ends first before the rest, however many there are. */
export function Svids() {
  const { data, error, hasNextPage, fetchNextPage, isFetchingNextPage, refetch } = useInfiniteQuery({
    queryKey: ['identities.list', { query: { order: 'ends' } }, 'pages'],
    queryFn: ({ signal, pageParam }) =>
      call(
        'identities.list',
        { query: { order: 'ends', limit: PAGE, ...(pageParam === '' ? {} : { after: pageParam }) } },
        { signal },
      ),
    initialPageParam: '',
    getNextPageParam: ({ next }) => next,
  });
  const all = useMemo(() => data?.pages.flatMap(({ identities }) => identities), [data]);
  return (
    <Loaded of={{ data: all, error, refetch }}>
      {(svids) => (
        <>
          <DataTable
            name="svids"
            rows={svids}
            columns={LIVE}
            keyOf={({ serial, kind }) => `${kind} ${serial}`}
            order={{ key: 'notAfter', isDown: false }}
            empty={
              <Empty
                what="No SVID is live."
                todo="Join a node, and give a rule that names its workloads."
                command={
                  'interlock authority token node-1\ninterlock agent --server HOST:8443 --join-token TOKEN\ninterlock identity rules apply rules.yaml'
                }
              />
            }
          />
          {hasNextPage ? (
            <div className="row dim" style={{ marginTop: 6 }}>
              The {number(svids.length)} that end first: order and filter are of these.
              <Button
                size="compact-xs"
                variant="default"
                loading={isFetchingNextPage}
                onClick={() => void fetchNextPage()}
              >
                Read those after them
              </Button>
            </div>
          ) : null}
        </>
      )}
    </Loaded>
  );
}
