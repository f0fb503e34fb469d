import { Mark, Sentence } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import type { WorkloadDetail } from './index.tsx';
import { usePreflight } from './readiness.ts';

interface Line {
  readonly name: string;
  readonly state: 'passed' | 'missing' | 'later';
  readonly have: string;
  readonly need?: string;
  readonly what?: string | undefined;
}

/** What a promotion still needs: the preflight, and the gates of the evidence. */
export function Checks({ of }: { readonly of: WorkloadDetail }) {
  const { checks, tier, readiness, error } = usePreflight(of.id);
  return (
    <div className="stack">
      {error === null ? null : <Problem error={error} />}
      {checks === undefined ? null : (
        <Lines
          title="Preflight"
          lines={checks.map((each) => ({
            name: each.check,
            state: each.state === 'passed' ? 'passed' : 'missing',
            have: each.have,
            what: each.state === 'passed' ? undefined : each.what,
          }))}
        />
      )}
      {tier === undefined ? (
        readiness.isPending ? null : (
          <section className="panel">
            <h2>Readiness</h2>
            <div className="dim">
              No evidence yet: {readiness.error?.message ?? 'nothing was seen of it.'}
            </div>
          </section>
        )
      ) : (
        <Lines
          title={`Gates for ${of.tier}`}
          lines={tier.gates.map((each) => ({
            name: each.gate,
            state: each.state,
            have: each.have,
            need: each.need,
            what: each.state === 'passed' ? undefined : each.what,
          }))}
        />
      )}
    </div>
  );
}

const MEANS = {
  passed: ['allowed', 'passed'],
  missing: ['would-deny', 'missing'],
  later: ['unused', 'later'],
} as const;

function Lines({ title, lines }: { readonly title: string; readonly lines: readonly Line[] }) {
  const missing = lines.filter(({ state }) => state === 'missing').length;
  return (
    <section className="panel">
      <div className="row spread">
        <h2>{title}</h2>
        <span>
          {missing === 0 ? <Mark is="allowed">ready</Mark> : <Mark is="would-deny">{missing} missing</Mark>}
        </span>
      </div>
      <table className="data lines">
        <tbody>
          {lines.map(({ name, state, have, need, what }) => {
            const [is, text] = MEANS[state];
            return (
              <tr key={name}>
                <td>{name.replace('-', ' ')}</td>
                <td>
                  <Mark is={is}>{text}</Mark>
                </td>
                <td className="what">
                  {have}
                  {need === undefined ? '' : <span className="dim"> (needs {need})</span>}
                  {what === undefined ? null : (
                    <div className="dim">
                      <Sentence text={what} />
                    </div>
                  )}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}
