import { Button, Modal, Textarea } from '@mantine/core';
import { useState } from 'react';
import { Sentence } from '../parts/marks.tsx';
import { counted } from '../parts/words.ts';
import type { TooLate } from './decide.ts';
import { effectOf, ordersOf, type Review, secondLook, whatChanged } from './items.ts';

/** What is asked before a decision is made. `ids` are what it was opened with; what is open of it is decided. */
export type Asked =
  | { readonly kind: 'approve'; readonly ids: readonly string[] }
  | { readonly kind: 'reject' | 'deny'; readonly ids: readonly string[] }
  | { readonly kind: 'ask'; readonly about?: string };

interface Props {
  readonly asked: Asked | undefined;
  readonly review: Review;
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly tooLate: TooLate | undefined;
  readonly onClose: () => void;
  readonly onApprove: (changes: readonly string[]) => void;
  readonly onReject: (items: readonly string[], reason: string) => void;
  readonly onDeny: (questions: readonly string[], reason: string) => void;
  readonly onAsk: (text: string, about: string | undefined) => void;
}

/** The dialogs of a review: a second look where it matters, a reason where one is kept. */
export function Dialogs(props: Props) {
  const { asked, onClose } = props;
  return (
    <Modal
      opened={asked !== undefined}
      onClose={onClose}
      title={asked === undefined ? '' : TITLES[asked.kind]}
      lockScroll={false}
      size="lg"
      transitionProps={{ duration: 0 }}
    >
      {asked === undefined ? null : asked.kind === 'approve' ? (
        <Look {...props} ids={asked.ids} />
      ) : asked.kind === 'ask' ? (
        <Ask {...props} about={asked.about} />
      ) : (
        <Reason {...props} ids={asked.ids} kind={asked.kind} />
      )}
    </Modal>
  );
}

const TITLES: Readonly<Record<Asked['kind'], string>> = {
  approve: 'Approve',
  reject: 'Reject',
  deny: 'Deny on purpose',
  ask: 'Ask, or comment',
};

function Look({
  review,
  ids,
  isPending,
  error,
  tooLate,
  onClose,
  onApprove,
}: Props & { readonly ids: readonly string[] }) {
  const changes = ordersOf(review, new Set(ids)).approve;
  return (
    <div className="stack">
      <Late tooLate={tooLate} review={review} />
      <Refused error={error} />
      {secondLook(review, changes).map((each) => (
        <div key={each}>{each}</div>
      ))}
      <Names review={review} ids={changes} />
      <div className="dim">{effectOf(review)}</div>
      <div className="row">
        <Button
          data-autofocus
          loading={isPending}
          disabled={changes.length === 0}
          onClick={() => onApprove(changes)}
        >
          Approve {counted(changes.length, 'change')}
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </div>
  );
}

function Reason({
  review,
  ids,
  kind,
  isPending,
  error,
  tooLate,
  onClose,
  onReject,
  onDeny,
}: Props & { readonly ids: readonly string[]; readonly kind: 'reject' | 'deny' }) {
  const [reason, setReason] = useState('');
  const left = ordersOf(review, new Set(ids))[kind];
  const go = () => (kind === 'reject' ? onReject(left, reason.trim()) : onDeny(left, reason.trim()));
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        go();
      }}
    >
      <Late tooLate={tooLate} review={review} />
      <Refused error={error} />
      <div>
        {kind === 'reject'
          ? 'What is rejected is not asked again before it rests on materially more.'
          : 'A rule of the target says so: it counts as meant, and holds no promotion up.'}
      </div>
      <Names review={review} ids={left} />
      <Text label="Reason" value={reason} onChange={setReason} />
      <div className="row">
        <Button
          type="submit"
          color="red"
          loading={isPending}
          disabled={left.length === 0 || reason.trim() === ''}
        >
          {kind === 'reject' ? 'Reject' : 'Deny'} {left.length}
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

function Ask({
  review,
  about,
  isPending,
  error,
  tooLate,
  onClose,
  onAsk,
}: Props & { readonly about: string | undefined }) {
  const [text, setText] = useState('');
  const { owners } = review;
  const isOpen = about === undefined || ordersOf(review, new Set([about])).reject.length > 0;
  return (
    <form
      className="stack"
      onSubmit={(event) => {
        event.preventDefault();
        onAsk(text.trim(), isOpen ? about : undefined);
      }}
    >
      <Late tooLate={tooLate} review={review} />
      <Refused error={error} />
      {about === undefined ? null : <Names review={review} ids={[about]} />}
      <div className="dim">
        {owners.length === 0
          ? 'Nobody is known to own it. Who looks at this review sees it.'
          : `For ${owners.join(', ')}.`}
      </div>
      <Text label="Comment" value={text} onChange={setText} most={4000} />
      <div className="row">
        <Button type="submit" loading={isPending} disabled={text.trim() === ''}>
          Send
        </Button>
        <Button variant="default" onClick={onClose}>
          Cancel
        </Button>
      </div>
    </form>
  );
}

interface TextProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (text: string) => void;
  readonly most?: number;
}

/** A text that Ctrl+Enter sends as well. */
function Text({ label, value, onChange, most = 1000 }: TextProps) {
  return (
    <Textarea
      data-autofocus
      required
      autosize
      minRows={2}
      maxRows={10}
      label={label}
      value={value}
      maxLength={most}
      onChange={(event) => onChange(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey))
          event.currentTarget.form?.requestSubmit();
      }}
    />
  );
}

const MOST_NAMES = 8;

/** What it is about, by name. */
function Names({ review, ids }: { readonly review: Review; readonly ids: readonly string[] }) {
  const names = new Map<string, string>([
    ...review.changes.map(({ id, rule, of }) => [id, of?.rule ?? rule.name] as const),
    ...review.questions.map(({ id, from, text }) => [id, `${from} ${text}`] as const),
  ]);
  const open = ids.filter((id) => names.has(id));
  if (open.length === 0) return <div className="dim">None of it is open any more.</div>;
  return (
    <ul style={{ margin: 0, paddingLeft: 18 }} className="break">
      {open.slice(0, MOST_NAMES).map((id) => (
        <li key={id}>{names.get(id)}</li>
      ))}
      {open.length > MOST_NAMES ? <li>and {open.length - MOST_NAMES} more</li> : null}
    </ul>
  );
}

/** Why the control plane did not do it, in its words. */
export function Refused({ error }: { readonly error: Error | null }) {
  if (error === null) return null;
  return (
    <div className="banner" role="alert" style={{ margin: 0 }}>
      <span className="break">
        <Sentence text={error.message} />
      </span>
    </div>
  );
}

/** Somebody was faster: what is different now. What was typed and chosen stays. */
export function Late({
  tooLate,
  review,
  onSeen,
}: {
  readonly tooLate: TooLate | undefined;
  readonly review: Review;
  readonly onSeen?: () => void;
}) {
  if (tooLate === undefined) return null;
  const sentences = whatChanged(tooLate.before, review);
  return (
    <div className="banner quiet" role="alert" style={{ margin: 0 }}>
      <strong>Somebody was faster.</strong>
      <span className="break">
        {sentences.length === 0 ? tooLate.message : sentences.join(' ')} Nothing of yours was done. Look, then
        decide again.
      </span>
      {onSeen === undefined ? null : (
        <Button size="compact-xs" variant="default" onClick={onSeen}>
          Seen
        </Button>
      )}
    </div>
  );
}
