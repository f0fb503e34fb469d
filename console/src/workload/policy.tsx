import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { Received } from '../../../src/api/index.ts';
import { policiesOf, read } from '../api/query.ts';
import { Ends } from '../parts/ends.tsx';
import { HeatStrip } from '../parts/heat-strip.tsx';
import { LongId, Mark, When } from '../parts/marks.tsx';
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
            {all.some(({ sets }) => sets.includes('target')) ? (
              <div className="dim">
                To change it by hand, edit the target in its{' '}
                <Link to="/review/$workload" params={{ workload: path }}>
                  review
                </Link>
                .
              </div>
            ) : null}
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
          {counted(rules.length + deny.length, 'rule')}
        </span>
      </div>
      <OriginText origin={policy.origin} />
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
            <div className="row">
              <strong>{rule.name}</strong>
              {rule.until === undefined ? null : <Ends at={Date.parse(rule.until)} reason={rule.reason} />}
            </div>
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

/** Where a policy is kept, where that is not here. */
function OriginText({ origin }: { readonly origin: PolicyShown['origin'] | undefined }) {
  if (origin === undefined) return null;
  const { source, file, commit, branch, by, at, authors, authorsCut, changedSince } = origin;
  const people = `${authors.map(nameOfAuthor).join(', ')}${authorsCut === true ? ' and others' : ''}`;
  return (
    <div className="dim break">
      From Git: {source}
      {file === '' ? '' : `/${file}`}
      {commit === undefined ? null : (
        <>
          {' '}
          at commit <LongId id={commit} />
        </>
      )}
      {branch === undefined ? '' : ` of ${branch}`}
      {authors.length === 0 ? '' : `, written by ${people}`}; synced <When at={at} /> by {by}.{' '}
      {changedSince === true ? (
        <Mark is="would-deny">changed here since: the next sync takes it back</Mark>
      ) : (
        'Change it there.'
      )}
    </div>
  );
}

const nameOfAuthor = (author: string) => author.replace(/^git:/, '');

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
