import { TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { Id, Mark, Stage } from '../parts/marks.tsx';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { Proposal } from './proposal.tsx';

type Workload = Received<'workloads.list'>['workloads'][number];

/** What the evidence proposes, workload by workload: those without a policy first, then those with something open. */
export default function ReviewPage() {
  const { workload } = useParams({ strict: false });
  const workloads = useQuery(read('workloads.list', { query: { limit: 10_000 } }));
  return (
    <>
      <PageHead title="Review" />
      <Loaded of={workloads}>
        {({ workloads: all }) => {
          const called = all
            .filter(({ accesses, stage }) => accesses > 0 || stage !== undefined)
            .toSorted(byUrgency);
          if (called.length === 0)
            return (
              <Empty
                what="Nothing to review: no call was seen yet."
                todo="Proposals are made of what was observed and declared."
                command="interlock observe manifests.yaml traces.otlp.jsonl.gz"
              />
            );
          const chosen = workload === undefined ? called[0]?.id : `spiffe://${workload}`;
          return (
            <div className="split">
              <List workloads={called} chosen={chosen} />
              {chosen === undefined ? null : <Proposal key={chosen} workload={chosen} />}
            </div>
          );
        }}
      </Loaded>
    </>
  );
}

function byUrgency(a: Workload, b: Workload): number {
  const rank = ({ stage, flips, doubts = 0 }: Workload) =>
    (stage === undefined ? 1e9 : 0) + flips * 1000 + doubts;
  return rank(b) - rank(a);
}

function List({
  workloads,
  chosen,
}: {
  readonly workloads: readonly Workload[];
  readonly chosen: string | undefined;
}) {
  const [filter, setFilter] = useState('');
  const shown = workloads.filter(({ id }) => id.includes(filter.trim())).slice(0, 300);
  return (
    <nav aria-label="Workloads to review" className="panel" style={{ padding: 0 }}>
      <TextInput
        size="xs"
        p={6}
        placeholder="Filter"
        aria-label="Filter workloads"
        value={filter}
        onChange={(event) => setFilter(event.currentTarget.value)}
      />
      <ul className="list">
        {shown.map(({ id, stage, share, flips, doubts = 0 }) => (
          <li key={id}>
            <Link
              to="/review/$workload"
              params={{ workload: id.slice('spiffe://'.length) }}
              aria-current={id === chosen ? 'page' : undefined}
            >
              <div className="row spread">
                <Id id={id} />
                <Stage stage={stage} share={share} />
              </div>
              {flips + doubts === 0 ? null : (
                <div className="row" style={{ fontSize: 12 }}>
                  {flips > 0 ? <Mark is="would-deny">{flips} flips</Mark> : null}
                  {doubts > 0 ? <span>{doubts} doubts</span> : null}
                </div>
              )}
            </Link>
          </li>
        ))}
      </ul>
    </nav>
  );
}
