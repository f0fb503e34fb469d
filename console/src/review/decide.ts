import { notifications } from '@mantine/notifications';
import { useMutation } from '@tanstack/react-query';
import { useState } from 'react';
import { call, Refusal } from '../api/client.ts';
import { queryClient, read } from '../api/query.ts';
import { counted } from '../parts/words.ts';
import type { Review } from './items.ts';

/** One decision about what is shown. */
export type Deed =
  | { readonly does: 'approve'; readonly changes: readonly string[] }
  | { readonly does: 'reject'; readonly items: readonly string[]; readonly reason: string }
  | { readonly does: 'deny'; readonly questions: readonly string[]; readonly reason: string }
  | { readonly does: 'edit'; readonly yaml: string; readonly target: string }
  | { readonly does: 'ask'; readonly text: string; readonly about?: string | undefined };

/** Somebody was faster: what was decided on, and what the control plane says. */
export interface TooLate {
  readonly before: Review;
  readonly message: string;
}

function send(review: Review, deed: Deed): Promise<Review> {
  const params = { workload: review.workload };
  const { target } = review;
  switch (deed.does) {
    case 'approve':
      return call('reviews.approve', { params, body: { target, changes: deed.changes } });
    case 'reject':
      return call('reviews.reject', { params, body: { target, items: deed.items, reason: deed.reason } });
    case 'deny':
      return call('reviews.deny', {
        params,
        body: { target, questions: deed.questions, reason: deed.reason },
      });
    case 'edit':
      return call('reviews.edit', {
        params,
        body: { target: deed.target, yaml: deed.yaml, file: 'the text' },
      });
    case 'ask':
      return call('reviews.ask', {
        params,
        body: { text: deed.text, ...(deed.about === undefined ? {} : { about: deed.about }) },
      });
  }
}

function doneText(deed: Deed, { policies, stage }: Review): string | undefined {
  const rules = policies.reduce((sum, { spec }) => sum + spec.rules.length + spec.deny.length, 0);
  const target = `The target has ${counted(rules, 'rule')}, in ${stage ?? 'draft'}.`;
  switch (deed.does) {
    case 'approve':
      return deed.changes.length === 0
        ? 'The target is approved by you.'
        : `Approved ${counted(deed.changes.length, 'change')}. ${target}`;
    case 'reject':
      return `Rejected ${deed.items.length}. Asked again when it rests on materially more.`;
    case 'deny':
      return `Denied ${counted(deed.questions.length, 'access', 'accesses')} on purpose. ${target}`;
    case 'edit':
      return `Saved. ${target}`;
    case 'ask':
      return undefined;
  }
}

/** Decides about a review. What was refused is kept until the next try, and what was typed is the caller's to keep. */
export function useDecide(review: Review, onDone: (after: Review, deed: Deed) => void) {
  const [tooLate, setTooLate] = useState<TooLate>();
  const { mutate, isPending, error, reset } = useMutation<
    Review,
    Error,
    { readonly deed: Deed; readonly before: Review }
  >({
    mutationFn: ({ deed, before }) => send(before, deed),
    onSuccess: (after, { deed }) => {
      setTooLate(undefined);
      queryClient.setQueryData(
        read('reviews.get', { params: { workload: review.workload } }).queryKey,
        after,
      );
      const message = doneText(deed, after);
      if (message !== undefined) notifications.show({ message, autoClose: 5000 });
      onDone(after, deed);
    },
    onError: (failure, { before }) => {
      if (failure instanceof Refusal && failure.code === 'conflict')
        setTooLate({ before, message: failure.message });
    },
    onSettled: () =>
      void queryClient.invalidateQueries({
        predicate: ({ queryKey: [key] }) => key !== 'me.get' && key !== 'changes.follow',
      }),
  });
  const isConflict = error instanceof Refusal && error.code === 'conflict';
  return {
    decide: (deed: Deed): void => {
      // A key that is pressed twice decides once.
      if (!isPending) mutate({ deed, before: review });
    },
    isPending,
    /** Why the last try was refused, where it was not that somebody was faster. */
    error: isConflict ? null : error,
    tooLate,
    forget: () => {
      setTooLate(undefined);
      reset();
    },
  };
}
