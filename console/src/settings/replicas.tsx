import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Mark, When } from '../parts/marks.tsx';
import { Loaded } from '../parts/states.tsx';

type Replica = Received<'replicas.list'>['replicas'][number];

/** When one was heard of last is told by no event: so often it is asked while somebody looks, milliseconds. */
const AGAIN_MS = 10_000;

const stateOf = ({ isSilent, isReady, checks }: Replica) => {
  if (isSilent) return 'silent';
  if (isReady) return 'ready';
  const wrong = Object.entries(checks).filter(([, is]) => is !== 'ok');
  return `not ready: ${wrong.map(([name, is]) => `${name} ${is}`).join(', ') || 'not said why'}`;
};

const COLUMNS: readonly Column<Replica>[] = [
  {
    key: 'host',
    head: 'Control plane',
    value: ({ host, id }) => host ?? id,
    cell: ({ host, id, isThis }) => (
      <span title={id}>
        {host ?? id}
        {isThis ? ' (this one)' : ''}
      </span>
    ),
  },
  {
    key: 'state',
    head: 'State',
    value: stateOf,
    cell: (replica) => (
      <Mark is={replica.isSilent ? 'denied' : replica.isReady ? 'allowed' : 'would-deny'}>
        {stateOf(replica)}
      </Mark>
    ),
    isWide: true,
  },
  {
    key: 'leads',
    head: 'Leads',
    value: ({ leads }) => (leads ? 'leads' : ''),
    cell: ({ leads, leadsSince }) =>
      leads ? (
        <>
          leads{' '}
          {leadsSince === undefined ? null : (
            <span className="dim">
              since <When at={leadsSince} />
            </span>
          )}
        </>
      ) : (
        ''
      ),
  },
  { key: 'agents', head: 'Agents', value: ({ agents }) => agents, isNumber: true },
  { key: 'version', head: 'Version', value: ({ version }) => version ?? '' },
  {
    key: 'addresses',
    head: 'Addresses',
    value: ({ addresses }) => [addresses?.http, addresses?.agents].filter(Boolean).join(', '),
    isWide: true,
  },
  {
    key: 'startedAt',
    head: 'Started',
    value: ({ startedAt }) => startedAt,
    // One that is too old to say it was started all the same.
    cell: ({ startedAt }) => (startedAt === undefined ? '-' : <When at={startedAt} />),
    isTime: true,
  },
  { key: 'lastSeen', head: 'Heard of', value: ({ lastSeen }) => lastSeen, isTime: true },
];

/** The control planes of this state, where there can be several. */
export function Replicas() {
  const replicas = useQuery({ ...read('replicas.list', {}), refetchInterval: AGAIN_MS });
  // One that keeps its state to itself is told of by the panel above.
  if (replicas.data?.isShared === false) return null;
  return (
    <Loaded of={replicas}>
      {({ replicas: all }) => (
        <>
          <DataTable
            name="replicas"
            title="Control planes"
            rows={all}
            columns={COLUMNS}
            keyOf={({ id }) => id}
          />
          {all.some(({ leads }) => leads) ? null : (
            <div>
              <Mark is="denied">
                nobody leads: authorities are not rotated, canaries do not move on, until one does
              </Mark>
            </div>
          )}
        </>
      )}
    </Loaded>
  );
}
