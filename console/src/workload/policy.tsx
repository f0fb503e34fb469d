import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { Received } from '../../../src/api/index.ts';
import { policiesOf, read } from '../api/query.ts';
import { HeatStrip } from '../parts/heat-strip.tsx';
import { Mark } from '../parts/marks.tsx';
import { RuleText } from '../parts/rule.tsx';
import { Empty, Loaded } from '../parts/states.tsx';
import { counted, number } from '../parts/words.ts';

type PolicyShown = Received<'policies.list'>['policies'][number];
export type RuleEvidence = Received<'proposals.get'>['rules'][number];

/** The policies of a workload as rules, each with what it rests on. */
export function Policy({ workload }: { readonly workload: string }) {
  const policies = useQuery(policiesOf(workload));
  const proposal = useQuery(read('proposals.get', { params: { workload } }));
  const path = workload.slice('spiffe://'.length);
  return (
    <Loaded of={policies}>
      {({ policies: all }) =>
        all.length === 0 ? (
          <Empty
            what="No policy protects it."
            todo={
              <Link to="/review/$workload" params={{ workload: path }}>
                Review what its evidence proposes
              </Link>
            }
            command={`interlock propose --to ${workload} --out policies\ninterlock policy apply policies`}
          />
        ) : (
          <div className="stack">
            {all.map((policy) => (
              <Document
                key={`${policy.name} ${policy.sets.join()}`}
                policy={policy}
                evidence={proposal.data?.rules ?? []}
              />
            ))}
          </div>
        )
      }
    </Loaded>
  );
}

function Document({
  policy,
  evidence,
}: {
  readonly policy: PolicyShown;
  readonly evidence: readonly RuleEvidence[];
}) {
  const { name, sets, document } = policy;
  const { rules, deny, tier } = document.spec;
  return (
    <section className="panel">
      <div className="row spread">
        <h2>{name}</h2>
        <span className="dim">
          {sets.map((set) => (set === 'enforced' ? 'in force' : 'target')).join(', ')}; tier {tier};{' '}
          {counted(rules.length, 'rule')}
        </span>
      </div>
      {deny.map((rule) => (
        <div className="rule plain" key={`deny ${rule.name}`}>
          <div>
            <Mark is="denied">denies</Mark> <strong>{rule.name}</strong>
            <RuleText rule={rule} />
          </div>
          <span />
        </div>
      ))}
      {rules.map((rule) => (
        <div className="rule plain" key={rule.name}>
          <div>
            <strong>{rule.name}</strong>
            <RuleText rule={rule} />
          </div>
          <Evidence of={evidence.find((each) => each.rule === rule.name)} />
        </div>
      ))}
      {rules.length === 0 ? (
        <div className="dim">No rule: everything is denied once it is enforced.</div>
      ) : null}
    </section>
  );
}

/** What a rule rests on. */
export function Evidence({ of }: { readonly of: RuleEvidence | undefined }) {
  if (of === undefined) return <span className="dim heat">No evidence of today's names it.</span>;
  return (
    <div className="heat">
      <div className="row" style={{ columnGap: 12, fontSize: 12 }}>
        <span>{counted(of.count, 'call')}</span>
        <span>{counted(of.accesses, 'access', 'accesses')}</span>
        <span>{counted(of.instances.length, 'instance')}</span>
        <span className="dim">{number(of.hoursOfWeek.filter((n) => n > 0).length)} of 168 hours</span>
      </div>
      <HeatStrip hours={of.hoursOfWeek} />
    </div>
  );
}
