import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, LongId, Mark } from '../parts/marks.tsx';
import { useNow } from '../parts/now.ts';
import { Loaded } from '../parts/states.tsx';

type Sync = Received<'syncs.list'>['syncs'][number];

/** So often it is asked how a sync goes while somebody looks, milliseconds. */
const AGAIN_MS = 10_000;

const columns = (now: number): readonly Column<Sync>[] => {
  const stateOf = ({ kind, fault, until }: Sync) => {
    if (fault !== undefined) return `applies nothing: ${fault}`;
    if (kind === 'once') return 'was run';
    return until > now ? 'kept in step' : 'was kept in step; its run has ended';
  };
  return [
    { key: 'source', head: 'From Git', value: ({ source }) => source, isWide: true },
    {
      key: 'commit',
      head: 'Commit',
      value: ({ commit }) => commit ?? '',
      cell: ({ commit, branch }) => (
        <>
          {commit === undefined ? <code>-</code> : <LongId id={commit} />}{' '}
          <span className="dim">{branch ?? ''}</span>
        </>
      ),
    },
    {
      key: 'state',
      head: 'State',
      value: stateOf,
      cell: (sync) => (sync.fault === undefined ? stateOf(sync) : <Mark is="denied">{stateOf(sync)}</Mark>),
      isWide: true,
    },
    { key: 'by', head: 'By', value: ({ by }) => by, cell: ({ by }) => <Id id={by} /> },
    { key: 'host', head: 'On', value: ({ host }) => host ?? '' },
    { key: 'at', head: 'Heard of', value: ({ at }) => at, isTime: true },
  ];
};

/** What is kept in Git, and how far it is here. */
export function Syncs() {
  const syncs = useQuery({ ...read('syncs.list', {}), refetchInterval: AGAIN_MS });
  const now = useNow();
  // Where nothing is kept in Git there is nothing to tell.
  if (syncs.data?.syncs.length === 0) return null;
  return (
    <Loaded of={syncs}>
      {({ syncs: all }) => (
        <DataTable
          name="syncs"
          title="Synced from Git"
          rows={all}
          columns={columns(now)}
          keyOf={({ source }) => source}
        />
      )}
    </Loaded>
  );
}
