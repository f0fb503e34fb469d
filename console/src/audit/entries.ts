import { queryOptions } from '@tanstack/react-query';
import type { Received } from '../../../src/api/index.ts';
import { call } from '../api/client.ts';

export type Entry = Received<'audit.list'>['entries'][number];

/** Entries that are held in the page at most, and those of one call. */
const MOST = 50_000;
const PAGE = 10_000;

/** Whether anything stands in the log after this number. */
async function hasAfter(after: number, signal: AbortSignal): Promise<boolean> {
  return (await call('audit.list', { query: { after, limit: 1 } }, { signal })).entries.length > 0;
}

/** Where to begin so that the newest entries are read, and few more: the log is read from its beginning, and may be long. */
async function beginning(signal: AbortSignal): Promise<number> {
  let low = 0;
  let step = MOST;
  for (; await hasAfter(low + step, signal); step *= 2) low += step;
  while (step > MOST) {
    step /= 2;
    if (await hasAfter(low + step, signal)) low += step;
  }
  return Math.max(0, low + step - MOST);
}

const KEY = ['audit.list', 'newest'] as const;

interface Newest {
  readonly entries: readonly Entry[];
  /** There are older ones. */
  readonly isCut: boolean;
}

/** The newest entries of the audit log, the newest first. Its key begins with the route: an event makes it old. */
export function auditEntries() {
  return queryOptions({
    queryKey: KEY,
    queryFn: async ({ signal, client }): Promise<Newest> => {
      // Entries are only ever added: what was read is read no more.
      const known = client.getQueryData<Newest>(KEY);
      let entries: readonly Entry[] = known?.entries.toReversed() ?? [];
      const begin = known === undefined ? await beginning(signal) : 0;
      let after = entries.at(-1)?.seq ?? begin;
      for (;;) {
        const page = await call('audit.list', { query: { after, limit: PAGE } }, { signal });
        entries = entries.concat(page.entries);
        if (page.next === undefined) break;
        after = Number(page.next);
      }
      const isCut = known?.isCut === true || begin > 0 || entries.length > MOST;
      return { entries: entries.slice(-MOST).toReversed(), isCut };
    },
  });
}
