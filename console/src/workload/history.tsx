import { useQuery } from '@tanstack/react-query';
import { auditEntries } from '../audit/entries.ts';
import { AuditTable } from '../audit/table.tsx';
import { Empty, Loaded } from '../parts/states.tsx';

/** What was done to a workload, from the audit log. */
export function History({ workload }: { readonly workload: string }) {
  const entries = useQuery(auditEntries());
  return (
    <Loaded of={entries}>
      {({ entries: all, isCut }) => (
        <>
          {isCut ? (
            <div className="dim">Only the newest entries were looked through; Audit has a way to all.</div>
          ) : null}
          <AuditTable
            entries={all.filter(
              ({ what, details }) =>
                what.includes(workload) || JSON.stringify(details).includes(`"${workload}"`),
            )}
            empty={<Empty what="Nothing was done to it yet." />}
          />
        </>
      )}
    </Loaded>
  );
}
