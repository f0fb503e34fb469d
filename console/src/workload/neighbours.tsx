import { type Column, DataTable } from '../parts/data-table.tsx';
import { IdLink, Mark, type Meaning } from '../parts/marks.tsx';
import { number } from '../parts/words.ts';
import type { WorkloadDetail } from './index.tsx';

type Neighbour = WorkloadDetail['calls'][number];

/** What stands out about the calls of one neighbour, the worst first. */
const findingsOf = ({ denied, wouldDeny, plaintext }: Neighbour) =>
  (
    [
      ['denied', denied, 'denied'],
      ['would-deny', wouldDeny, 'would be denied'],
      ['plaintext', plaintext, 'plain text'],
    ] as const satisfies readonly (readonly [Meaning, number, string])[]
  ).filter(([, n]) => n > 0);

const columns = (head: string): readonly Column<Neighbour>[] => [
  {
    key: 'principal',
    head,
    value: ({ principal }) => principal,
    cell: ({ principal }) => <IdLink id={principal} />,
    isWide: true,
  },
  {
    key: 'calls',
    head: 'Calls',
    value: ({ calls }) => calls,
    cell: ({ calls }) => number(calls),
    isNumber: true,
  },
  { key: 'accesses', head: 'Accesses', value: ({ accesses }) => accesses, isNumber: true },
  {
    key: 'findings',
    head: 'Stands out',
    value: (row) =>
      findingsOf(row)
        .map(([, n, what]) => `${n} ${what}`)
        .join(', '),
    cell: (row) => (
      <span className="row" style={{ gap: '0 10px' }}>
        {findingsOf(row).map(([is, n, what]) => (
          <Mark key={is} is={is}>
            {number(n)} {what}
          </Mark>
        ))}
      </span>
    ),
  },
  { key: 'lastSeen', head: 'Last', value: ({ lastSeen }) => lastSeen, isTime: true },
];

interface Props {
  readonly title: string;
  /** What those at the other end are. */
  readonly head: string;
  readonly neighbours: readonly Neighbour[];
}

/** Those at the other end, the busiest first. */
export function Neighbours({ title, head, neighbours }: Props) {
  const heading = (
    <>
      {title} <span className="dim">{number(neighbours.length)}</span>
    </>
  );
  return (
    <section className="panel">
      <DataTable
        name={title.toLowerCase()}
        title={heading}
        rows={neighbours}
        columns={columns(head)}
        keyOf={({ principal }) => principal}
        order={{ key: 'calls', isDown: true }}
        mostPx={320}
        empty={
          <>
            <h2 style={{ marginBottom: 6 }}>{heading}</h2>
            <div className="dim">Nobody that is known.</div>
          </>
        }
      />
    </section>
  );
}
