import { useQuery } from '@tanstack/react-query';
import { useCallback, useEffect, useState } from 'react';
import { call } from '../api/client.ts';
import { read } from '../api/query.ts';
import { type AuditFilter, type Held, queryOf, withNewest, withOlder } from './entries.ts';

/** The log from its newest entry on, as far as somebody has looked back; new entries come by themselves. */
export function useAudit(filter: AuditFilter) {
  const name = JSON.stringify(filter);
  const newest = useQuery(read('audit.list', { query: queryOf(filter) }));
  const [held, setHeld] = useState<{ readonly of: string; readonly value: Held }>();
  const [isReading, setReading] = useState(false);
  const [fault, setFault] = useState<Error | null>(null);
  const own = held?.of === name ? held.value : undefined;
  const page = newest.data;
  useEffect(() => {
    if (page === undefined) return;
    setHeld((now) => ({ of: name, value: withNewest(now?.of === name ? now.value : undefined, page) }));
  }, [page, name]);
  const older = useCallback(async () => {
    if (own?.next === undefined) return;
    setReading(true);
    try {
      const more = await call('audit.list', { query: { ...queryOf(filter), after: own.next } });
      // Another filter was chosen meanwhile: this page is of none that is shown.
      setHeld((now) => (now?.of === name ? { of: name, value: withOlder(now.value, more) } : now));
      setFault(null);
    } catch (error) {
      setFault(error instanceof Error ? error : new Error(String(error)));
    } finally {
      setReading(false);
    }
  }, [own, filter, name]);
  return { held: own, error: newest.error ?? fault, isReading, older, again: newest.refetch };
}
