import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { type Column, DataTable } from '../parts/data-table.tsx';
import { LongId, Mark } from '../parts/marks.tsx';
import { Loaded } from '../parts/states.tsx';
import { number } from '../parts/words.ts';

type Answer = Received<'authorities.list'>;
type Authority = Answer['authorities'][number];

const liveOf = ({ live }: Authority) => Object.values(live).reduce((sum, n) => sum + n, 0);

const stateOf = (of: Authority) =>
  of.revokedAt !== undefined
    ? 'revoked'
    : of.taintedAt !== undefined
      ? `tainted: ${liveOf(of)} left to replace`
      : of.state === 'prepared' && !of.isConfirmed
        ? 'prepared, waits for agents'
        : of.state;

/** In the order of the answer: what an authority stands below comes before it. */
const COLUMNS: readonly Column<Authority>[] = [
  {
    key: 'name',
    head: 'Authority',
    value: ({ name }) => name,
    cell: ({ name, isRoot }) => (
      <span style={{ paddingLeft: isRoot ? 0 : 16 }}>
        {isRoot ? '' : '└ '}
        {name}
      </span>
    ),
  },
  {
    key: 'state',
    head: 'State',
    value: stateOf,
    cell: (of) =>
      of.revokedAt !== undefined ? (
        <Mark is="denied">{stateOf(of)}</Mark>
      ) : of.taintedAt !== undefined ? (
        <Mark is="would-deny">{stateOf(of)}</Mark>
      ) : (
        stateOf(of)
      ),
  },
  { key: 'key', head: 'Key', value: ({ key }) => key },
  {
    key: 'live',
    head: 'Live SVIDs',
    value: liveOf,
    cell: (of) => (
      <span
        title={Object.entries(of.live)
          .map(([kind, n]) => `${kind}: ${n}`)
          .join(', ')}
      >
        {number(liveOf(of))}
      </span>
    ),
    isNumber: true,
  },
  { key: 'notAfter', head: 'Ends', value: ({ notAfter }) => notAfter, isTime: true },
  { key: 'prefixes', head: 'Speaks for', value: ({ prefixes }) => prefixes?.join(', ') ?? 'everything' },
  {
    key: 'id',
    head: 'ID',
    value: ({ id }) => id,
    cell: ({ id }) => <LongId id={id} />,
  },
];

/** The tree: what is above this control plane, its authorities by name, and what each has live. */
export function Authorities() {
  const authorities = useQuery(read('authorities.list', {}));
  return (
    <Loaded of={authorities}>
      {(answer) => (
        <section className="panel">
          <div className="row spread">
            <h2>{rootText(answer)}</h2>
            {answer.agents > 0 ? (
              <Mark is="would-deny">{answer.agents} agents have not confirmed the newest bundles</Mark>
            ) : (
              <span className="dim">every agent has the newest bundles</span>
            )}
          </div>
          <DataTable
            name="authorities"
            rows={answer.authorities}
            columns={COLUMNS}
            keyOf={({ id }) => id}
            mostPx={320}
          />
          {answer.joined.map(({ name, address, trustDomain, fault }) => (
            <div key={name}>
              {name}: certified by {address} of {trustDomain}
              {fault === undefined ? '' : <Mark is="would-deny">{fault}</Mark>}
            </div>
          ))}
        </section>
      )}
    </Loaded>
  );
}

function rootText({ trustDomain, root, parent }: Answer): string {
  const above = {
    self: 'with its own root',
    offline: 'below an offline root',
    parent: `below ${parent ?? 'its parent'}`,
  };
  return `${trustDomain}, ${above[root]}`;
}
