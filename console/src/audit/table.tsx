import { type Column, DataTable } from '../parts/data-table.tsx';
import { Id } from '../parts/marks.tsx';
import { exactTime, shortId } from '../parts/words.ts';
import { detailRank, type Entry } from './entries.ts';

/** Details as one line of text: without what stands in the other columns. */
function detailsText({ details, what }: Entry): string {
  if (details === null || details === undefined) return '';
  if (typeof details !== 'object' || Array.isArray(details)) return JSON.stringify(details);
  return Object.entries(details)
    .filter(([, value]) => value !== what)
    .sort(([a], [b]) => detailRank(a) - detailRank(b))
    .map(([key, value]) => `${key} ${valueText(value)}`)
    .join(', ');
}

/** Deeper than that details are shown as they are. */
const DEEPEST = 3;

function valueText(value: unknown, depth = 0): string {
  if (typeof value === 'string') return shortId(value);
  if (Array.isArray(value))
    return value.length === 0 ? 'none' : value.map((each) => valueText(each, depth + 1)).join(' ');
  // A time, as the log has them.
  if (typeof value === 'number' && value > 1e12) return exactTime(value);
  if (typeof value !== 'object' || value === null || depth > DEEPEST) return JSON.stringify(value);
  const fields = Object.entries(value).map(([key, each]) => `${key} ${valueText(each, depth + 1)}`);
  return `(${fields.join(', ')})`;
}

/** So many characters of the details stand in a row; the whole stands on hover. */
const MOST = 160;

function cut(whole: string): string {
  // Of a hash its beginning tells it apart.
  const text = whole.replaceAll(/\b[0-9a-f]{32,}\b/g, (hash) => hash.slice(0, 10));
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

/** Columns of the log; an export has the same. */
export const COLUMNS: readonly Column<Entry>[] = [
  { key: 'seq', head: 'No.', value: ({ seq }) => seq, isNumber: true },
  {
    key: 'at',
    head: 'When',
    value: ({ at }) => at,
    isTime: true,
  },
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
        {cut(detailsText(entry))}
      </span>
    ),
    isWide: true,
  },
];

interface Props {
  readonly entries: readonly Entry[];
  /** Other controls beside the filter. */
  readonly children?: React.ReactNode;
}

/** Entries of the audit log. */
export function AuditTable({ entries, children }: Props) {
  return (
    <DataTable name="audit" rows={entries} columns={COLUMNS} keyOf={({ seq }) => String(seq)}>
      {children}
    </DataTable>
  );
}
