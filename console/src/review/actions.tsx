import { Button } from '@mantine/core';
import { counted } from '../parts/words.ts';
import { effectOf, type Orders, type Review } from './items.ts';

interface Props {
  readonly review: Review;
  readonly orders: Orders;
  readonly chosen: number;
  readonly ordinary: readonly string[];
  readonly isPending: boolean;
  readonly mayDecide: boolean;
  readonly mayEdit: boolean;
  readonly onApprove: (ids: readonly string[]) => void;
  readonly onReject: () => void;
  readonly onDeny: () => void;
  readonly onEdit: () => void;
  readonly onAsk: () => void;
  readonly onClear: () => void;
}

/** What may be done with what is chosen, or with all that is ordinary; and what comes of it. */
export function Actions(props: Props) {
  const { review, orders, chosen, ordinary, isPending, mayDecide, mayEdit } = props;
  const hasAny = review.changes.length + review.questions.length > 0;
  const role = mayDecide ? undefined : 'needs the role approver';
  return (
    <div className="actions">
      {chosen === 0 && ordinary.length > 0 ? (
        <Button
          size="compact-sm"
          loading={isPending}
          disabled={!mayDecide}
          title={role}
          onClick={() => props.onApprove(ordinary)}
        >
          Approve {ordinary.length === 1 ? 'the ordinary one' : `all ${ordinary.length} ordinary`}
          <kbd>A</kbd>
        </Button>
      ) : null}
      {chosen > 0 ? (
        <>
          <Button
            size="compact-sm"
            loading={isPending}
            disabled={!mayDecide || orders.approve.length === 0}
            title={role}
            onClick={() => props.onApprove(orders.approve)}
          >
            Approve {orders.approve.length}
            <kbd>a</kbd>
          </Button>
          {orders.deny.length === 0 ? null : (
            <Button
              size="compact-sm"
              variant="default"
              disabled={!mayDecide}
              title={role}
              onClick={props.onDeny}
            >
              Deny {orders.deny.length}
              <kbd>d</kbd>
            </Button>
          )}
          <Button
            size="compact-sm"
            variant="default"
            disabled={!mayDecide}
            title={role}
            onClick={props.onReject}
          >
            Reject {orders.reject.length}
            <kbd>r</kbd>
          </Button>
          <Button size="compact-sm" variant="subtle" onClick={props.onClear}>
            Choose none
          </Button>
        </>
      ) : null}
      <Button
        size="compact-sm"
        variant="default"
        disabled={!mayEdit}
        title={mayEdit ? undefined : 'needs the role operator'}
        onClick={props.onEdit}
      >
        Edit
        <kbd>e</kbd>
      </Button>
      <Button size="compact-sm" variant="default" disabled={!mayDecide} title={role} onClick={props.onAsk}>
        Ask
        <kbd>c</kbd>
      </Button>
      <span className="dim">
        {!hasAny ? null : mayDecide ? effectOf(review) : 'You need the role approver to decide.'}
      </span>
      {review.bulk || !review.changes.some(({ doubt }) => doubt !== undefined) ? null : (
        <span className="dim">
          In tier {review.tier} {counted(review.counts.doubts, 'doubt')}{' '}
          {review.counts.doubts === 1 ? 'is' : 'are each'} decided alone, by an owner.
        </span>
      )}
    </div>
  );
}
