import { NativeSelect, TextInput } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { TIERS } from '../../../src/policy/types.ts';
import { Id, Mark, Stage, When } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import { NOBODY, ownersIn, type QueueFilter, type Waiting, WAITS, waitsFor } from './queue.ts';

/** Entries that the list shows at first, and more at a time. */
const PAGE = 100;

interface Props {
  readonly queue: readonly Waiting[];
  /** Before the filter. */
  readonly all: readonly Waiting[];
  readonly filter: QueueFilter;
  readonly onFilter: (filter: QueueFilter) => void;
  readonly chosen: string | undefined;
}

/** Workloads about which something waits: what is decided first stands first. */
export function QueueList({ queue, all, filter, onFilter, chosen }: Props) {
  const [limit, setLimit] = useState(PAGE);
  const set = (part: Partial<QueueFilter>) => onFilter({ ...filter, ...part });
  return (
    <nav aria-label="Workloads to review" className="panel queue" style={{ padding: 0 }}>
      <div className="queue-filter">
        <TextInput
          size="xs"
          placeholder="Filter by name or owner"
          aria-label="Filter workloads"
          value={filter.text}
          onChange={(event) => set({ text: event.currentTarget.value })}
        />
        <NativeSelect
          size="xs"
          aria-label="What waits"
          value={filter.waits}
          onChange={({ currentTarget: { value } }) =>
            set({ waits: WAITS.find((each) => each === value) ?? '' })
          }
          data={[
            { value: '', label: 'all that waits' },
            ...WAITS.map((each) => ({ value: each, label: `${each}s` })),
          ]}
        />
        <NativeSelect
          size="xs"
          aria-label="Tier"
          value={filter.tier}
          onChange={({ currentTarget: { value } }) =>
            set({ tier: TIERS.find((each) => each === value) ?? '' })
          }
          data={[{ value: '', label: 'any tier' }, ...TIERS]}
        />
        <NativeSelect
          size="xs"
          aria-label="Owner"
          value={filter.owner}
          onChange={({ currentTarget: { value } }) => set({ owner: value })}
          data={[{ value: '', label: 'any owner' }, ...ownersIn(all), NOBODY]}
          style={{ gridColumn: '1 / -1' }}
        />
      </div>
      <div className="dim" role="status" style={{ padding: '0 8px 4px' }}>
        {queue.length === all.length
          ? counted(all.length, 'waits', 'wait')
          : `${queue.length} of ${all.length}`}
      </div>
      <ul className="list">
        {queue.slice(0, limit).map((each) => (
          <li key={each.workload}>
            <Entry of={each} isChosen={each.workload === chosen} />
          </li>
        ))}
        {queue.length > limit ? (
          <li>
            <button type="button" className="more" onClick={() => setLimit(limit + PAGE)}>
              {queue.length - limit} more
            </button>
          </li>
        ) : null}
      </ul>
    </nav>
  );
}

function Entry({ of, isChosen }: { readonly of: Waiting; readonly isChosen: boolean }) {
  const { workload, tier, stage, counts, approvals, since } = of;
  const waits = waitsFor(of);
  return (
    <Link
      to="/review/$workload"
      params={{ workload: workload.slice('spiffe://'.length) }}
      aria-current={isChosen ? 'page' : undefined}
    >
      <div className="row spread" style={{ flexWrap: 'nowrap' }}>
        <Id id={workload} />
        <Stage stage={stage} />
      </div>
      <div className="row" style={{ fontSize: 12, columnGap: 10, rowGap: 0 }}>
        {tier === 'standard' ? null : <strong>{tier}</strong>}
        {counts.question > 0 ? (
          <Mark is="would-deny">
            {counts.question} {counts.question === 1 ? 'question' : 'questions'}
          </Mark>
        ) : null}
        {waits.includes('proposal') ? <span>{counts.added + counts.widened} new</span> : null}
        {counts.doubts > 0 ? <span>{counted(counts.doubts, 'doubt')}</span> : null}
        {counts.removed > 0 ? <Mark is="unused">{counts.removed} unused</Mark> : null}
        {waits.includes('approval') ? (
          <span className="dim">
            {approvals.by.length} of {approvals.need} approvals
          </span>
        ) : null}
        {since === undefined ? null : (
          <span className="dim">
            <When at={since} />
          </span>
        )}
      </div>
    </Link>
  );
}
