import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { SegmentedControl } from '@mantine/core';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Count, IdLink, Mark } from '../parts/marks.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { counted, number } from '../parts/words.ts';
import { type Ability, abilityOf, coverageOf } from './coverage.ts';

type Answer = Received<'handshakes.get'>;
type End = Answer['callers'][number];

const ABILITIES: Readonly<Record<Ability, readonly ['allowed' | 'would-deny' | 'unused', string]>> = {
  can: ['allowed', 'post-quantum'],
  sometimes: ['would-deny', 'not always'],
  cannot: ['would-deny', 'classical only'],
  unknown: ['unused', 'not known'],
};

const columns = (head: string): readonly Column<End>[] => [
  {
    key: 'principal',
    head,
    value: ({ principal }) => principal,
    cell: ({ principal }) => <IdLink id={principal} />,
  },
  {
    key: 'ability',
    head: 'Key exchange',
    value: (end) => ABILITIES[abilityOf(end)][1],
    cell: (end) => {
      const [is, text] = ABILITIES[abilityOf(end)];
      return <Mark is={is}>{text}</Mark>;
    },
  },
  {
    key: 'classical',
    head: 'Calls without',
    value: ({ classical }) => classical,
    cell: ({ classical }) => <Count n={classical} is="would-deny" />,
    isNumber: true,
  },
  {
    key: 'postQuantum',
    head: 'Calls with',
    value: ({ postQuantum }) => postQuantum,
    cell: ({ postQuantum }) => <Count n={postQuantum} />,
    isNumber: true,
  },
  {
    key: 'unknown',
    head: 'Not known',
    value: ({ unknown }) => unknown,
    cell: ({ unknown }) => <Count n={unknown} />,
    isNumber: true,
  },
  {
    key: 'lastClassical',
    head: 'Last without',
    value: ({ lastClassical }) => lastClassical,
    isTime: true,
  },
  {
    key: 'lastPostQuantum',
    head: 'Last with',
    value: ({ lastPostQuantum }) => lastPostQuantum,
    isTime: true,
  },
];

/** How much of the traffic agrees its keys so that a quantum computer does not help who records it, and who still cannot. */
export function Handshakes() {
  const handshakes = useQuery(read('handshakes.get', { query: {} }));
  const [end, setEnd] = useState<'callers' | 'callees'>('callers');
  return (
    <Loaded of={handshakes}>
      {(data) =>
        data.calls === 0 ? (
          <Empty
            what="No handshake was seen yet."
            todo="Proxies report the group in which each connection agreed its key. Prefer X25519MLKEM768: it stays secret from who records it today and has a quantum computer later."
          />
        ) : (
          <div className="stack">
            <Groups of={data} />
            <DataTable
              key={end}
              name={`handshakes-${end}`}
              rows={data[end]}
              columns={columns(end === 'callers' ? 'Caller' : 'Callee')}
              keyOf={({ principal }) => principal}
              order={{ key: 'classical', isDown: true }}
            >
              <SegmentedControl
                size="xs"
                aria-label="Which end"
                value={end}
                onChange={(value) => setEnd(value === 'callees' ? 'callees' : 'callers')}
                data={[
                  { value: 'callers', label: 'Callers' },
                  { value: 'callees', label: 'Callees' },
                ]}
              />
              {data.isCut ? <span className="dim">those with the most calls without</span> : null}
            </DataTable>
          </div>
        )
      }
    </Loaded>
  );
}

const kindOf = ({ isPostQuantum, group }: Answer['groups'][number]) =>
  isPostQuantum ? 'post-quantum' : group === 'unknown' ? 'not known' : 'classical';

const GROUPS: readonly Column<Answer['groups'][number]>[] = [
  { key: 'group', head: 'Group', value: ({ group }) => group, cell: ({ group }) => <code>{group}</code> },
  {
    key: 'kind',
    head: 'Kind',
    value: kindOf,
    cell: (of) => (
      <Mark is={of.isPostQuantum ? 'allowed' : of.group === 'unknown' ? 'unused' : 'would-deny'}>
        {kindOf(of)}
      </Mark>
    ),
  },
  {
    key: 'calls',
    head: 'Calls',
    value: ({ calls }) => calls,
    cell: ({ calls }) => number(calls),
    isNumber: true,
  },
  {
    key: 'pairs',
    head: 'Pairs',
    value: ({ pairs }) => pairs,
    cell: ({ pairs }) => number(pairs),
    isNumber: true,
  },
  { key: 'lastSeen', head: 'Last', value: ({ lastSeen }) => lastSeen, isTime: true },
];

function Groups({ of }: { readonly of: Answer }) {
  const { share, unknownShare, text } = coverageOf(of);
  const cannot = of.callers.filter((each) => abilityOf(each) === 'cannot').length;
  return (
    <section className="panel stack" style={{ gap: 8 }}>
      <div className="row spread">
        <h2>{text}</h2>
        <span className="row" style={{ columnGap: 14 }}>
          {cannot === 0 ? (
            <Mark is="allowed">no caller is classical only</Mark>
          ) : (
            <Mark is="would-deny">{counted(cannot, 'caller')} classical only</Mark>
          )}
          {unknownShare > 0 ? (
            <Mark is="unused">{number(of.unknown)} calls not known: an Envoy does not log the group</Mark>
          ) : null}
        </span>
      </div>
      <div className="bar" aria-hidden>
        <i style={{ width: `${share * 100}%` }} />
      </div>
      <DataTable
        name="groups"
        rows={of.groups}
        columns={GROUPS}
        keyOf={({ group }) => group}
        order={{ key: 'calls', isDown: true }}
        mostPx={260}
      />
    </section>
  );
}
