import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id, When } from '../parts/marks.tsx';
import { exactTime, shortId } from '../parts/words.ts';
import type { Entry } from './entries.ts';

/** Details as one line of text: without what stands in the other columns. */
function detailsText({ details, what }: Entry): string {
  if (details === null || details === undefined) return '';
  if (typeof details !== 'object' || Array.isArray(details)) return JSON.stringify(details);
  return Object.entries(details)
    .filter(([, value]) => value !== what)
    .map(([key, value]) => `${key} ${valueText(value)}`)
    .join(', ');
}

function valueText(value: unknown): string {
  if (typeof value === 'string') return shortId(value);
  if (Array.isArray(value)) return value.length === 0 ? 'none' : value.map(valueText).join(' ');
  // A time, as the log has them.
  if (typeof value === 'number' && value > 1e12) return exactTime(value);
  return JSON.stringify(value);
}

const COLUMNS: readonly Column<Entry>[] = [
  { key: 'seq', head: 'No.', value: ({ seq }) => seq, isNumber: true },
  { key: 'at', head: 'When', value: ({ at }) => at, cell: ({ at }) => <When at={at} />, isNumber: true },
  { key: 'who', head: 'Who', value: ({ who }) => who, cell: ({ who }) => <Id id={who} /> },
  { key: 'act', head: 'Act', value: ({ act }) => act },
  {
    key: 'what',
    head: 'What',
    value: ({ what }) => what,
    cell: ({ what }) => <Id id={what} />,
    isWide: true,
  },
  {
    key: 'details',
    head: 'Details',
    value: detailsText,
    cell: (entry) => (
      <span className="dim" title={JSON.stringify(entry.details)}>
        {detailsText(entry).slice(0, 140)}
      </span>
    ),
    isWide: true,
  },
];

/** Entries of the audit log. */
export function AuditTable({
  entries,
  empty,
}: {
  readonly entries: readonly Entry[];
  readonly empty?: React.ReactNode;
}) {
  return (
    <DataTable name="audit" rows={entries} columns={COLUMNS} keyOf={({ seq }) => String(seq)} empty={empty} />
  );
}
