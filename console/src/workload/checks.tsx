import { Link } from '@tanstack/react-router';
import { Mark, Sentence } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import type { WorkloadDetail } from './index.tsx';
import { Acknowledge } from './acknowledge.tsx';
import { type Check, missingOf, useGates } from './readiness.ts';

/** What a promotion still needs, check by check: the same that it would be refused for. */
export function Checks({ of }: { readonly of: WorkloadDetail }) {
  const { gates, error } = useGates(of.id);
  return (
    <div className="stack">
      {error === null ? null : <Problem error={error} />}
      {gates === undefined ? null : <Gates gates={gates} of={of} />}
      <Acknowledge workload={of.id} />
    </div>
  );
}

function Gates({ gates, of }: { readonly gates: readonly Check[]; readonly of: WorkloadDetail }) {
  const missing = missingOf(gates);
  const passed = gates.filter((each) => each.passed);
  return (
    <section className="panel">
      <div className="row spread">
        <h2>To deny for real: checks of tier {of.tier}</h2>
        <span>
          {missing.length === 0 ? (
            <Mark is="allowed">ready</Mark>
          ) : (
            <Mark is="would-deny">{missing.length} not passed</Mark>
          )}
        </span>
      </div>
      {missing.length === 0 ? null : <CheckLines checks={missing} workload={of.id} />}
      <details open={missing.length === 0}>
        <summary>{passed.length} passed</summary>
        <CheckLines checks={passed} workload={of.id} />
      </details>
    </section>
  );
}

/** Where in the console what a check asks for is done. */
const WHERE: Readonly<Partial<Record<Check['name'], 'review' | 'release'>>> = {
  policy: 'review',
  flips: 'review',
  doubts: 'review',
  approvals: 'review',
  drill: 'release',
};

/** Checks, each with what there is, what to do, and where. */
export function CheckLines({
  checks,
  workload,
}: {
  readonly checks: readonly Check[];
  readonly workload: string;
}) {
  return (
    <table className="data lines">
      <tbody>
        {checks.map(({ name, passed, reason, whatToDo }) => (
          <tr key={name}>
            <td>{name.replaceAll('-', ' ')}</td>
            <td>{passed ? <Mark is="allowed">passed</Mark> : <Mark is="would-deny">not passed</Mark>}</td>
            <td className="what">
              {reason}
              {whatToDo === undefined ? null : (
                <div className="dim">
                  <Sentence text={whatToDo} /> <There name={name} workload={workload} />
                </div>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function There({ name, workload }: { readonly name: Check['name']; readonly workload: string }) {
  const where = WHERE[name];
  if (where === undefined) return null;
  if (where === 'release') return <Link to="/release">Release</Link>;
  return (
    <Link to="/review/$workload" params={{ workload: workload.slice('spiffe://'.length) }}>
      Review
    </Link>
  );
}
