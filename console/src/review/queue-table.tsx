import { Link } from '@tanstack/react-router';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Count, Id, Stage, When } from '../parts/marks.tsx';
import { type Waiting, waitsFor } from './queue.ts';

const COLUMNS: readonly Column<Waiting>[] = [
  {
    key: 'workload',
    head: 'Workload',
    value: ({ workload }) => workload,
    cell: ({ workload }) => (
      <Link to="/review/$workload" params={{ workload: workload.slice('spiffe://'.length) }}>
        <Id id={workload} />
      </Link>
    ),
  },
  { key: 'tier', head: 'Tier', value: ({ tier }) => tier },
  {
    key: 'stage',
    head: 'Stage',
    value: ({ stage }) => stage ?? 'no policy',
    cell: ({ stage }) => <Stage stage={stage} />,
  },
  { key: 'waits', head: 'What waits', value: (each) => waitsFor(each).join(', ') },
  {
    key: 'questions',
    head: 'Questions',
    value: ({ counts }) => counts.question,
    cell: ({ counts }) => <Count n={counts.question} is="would-deny" />,
    isNumber: true,
  },
  {
    key: 'rules',
    head: 'Rules',
    value: ({ counts }) => counts.added + counts.widened,
    cell: ({ counts }) => <Count n={counts.added + counts.widened} />,
    isNumber: true,
  },
  {
    key: 'doubts',
    head: 'Doubts',
    value: ({ counts }) => counts.doubts,
    cell: ({ counts }) => <Count n={counts.doubts} />,
    isNumber: true,
  },
  {
    key: 'unused',
    head: 'Unused',
    value: ({ counts }) => counts.removed,
    cell: ({ counts }) => <Count n={counts.removed} is="unused" />,
    isNumber: true,
  },
  {
    key: 'approvals',
    head: 'Approvals',
    value: ({ approvals: { by, need } }) => `${by.length} of ${need}`,
    isNumber: true,
  },
  { key: 'owners', head: 'Owners', value: ({ owners }) => owners.join(', ') },
  {
    key: 'since',
    head: 'Open since',
    value: ({ since }) => since,
    cell: ({ since }) => (since === undefined ? <span className="dim">-</span> : <When at={since} />),
    isTime: true,
  },
  {
    key: 'last',
    head: 'Last decision',
    value: ({ lastDecision }) =>
      lastDecision === undefined ? '' : `${lastDecision.who} ${lastDecision.what}`,
  },
];

/** All that waits, to be sorted, filtered and exported. */
export function QueueTable({ queue }: { readonly queue: readonly Waiting[] }) {
  return <DataTable name="reviews" rows={queue} columns={COLUMNS} keyOf={({ workload }) => workload} />;
}
