import { Button, TextInput } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { call } from '../api/client.ts';
import { Mark, When } from '../parts/marks.tsx';
import { Empty, PageHead, Problem } from '../parts/states.tsx';
import { download } from '../parts/download.ts';
import { csvOf } from '../parts/table-data.ts';
import { allOf, type AuditFilter, type Held, MOST_EXPORTED, NO_FILTER } from './entries.ts';
import { AuditTable, COLUMNS } from './table.tsx';
import { useAudit } from './use-audit.ts';

const REASONS = { changed: 'was changed', missing: 'is missing', unreadable: 'cannot be read' } as const;
/** How long nobody types before the log is asked, milliseconds. */
const QUIET_MS = 300;

/** Everything that was done, the newest first, and whether the record of it is whole. */
export default function AuditPage() {
  const [typed, setTyped] = useState(NO_FILTER);
  const [filter, setFilter] = useState(NO_FILTER);
  useEffect(() => {
    const timer = setTimeout(() => setFilter(typed), QUIET_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const { held, error, isReading, older, again } = useAudit(filter);
  const isFiltered = Object.values(filter).some((text) => text.trim() !== '');
  return (
    <>
      <PageHead title="Audit">
        <Verify />
        <Export filter={filter} />
      </PageHead>
      {error === null ? null : <Problem error={error} again={() => void again()} />}
      <div className="stack" style={{ gap: 8 }}>
        <AuditTable entries={held?.entries ?? []}>
          <Box label="Who" of={typed} field="who" onChange={setTyped} />
          <Box label="Act, or its beginning" of={typed} field="act" onChange={setTyped} />
          <Box label="What it was done to" of={typed} field="what" onChange={setTyped} />
        </AuditTable>
        {held === undefined ? (
          error === null ? (
            <div className="dim">Reading...</div>
          ) : null
        ) : (
          <Below held={held} isFiltered={isFiltered} isReading={isReading} onOlder={() => void older()} />
        )}
      </div>
    </>
  );
}

interface BelowProps {
  readonly held: Held;
  readonly isFiltered: boolean;
  readonly isReading: boolean;
  readonly onOlder: () => void;
}

/** Where the log goes on, or that it does not. */
function Below({ held: { entries, next }, isFiltered, isReading, onOlder }: BelowProps) {
  return (
    <>
      {entries.length > 0 ? null : (
        <Empty what={isFiltered ? 'No entry is like this so far.' : 'Nothing was done yet.'} />
      )}
      {next === undefined ? (
        <div className="dim">{entries.length === 0 ? null : 'That is where the log begins.'}</div>
      ) : (
        <div className="row">
          <Button size="compact-sm" variant="default" loading={isReading} onClick={onOlder}>
            Older
          </Button>
          <span className="dim">
            {entries.length.toLocaleString('en')} shown, the newest; there is more behind them.
          </span>
        </div>
      )}
    </>
  );
}

interface BoxProps {
  readonly label: string;
  readonly of: AuditFilter;
  readonly field: keyof AuditFilter;
  readonly onChange: (filter: AuditFilter) => void;
}

function Box({ label, of, field, onChange }: BoxProps) {
  return (
    <TextInput
      size="xs"
      w={190}
      maxLength={field === 'act' ? 90 : 390}
      placeholder={label}
      aria-label={label}
      value={of[field]}
      onChange={(event) => onChange({ ...of, [field]: event.currentTarget.value })}
    />
  );
}

/** Reads the whole chain of hashes, and says since when that holds. */
function Verify() {
  const verify = useMutation({
    mutationFn: async () => ({ ...(await call('audit.verify', {})), at: Date.now() }),
  });
  const { data, error } = verify;
  return (
    <>
      <span role="status" className="row">
        {error !== null ? <Mark is="denied">not verified: {error.message}</Mark> : null}
        {data === undefined ? null : data.isWhole ? (
          <Mark is="allowed">
            the chain is whole, <When at={data.at} />
          </Mark>
        ) : (
          <Mark is="denied">
            entry {data.fault?.seq} {data.fault === undefined ? '' : REASONS[data.fault.reason]}
          </Mark>
        )}
      </span>
      <Button size="compact-sm" variant="default" loading={verify.isPending} onClick={() => verify.mutate()}>
        Verify
      </Button>
    </>
  );
}

/** All of the filter as a file, not only what is on the page. */
function Export({ filter }: { readonly filter: AuditFilter }) {
  const gather = useMutation({
    mutationFn: () => allOf(filter),
    onSuccess: (entries) => download('audit.csv', csvOf(entries, COLUMNS)),
  });
  return (
    <>
      {gather.error === null ? null : <Mark is="denied">{gather.error.message}</Mark>}
      {gather.data !== undefined && gather.data.length >= MOST_EXPORTED ? (
        <span className="dim">
          The newest {MOST_EXPORTED.toLocaleString('en')}; the command line has all.
        </span>
      ) : null}
      <Button size="compact-sm" variant="default" loading={gather.isPending} onClick={() => gather.mutate()}>
        Export all
      </Button>
    </>
  );
}
