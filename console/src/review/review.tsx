import { Button, TextInput } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { read } from '../api/query.ts';
import { Empty, Loaded } from '../parts/states.tsx';
import { counted } from '../parts/words.ts';
import { Actions } from './actions.tsx';
import { Comments } from './comments.tsx';
import { type Desk, useDesk } from './desk.ts';
import { Dialogs, Late, Refused } from './dialogs.tsx';
import { Editor } from './editor.tsx';
import { ReviewHead } from './head.tsx';
import type { Review } from './items.ts';
import { usePageKeys } from './keys.ts';
import { Sections } from './sections.tsx';

/** From so many things on there is a box to filter them by. */
const MANY = 8;

interface Props {
  readonly workload: string;
  /** To the next workload of the queue, and to the one before; absent where there is none. */
  readonly onNext: (() => void) | undefined;
  readonly onBefore: (() => void) | undefined;
}

interface OnDesk {
  readonly review: Review;
  readonly desk: Desk;
}

/** What waits about one workload, and what may be done about it. */
export function ReviewOf(props: Props) {
  const review = useQuery(read('reviews.get', { params: { workload: props.workload } }));
  return <Loaded of={review}>{(data) => <Deciding {...props} review={data} />}</Loaded>;
}

function Deciding({ review, onNext, onBefore }: Props & { readonly review: Review }) {
  const desk = useDesk(review);
  const { shown, mayDecide, mayEdit } = desk;
  usePageKeys({
    j: () => shown.move(1),
    k: () => shown.move(-1),
    x: () => mayDecide && shown.current !== undefined && desk.turn(shown.current),
    a: () => (desk.lacksMe ? desk.approveTarget() : desk.approve(desk.about.approve)),
    A: () => desk.approve(desk.ordinary),
    r: () => desk.askAbout('reject'),
    d: () => desk.askAbout('deny'),
    e: () => mayEdit && desk.setEditing(true),
    c: () => mayDecide && desk.ask({ kind: 'ask' }),
    n: onNext,
    p: onBefore,
  });
  return (
    <div className="stack">
      <ReviewHead
        review={review}
        who={desk.me}
        mayApprove={mayDecide}
        isPending={desk.isPending}
        onApproveTarget={desk.approveTarget}
      />
      <News review={review} desk={desk} />
      {desk.isEditing ? (
        <Editor
          review={review}
          isPending={desk.isPending}
          error={desk.error}
          onSave={(yaml, target) => desk.decide({ does: 'edit', yaml, target })}
          onClose={() => desk.setEditing(false)}
        />
      ) : null}
      <Actions
        review={review}
        orders={desk.orders}
        chosen={desk.chosen.size}
        ordinary={desk.ordinary}
        isPending={desk.isPending}
        mayDecide={mayDecide}
        mayEdit={mayEdit}
        onApprove={desk.approve}
        onReject={() => desk.askAbout('reject')}
        onDeny={() => desk.askAbout('deny')}
        onEdit={() => desk.setEditing(true)}
        onAsk={() => desk.ask({ kind: 'ask' })}
        onClear={() => desk.choose(new Set())}
      />
      {desk.isEmpty ? (
        <NothingWaits review={review} onNext={onNext} />
      ) : (
        <Waits review={review} desk={desk} />
      )}
      <Unchanged review={review} isOpen={desk.lacksMe} />
      <Comments review={review} onAsk={mayDecide ? () => desk.ask({ kind: 'ask' }) : undefined} />
      <Dialogs
        asked={desk.asked}
        review={review}
        isPending={desk.isPending}
        error={desk.error}
        tooLate={desk.late}
        onClose={() => desk.ask(undefined)}
        onApprove={(changes) => desk.decide({ does: 'approve', changes })}
        onReject={(items, reason) => desk.decide({ does: 'reject', items, reason })}
        onDeny={(questions, reason) => desk.decide({ does: 'deny', questions, reason })}
        onAsk={(text, about) => desk.decide({ does: 'ask', text, about })}
      />
    </div>
  );
}

/** What others have done meanwhile, that somebody was faster, and what was refused. A dialog says it by itself. */
function News({ review, desk: { asked, isEditing, others, tooLate, error, markSeen } }: OnDesk) {
  return (
    <>
      {others.length === 0 || tooLate !== undefined ? null : (
        <div className="banner quiet" role="status" style={{ margin: 0 }}>
          <span className="break">{others.join(' ')}</span>
          <Button size="compact-xs" variant="default" onClick={markSeen}>
            Seen
          </Button>
        </div>
      )}
      {asked === undefined ? <Late tooLate={tooLate} review={review} onSeen={markSeen} /> : null}
      {asked !== undefined || isEditing ? null : <Refused error={error} />}
    </>
  );
}

/** All that is to be decided. */
function Waits({ review, desk }: OnDesk) {
  return (
    <>
      {review.changes.length + review.questions.length > MANY ? (
        <TextInput
          size="xs"
          maw={320}
          placeholder="Filter by caller, path, reason"
          aria-label="Filter what waits"
          value={desk.filter}
          onChange={(event) => desk.setFilter(event.currentTarget.value)}
        />
      ) : null}
      <Sections
        shown={desk.shown}
        review={review}
        chosen={desk.chosen}
        mayChoose={desk.mayDecide}
        onTurn={desk.turn}
        onChoose={desk.choose}
        onDo={desk.doAlone}
      />
      {review.isCut ? (
        <div className="dim">
          There are more changes than are shown: decide these, or edit the target so that a rule covers more
          of them.
        </div>
      ) : null}
    </>
  );
}

/** All is decided here: what comes next. */
function NothingWaits({
  review: { workload, policies, stage },
  onNext,
}: {
  readonly review: Review;
  readonly onNext: (() => void) | undefined;
}) {
  if (policies.length === 0)
    return (
      <Empty
        what="No rule is proposed for it."
        todo="Proposals are made of what was observed and declared."
      />
    );
  return (
    <Empty
      what="Nothing to decide here."
      todo={
        <span className="row">
          <Link to="/workloads/$workload" params={{ workload: workload.slice('spiffe://'.length) }}>
            {stage === 'enforced' ? 'See it' : 'Promote the target'}
          </Link>
          {onNext === undefined ? null : (
            <Button size="compact-xs" variant="default" onClick={onNext}>
              Next workload
            </Button>
          )}
        </span>
      }
    />
  );
}

/** What the target allows and denies already, where somebody wants to see it. */
function Unchanged({
  review: { policies, yaml },
  isOpen,
}: {
  readonly review: Review;
  readonly isOpen: boolean;
}) {
  if (policies.length === 0) return null;
  const rules = policies.reduce((sum, { spec }) => sum + spec.rules.length + spec.deny.length, 0);
  return (
    <details className="panel" open={isOpen}>
      <summary>The target as it is: {counted(rules, 'rule')}</summary>
      <pre className="code" style={{ marginTop: 8 }}>
        {yaml}
      </pre>
    </details>
  );
}
