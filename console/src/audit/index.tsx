import { Button } from '@mantine/core';
import { useMutation, useQuery } from '@tanstack/react-query';
import { call } from '../api/client.ts';
import { Mark } from '../parts/marks.tsx';
import { Empty, Loaded, PageHead, Problem } from '../parts/states.tsx';
import { auditEntries } from './entries.ts';
import { AuditTable } from './table.tsx';

const REASONS = { changed: 'was changed', missing: 'is missing', unreadable: 'cannot be read' } as const;

/** Everything that was done, and whether the record of it is whole. */
export default function AuditPage() {
  const entries = useQuery(auditEntries());
  const verify = useMutation({ mutationFn: () => call('audit.verify', {}) });
  const { data } = verify;
  return (
    <>
      <PageHead title="Audit">
        {data === undefined ? null : data.isWhole ? (
          <Mark is="allowed">the chain is whole</Mark>
        ) : (
          <Mark is="denied">
            entry {data.fault?.seq} {data.fault === undefined ? '' : REASONS[data.fault.reason]}
          </Mark>
        )}
        <Button
          size="compact-sm"
          variant="default"
          loading={verify.isPending}
          onClick={() => verify.mutate()}
        >
          Verify
        </Button>
      </PageHead>
      {verify.error === null ? null : <Problem error={verify.error} />}
      <Loaded of={entries}>
        {({ entries: all, isCut }) => (
          <>
            {isCut ? (
              <div className="dim">
                The newest {all.length.toLocaleString('en')}; "interlock authority audit" has all.
              </div>
            ) : null}
            <AuditTable entries={all} empty={<Empty what="Nothing was done yet." />} />
          </>
        )}
      </Loaded>
    </>
  );
}
