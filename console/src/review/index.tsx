import './review.css';
import { SegmentedControl } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { read } from '../api/query.ts';
import { Empty, Loaded, PageHead } from '../parts/states.tsx';
import { REVIEW_KEYS, usePageKeys } from './keys.ts';
import { inQueue, neighbourOf, NO_FILTER, type QueueFilter, type Waiting } from './queue.ts';
import { QueueList } from './queue-list.tsx';
import { QueueTable } from './queue-table.tsx';
import { ReviewOf } from './review.tsx';

interface Place {
  readonly filter: QueueFilter;
  readonly view: 'one' | 'table';
}

/** Kept while the console is open: who looks something up comes back to the same queue. */
let place: Place = { filter: NO_FILTER, view: 'one' };

/** What waits for a decision, workload by workload, and the review of each. */
export default function ReviewPage() {
  const { workload } = useParams({ strict: false });
  const reviews = useQuery(read('reviews.list', { query: { limit: 10_000 } }));
  const chosen = workload === undefined ? undefined : `spiffe://${workload}`;
  return (
    <Loaded of={reviews}>
      {({ reviews: all, next }) => (
        <>
          {next === undefined ? null : (
            <div className="dim">The first {all.length}; "interlock review list" has all.</div>
          )}
          <Queue all={all} chosen={chosen} />
        </>
      )}
    </Loaded>
  );
}

function Queue({ all, chosen }: { readonly all: readonly Waiting[]; readonly chosen: string | undefined }) {
  const navigate = useNavigate();
  const [{ filter, view }, setPlace] = useState(place);
  const keep = (part: Partial<Place>) => {
    place = { ...place, ...part };
    setPlace(place);
  };
  const queue = useMemo(() => inQueue(all, filter), [all, filter]);
  const isTable = view === 'table' && chosen === undefined;
  const at = chosen ?? (isTable ? undefined : queue[0]?.workload);
  const open = (id: string | undefined) =>
    id === undefined
      ? undefined
      : () =>
          void navigate({
            to: '/review/$workload',
            params: { workload: id.slice('spiffe://'.length) },
          });
  const [onNext, onBefore] = [open(neighbourOf(queue, at, 1)), open(neighbourOf(queue, at, -1))];
  return (
    <>
      <PageHead title="Review">
        <Hints />
        <SegmentedControl
          size="xs"
          aria-label="What is shown"
          value={isTable ? 'table' : 'one'}
          onChange={(value) => {
            keep({ view: value === 'table' ? 'table' : 'one' });
            if (value === 'table' && chosen !== undefined) void navigate({ to: '/review' });
          }}
          data={[
            { value: 'one', label: 'One by one' },
            { value: 'table', label: 'Table' },
          ]}
        />
      </PageHead>
      {all.length === 0 && chosen === undefined ? (
        <Nothing />
      ) : isTable ? (
        <Table queue={all} onFirst={open(queue[0]?.workload)} />
      ) : (
        <div className="split">
          <QueueList
            queue={queue}
            all={all}
            filter={filter}
            onFilter={(next) => keep({ filter: next })}
            chosen={at}
          />
          {at === undefined ? (
            <div className="dim">Nothing that waits is like this.</div>
          ) : (
            <ReviewOf key={at} workload={at} onNext={onNext} onBefore={onBefore} />
          )}
        </div>
      )}
    </>
  );
}

function Table({
  queue,
  onFirst,
}: {
  readonly queue: readonly Waiting[];
  readonly onFirst: (() => void) | undefined;
}) {
  usePageKeys({ n: onFirst, j: onFirst });
  return <QueueTable queue={queue} />;
}

const HINTS = new Set(['j', 'x', 'a', 'r', 'e', 'n']);

/** The keys that are used most; "?" lists all. */
function Hints() {
  return (
    <span className="hints dim" aria-hidden>
      {REVIEW_KEYS.filter(([key]) => HINTS.has(key)).map(([key, what]) => (
        <span key={key}>
          <kbd>{key}</kbd>
          {what.split(/[ ,]/)[0]?.toLowerCase() === 'the'
            ? what.slice(4)
            : what.split(/[ ,]/)[0]?.toLowerCase()}
        </span>
      ))}
      <span>
        <kbd>?</kbd>all keys
      </span>
    </span>
  );
}

/** An estate in which all is decided, or none in which anything was seen. */
function Nothing() {
  const workloads = useQuery(read('workloads.list', { query: { limit: 1 } }));
  return (
    <Loaded of={workloads}>
      {({ total }) =>
        total === 0 ? (
          <Empty
            what="Nothing to review: no call was seen yet."
            todo="Proposals are made of what was observed and declared."
            command="interlock observe manifests.yaml traces.otlp.jsonl.gz"
          />
        ) : (
          <Empty
            what="Nothing waits for a decision."
            todo="New evidence opens proposals, unused rules open tightenings, flips in shadow open questions: each shows up here by itself."
          />
        )
      }
    </Loaded>
  );
}
