import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { SegmentedControl } from '@mantine/core';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { Count, IdLink, Mark, When } from '../parts/marks.tsx';
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
    cell: ({ lastClassical }) => <When at={lastClassical} />,
    isNumber: true,
  },
  {
    key: 'lastPostQuantum',
    head: 'Last with',
    value: ({ lastPostQuantum }) => lastPostQuantum,
    cell: ({ lastPostQuantum }) => <When at={lastPostQuantum} />,
    isNumber: true,
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
      <table className="data">
        <thead>
          <tr>
            <th>Group</th>
            <th>Kind</th>
            <th className="num">Calls</th>
            <th className="num">Pairs</th>
            <th className="num">Last</th>
          </tr>
        </thead>
        <tbody>
          {of.groups.map(({ group, isPostQuantum, calls, pairs, lastSeen }) => (
            <tr key={group}>
              <td>
                <code>{group}</code>
              </td>
              <td>
                {isPostQuantum ? (
                  <Mark is="allowed">post-quantum</Mark>
                ) : group === 'unknown' ? (
                  <Mark is="unused">not known</Mark>
                ) : (
                  <Mark is="would-deny">classical</Mark>
                )}
              </td>
              <td className="num">{number(calls)}</td>
              <td className="num">{number(pairs)}</td>
              <td className="num">
                <When at={lastSeen} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
