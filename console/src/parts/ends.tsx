import { useQuery } from '@tanstack/react-query';
import { useMemo } from 'react';
import type { Received } from '../../../src/api/index.ts';
import { read } from '../api/query.ts';
import { Mark, When } from './marks.tsx';
import { useNow } from './now.ts';

type Exception = Received<'exceptions.list'>['exceptions'][number];

interface Verdict {
  readonly allowed: boolean;
  readonly policy?: string | undefined;
  readonly rule?: string | undefined;
}

const keyOf = (workload: string, policy = '', rule = '') => `${workload}\n${policy}\n${rule}`;

/** The exception that allows an access, where one does: by its callee and verdict. */
export type EndsOf = (callee: string, verdict: Verdict | undefined) => Exception | undefined;

/** Which accesses are allowed by a rule that ends by itself. */
export function useEnds(): EndsOf {
  const { data } = useQuery(read('exceptions.list', { query: { limit: 10_000 } }));
  const byRule = useMemo(
    () =>
      new Map(data?.exceptions.map((each) => [keyOf(each.workload, each.policy, each.rule), each] as const)),
    [data],
  );
  return (callee, verdict) =>
    verdict?.allowed === true && verdict.rule !== undefined
      ? byRule.get(keyOf(callee, verdict.policy, verdict.rule))
      : undefined;
}

/** An end so near is pointed out, milliseconds. */
const SOON_MS = 7 * 86_400_000;

/** That an exception ends by itself: when, or since when it is as if it were not there. */
export function Ends({ at, reason }: { readonly at: number; readonly reason?: string | undefined }) {
  const now = useNow();
  return at > now ? (
    <span title={reason}>
      <Mark is={at - now < SOON_MS ? 'would-deny' : 'fresh'}>
        exception, ends <When at={at} />
      </Mark>
    </span>
  ) : (
    <span title={reason}>
      <Mark is="denied">
        ended <When at={at} />: it allows nothing any more
      </Mark>
    </span>
  );
}
