import { Count, IdLink, When } from '../parts/marks.tsx';
import { number } from '../parts/words.ts';
import type { WorkloadDetail } from './index.tsx';

/** Those at the other end, the busiest first. */
export function Neighbours({
  title,
  neighbours,
}: {
  readonly title: string;
  readonly neighbours: WorkloadDetail['calls'];
}) {
  return (
    <section className="panel">
      <h2>
        {title} {neighbours.length}
      </h2>
      {neighbours.length === 0 ? (
        <div className="dim">Nobody that is known.</div>
      ) : (
        <table className="data narrow">
          <thead>
            <tr>
              <th>Workload</th>
              <th className="num">Calls</th>
              <th className="num">Accesses</th>
              <th className="num">Denied</th>
              <th className="num">Would be denied</th>
              <th className="num">Plain text</th>
              <th className="num">Last</th>
            </tr>
          </thead>
          <tbody>
            {neighbours.map(({ principal, calls, accesses, denied, wouldDeny, plaintext, lastSeen }) => (
              <tr key={principal}>
                <td>
                  <IdLink id={principal} />
                </td>
                <td className="num">{number(calls)}</td>
                <td className="num">{accesses}</td>
                <td className="num">
                  <Count n={denied} is="denied" />
                </td>
                <td className="num">
                  <Count n={wouldDeny} is="would-deny" />
                </td>
                <td className="num">
                  <Count n={plaintext} is="plaintext" />
                </td>
                <td className="num">
                  <When at={lastSeen} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}
