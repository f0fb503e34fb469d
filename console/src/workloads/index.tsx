import { SegmentedControl } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { read } from '../api/query.ts';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { Board } from './board.tsx';
import { WorkloadTable } from './table.tsx';

/** Workloads by stage, and all of them in a table. */
export default function WorkloadsPage() {
  const [view, setView] = useState('both');
  const workloads = useQuery(read('workloads.list', { query: { limit: 10_000 } }));
  return (
    <>
      <PageHead title="Workloads">
        <SegmentedControl
          size="xs"
          aria-label="What is shown"
          value={view}
          onChange={setView}
          data={[
            { value: 'both', label: 'Board and table' },
            { value: 'board', label: 'Board' },
            { value: 'table', label: 'Table' },
          ]}
        />
      </PageHead>
      <Loaded of={workloads}>
        {({ workloads: all }) =>
          all.length === 0 ? (
            <Nothing />
          ) : (
            <div className="stack">
              {view === 'table' ? null : <Board workloads={all} isTall={view === 'board'} />}
              {view === 'board' ? null : <WorkloadTable workloads={all} />}
            </div>
          )
        }
      </Loaded>
    </>
  );
}

function Nothing() {
  return (
    <Empty
      what="No workload is known yet."
      todo="Take in a recording of what calls what, or put a proxy before a workload: each shows up here as soon as it was seen."
      command={
        'interlock observe manifests.yaml traces.otlp.jsonl.gz\ninterlock proxy proxy.yaml --server HOST:8443'
      }
    />
  );
}
