import { Button } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { Id, Mark, Sentence, Stage, When } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import { approvalText, type Review } from './items.ts';

interface Props {
  readonly review: Review;
  readonly who: string;
  readonly mayApprove: boolean;
  readonly isPending: boolean;
  readonly onApproveTarget: () => void;
}

/** Whose review it is, how far it has come, and who has approved the target that stands. */
export function ReviewHead({ review, who, mayApprove, isPending, onApproveTarget }: Props) {
  const { workload, stage, tier, tierReason, owners, since, lastDecision } = review;
  return (
    <section className="panel stack tight">
      <div className="row spread">
        <h2>
          <Link to="/workloads/$workload" params={{ workload: workload.slice('spiffe://'.length) }}>
            <Id id={workload} />
          </Link>
        </h2>
        <div className="row" style={{ columnGap: 18 }}>
          <Stage stage={stage} />
          <span>
            <span className="dim">tier</span> {tier}
          </span>
          <span className="break">
            <span className="dim">owners</span> {owners.length === 0 ? 'nobody is known' : owners.join(', ')}
          </span>
          {since === undefined ? null : (
            <span>
              <span className="dim">opened</span> <When at={since} />
            </span>
          )}
        </div>
      </div>
      <Approvals
        review={review}
        who={who}
        mayApprove={mayApprove}
        isPending={isPending}
        onApproveTarget={onApproveTarget}
      />
      {tierReason === undefined ? null : (
        <div className="dim break">
          <Sentence text={tierReason} />
        </div>
      )}
      {lastDecision === undefined ? null : (
        <div className="dim break">
          Last: {lastDecision.who} {lastDecision.what}, <When at={lastDecision.at} />
        </div>
      )}
    </section>
  );
}

function Approvals({ review, who, mayApprove, isPending, onApproveTarget }: Props) {
  const { approvals, policies, stage } = review;
  const { need, by, authors } = approvals;
  const rules = policies.reduce((sum, { spec }) => sum + spec.rules.length + spec.deny.length, 0);
  if (policies.length === 0) return <div>No policy protects it yet: there is no target.</div>;
  const { missing } = approvalText(review);
  const mine = by.some((each) => each.who === who);
  return (
    <div className="row approvals">
      <span>Target of {counted(rules, 'rule')}:</span>
      {stage === 'enforced' ? <Mark is="allowed">in force</Mark> : null}
      {by.length === 0 && stage !== 'enforced' && need > 0 ? <span>approved by nobody</span> : null}
      {by.map((each) => (
        <Mark is="allowed" key={each.who}>
          approved by {each.who === who ? 'you' : each.who}, <When at={each.at} />
        </Mark>
      ))}
      {authors.map((name) => (
        <span key={name} className="dim">
          {name === who ? 'yours' : `${name}'s`} does not count: the target is partly theirs
        </span>
      ))}
      {missing === undefined ? null : <Mark is="would-deny">{missing}</Mark>}
      {missing === undefined || mine || !mayApprove ? null : (
        <Button size="compact-xs" variant="default" loading={isPending} onClick={onApproveTarget}>
          Approve the target as it is
        </Button>
      )}
    </div>
  );
}
