import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { read } from '../api/query.ts';
import { useMay } from '../app/me.ts';
import { useDecide } from './decide.ts';
import type { Asked } from './dialogs.tsx';
import { drafts } from './drafts.ts';
import type { OnDo } from './item.tsx';
import {
  approvalText,
  isOrdinary,
  ordersOf,
  type Review,
  secondLook,
  sectionsOf,
  turned,
  whatChanged,
} from './items.ts';
import { useShown } from './sections.tsx';

/** Everything that a person has before them in one review: what is chosen, asked and typed, and what may be done. */
export type Desk = ReturnType<typeof useDesk>;

export function useDesk(review: Review) {
  const may = useMay();
  const me = useQuery(read('me.get', {})).data?.who ?? '';
  const [mayDecide, mayEdit] = [may('reviews.approve'), may('reviews.edit')];
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set());
  const [filter, setFilter] = useState('');
  const [asked, setAsked] = useState<Asked>();
  const [isEditing, setEditing] = useState(() => mayEdit && drafts.has(review.workload));
  // What was looked at last: what others have decided since is said.
  const [seen, setSeen] = useState(review);
  const sections = useMemo(() => sectionsOf(review, filter), [review, filter]);
  const shown = useShown(sections);
  const { forget, ...deciding } = useDecide(review, (after, deed) => {
    setSeen(after);
    setAsked(undefined);
    if (deed.does === 'edit') {
      drafts.delete(review.workload);
      setEditing(false);
    } else if (deed.does !== 'ask') setChosen(new Set());
  });
  const ask = (next: Asked | undefined) => {
    forget();
    setAsked(next);
  };
  const approve = (ids: readonly string[]) => {
    if (!mayDecide || ids.length === 0) return;
    forget();
    if (secondLook(review, ids).length > 0) setAsked({ kind: 'approve', ids });
    else deciding.decide({ does: 'approve', changes: ids });
  };
  // Without a choice it is about the one that somebody is at.
  const about = chosen.size > 0 ? chosen : new Set(shown.current === undefined ? [] : [shown.current]);
  const askAbout = (kind: 'reject' | 'deny') => {
    const ids = ordersOf(review, about)[kind];
    if (mayDecide && ids.length > 0) ask({ kind, ids });
  };
  const doAlone: OnDo = (does, id) => {
    if (does === 'approve') approve(ordersOf(review, new Set([id])).approve);
    else if (does === 'ask') ask({ kind: 'ask', about: id });
    else ask({ kind: does, ids: [id] });
  };
  // Of what the filter leaves: nobody approves by one key what they do not look at.
  const ordinary = sections.flatMap(({ items }) =>
    items.flatMap((item) => (item.is === 'change' && isOrdinary(item.change) ? [item.id] : [])),
  );
  const isEmpty = review.changes.length + review.questions.length === 0;
  // Nothing but an approval of the target as it is, which stands open on the page then.
  const lacksMe =
    isEmpty &&
    mayDecide &&
    approvalText(review).missing !== undefined &&
    review.approvals.by.every((each) => each.who !== me);
  const others = seen.lastDecision?.at === review.lastDecision?.at ? [] : whatChanged(seen, review);
  return {
    ...deciding,
    me,
    mayDecide,
    mayEdit,
    chosen,
    choose: setChosen,
    turn: (id: string) => setChosen((now) => turned(now, id, review)),
    orders: ordersOf(review, chosen),
    about: ordersOf(review, about),
    ordinary,
    filter,
    setFilter,
    shown,
    asked,
    ask,
    askAbout,
    approve,
    doAlone,
    isEditing: isEditing && mayEdit,
    setEditing,
    isEmpty,
    lacksMe,
    approveTarget: () => deciding.decide({ does: 'approve', changes: [] }),
    /** What others have decided since, as sentences. */
    others,
    /** Heard by the stream, or from the control plane when it was tried: for who has a dialog open it is the same. */
    late: deciding.tooLate ?? (others.length === 0 ? undefined : { before: seen, message: '' }),
    markSeen: () => {
      setSeen(review);
      forget();
    },
  };
}
