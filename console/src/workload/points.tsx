import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, Mark } from '../parts/marks.tsx';
import { Empty } from '../parts/states.tsx';
import type { WorkloadDetail } from './index.tsx';

type Point = WorkloadDetail['proxies'][number];

const stateOf = ({ connected, applied, wanted, fault }: Point) =>
  connected
    ? fault !== undefined
      ? `refused: ${fault.message}`
      : applied < wanted
        ? 'behind'
        : 'up to date'
    : 'away';

const COLUMNS: readonly Column<Point>[] = [
  {
    key: 'identity',
    head: 'Identity',
    value: ({ identity }) => identity,
    cell: ({ identity }) => <Id id={identity} />,
  },
  { key: 'instance', head: 'Instance', value: ({ instance }) => instance },
  { key: 'kind', head: 'Kind', value: ({ kind }) => kind },
  { key: 'cluster', head: 'Cluster', value: ({ cluster }) => cluster ?? '' },
  {
    key: 'state',
    head: 'State',
    value: stateOf,
    cell: (point) => (
      <Mark is={stateOf(point) === 'up to date' ? 'allowed' : 'would-deny'}>{stateOf(point)}</Mark>
    ),
    isWide: true,
  },
  { key: 'version', head: 'Version', value: ({ version }) => version },
  {
    key: 'appliedAt',
    head: 'Confirmed',
    value: ({ appliedAt }) => appliedAt,
    isTime: true,
  },
  {
    key: 'since',
    head: 'Since',
    value: ({ since }) => since,
    isTime: true,
  },
];

/** The proxies that enforce for a workload, and what each has confirmed. */
export function Points({
  points,
  workload,
}: {
  readonly points: readonly Point[];
  readonly workload: string;
}) {
  return (
    <DataTable
      name="proxies"
      rows={points}
      columns={COLUMNS}
      keyOf={({ key }) => key}
      empty={
        <Empty
          what="No proxy serves it: nothing is observed or enforced there."
          todo={`Put one before it, with the identity ${workload}. docs/enforcement.md has a document to begin with.`}
          command="interlock proxy proxy.yaml --server HOST:8443"
        />
      }
    />
  );
}
