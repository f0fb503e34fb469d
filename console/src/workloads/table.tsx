import { Count, IdLink, Mark, Stage } from '../parts/marks.tsx';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { urgencyOf, type Workload } from './board.tsx';

const COLUMNS: readonly Column<Workload>[] = [
  { key: 'id', head: 'Workload', value: ({ id }) => id, cell: ({ id }) => <IdLink id={id} /> },
  {
    key: 'stage',
    head: 'Stage',
    value: ({ stage, released }) => `${stage ?? 'no policy'}${released === undefined ? '' : ' released'}`,
    cell: ({ stage, share, released }) => (
      <span className="row" style={{ flexWrap: 'nowrap' }}>
        <Stage stage={stage} share={share} />
        {released === undefined ? null : <Mark is="denied">released</Mark>}
      </span>
    ),
  },
  { key: 'tier', head: 'Tier', value: ({ tier }) => tier },
  { key: 'authentication', head: 'Connections', value: ({ authentication }) => authentication ?? '' },
  { key: 'callers', head: 'Callers', value: ({ callers }) => callers, isNumber: true },
  { key: 'callees', head: 'Callees', value: ({ callees }) => callees, isNumber: true },
  { key: 'accesses', head: 'Accesses', value: ({ accesses }) => accesses, isNumber: true },
  {
    key: 'proxies',
    head: 'Proxies',
    value: ({ connected }) => connected,
    cell: ({ connected, points, behind }) => (
      <>
        {connected}/{points}
        {behind > 0 ? (
          <>
            {' '}
            <Mark is="would-deny">{behind} behind</Mark>
          </>
        ) : null}
      </>
    ),
    isNumber: true,
  },
  {
    key: 'flips',
    head: 'Flips',
    value: ({ flips }) => flips,
    cell: ({ flips }) => <Count n={flips} is="would-deny" />,
    isNumber: true,
  },
  {
    key: 'doubts',
    head: 'Doubts',
    value: ({ doubts }) => doubts,
    cell: ({ doubts }) => (doubts === undefined ? '' : <Count n={doubts} />),
    isNumber: true,
  },
  {
    key: 'plaintext',
    head: 'Plain text',
    value: ({ plaintext }) => plaintext,
    cell: ({ plaintext }) => <Count n={plaintext} is="plaintext" />,
    isNumber: true,
  },
  {
    key: 'lastSeen',
    head: 'Last called',
    value: ({ lastSeen }) => lastSeen,
    isTime: true,
  },
];

/** All workloads. */
export function WorkloadTable({ workloads }: { readonly workloads: readonly Workload[] }) {
  return (
    <DataTable
      name="workloads"
      // Those alike stand in the order of what is to be done.
      rows={workloads.toSorted((a, b) => urgencyOf(b) - urgencyOf(a))}
      columns={COLUMNS}
      keyOf={({ id }) => id}
      order={{ key: 'flips', isDown: true }}
    />
  );
}
