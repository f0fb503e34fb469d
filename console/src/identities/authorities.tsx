import { useQuery } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { Mark, When } from '../parts/marks.tsx';
import { Loaded } from '../parts/states.tsx';

type Answer = Received<'authorities.list'>;
type Authority = Answer['authorities'][number];

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
          <div className="scroll" tabIndex={0} role="region" aria-label="Authorities">
            <table className="data">
              <thead>
                <tr>
                  <th>Authority</th>
                  <th>State</th>
                  <th>Key</th>
                  <th className="num">Live SVIDs</th>
                  <th className="num">Ends</th>
                  <th>Speaks for</th>
                  <th>ID</th>
                </tr>
              </thead>
              <tbody>
                {answer.authorities.map((each) => (
                  <Row key={each.id} of={each} />
                ))}
              </tbody>
            </table>
          </div>
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

function Row({ of }: { readonly of: Authority }) {
  const { id, name, state, key, live, notAfter, prefixes, taintedAt, revokedAt, isRoot, isConfirmed } = of;
  const count = Object.values(live).reduce((sum, n) => sum + n, 0);
  return (
    <tr>
      <td style={{ paddingLeft: isRoot ? 8 : 24 }}>
        {isRoot ? '' : '└ '}
        {name}
      </td>
      <td>
        {revokedAt !== undefined ? (
          <Mark is="denied">revoked</Mark>
        ) : taintedAt !== undefined ? (
          <Mark is="would-deny">tainted: {count} left to replace</Mark>
        ) : (
          state
        )}
        {state === 'prepared' && !isConfirmed ? <span className="dim"> waits for agents</span> : null}
      </td>
      <td>{key}</td>
      <td
        className="num"
        title={Object.entries(live)
          .map(([kind, n]) => `${kind}: ${n}`)
          .join(', ')}
      >
        {count}
      </td>
      <td className="num">
        <When at={notAfter} />
      </td>
      <td className="break">{prefixes?.join(', ') ?? 'everything'}</td>
      <td>
        <code title={id}>{id.slice(0, 10)}</code>
      </td>
    </tr>
  );
}
