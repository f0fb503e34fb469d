import { Link } from '@tanstack/react-router';
import { Mark, Sentence } from '../parts/marks.tsx';
import { Problem } from '../parts/states.tsx';
import type { WorkloadDetail } from './index.tsx';
import { Acknowledge } from './acknowledge.tsx';
import { type Check, missingOf, useGates } from './readiness.ts';

/** What a promotion still needs, check by check: the same that it would be refused for. */
export function Checks({ of }: { readonly of: WorkloadDetail }) {
  const { gates, tier, tierReason, error } = useGates(of.id);
  return (
    <div className="stack">
      {error === null ? null : <Problem error={error} />}
      {gates === undefined ? null : <Gates gates={gates} of={of} tier={tier ?? of.tier} why={tierReason} />}
      <Acknowledge workload={of.id} />
    </div>
  );
}

interface GatesProps {
  readonly gates: readonly Check[];
  readonly of: WorkloadDetail;
  /** The tier that a promotion is judged by, and why it is not that of the policies. */
  readonly tier: string;
  readonly why: string | undefined;
}

function Gates({ gates, of, tier, why }: GatesProps) {
  const missing = missingOf(gates);
  const passed = gates.filter((each) => each.passed);
  return (
    <section className="panel">
      <div className="row spread">
        <h2>
          {of.stage === 'enforced' ? 'Enforced; to deny for real again' : 'To deny for real'}: checks of tier{' '}
          {tier}
        </h2>
        <span>
          {missing.length === 0 ? (
            <Mark is="allowed">ready</Mark>
          ) : (
            <Mark is="would-deny">{missing.length} not passed</Mark>
          )}
        </span>
      </div>
      {why === undefined ? null : (
        <div className="dim">
          <Sentence text={why} />
        </div>
      )}
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
    <ul className="checks">
      {checks.map(({ name, passed, reason, whatToDo }) => (
        <li key={name}>
          <span>{name.replaceAll('-', ' ')}</span>
          <span>{passed ? <Mark is="allowed">passed</Mark> : <Mark is="would-deny">not passed</Mark>}</span>
          <div className="break">
            {reason}
            {whatToDo === undefined ? null : (
              <div className="dim">
                <Sentence text={whatToDo} /> <There name={name} workload={workload} />
              </div>
            )}
          </div>
        </li>
      ))}
    </ul>
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
