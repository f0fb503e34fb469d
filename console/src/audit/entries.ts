import type { CallOf, Received } from '../../../src/api/index.ts';
import { call } from '../api/client.ts';

export type Entry = Received<'audit.list'>['entries'][number];

/** Entries of one call. */
export const PAGE = 500;
/** Most entries that an export gathers: beyond, the command line streams the log. */
export const MOST_EXPORTED = 100_000;

/** What the log is narrowed to; "" where it is not. */
export interface AuditFilter {
  readonly who: string;
  readonly act: string;
  readonly what: string;
}

export const NO_FILTER: AuditFilter = { who: '', act: '', what: '' };

/** The filter as the route takes it: parts of names, beginnings of acts. */
export function queryOf({ who, act, what }: AuditFilter): NonNullable<CallOf<'audit.list'>['query']> {
  const part = (text: string) => `*${text.trim()}*`;
  return {
    order: 'newest',
    limit: PAGE,
    ...(who.trim() === '' ? {} : { who: part(who) }),
    ...(act.trim() === '' ? {} : { act: `${act.trim()}*` }),
    ...(what.trim() === '' ? {} : { what: part(what) }),
  };
}

const TELLING = ['anyway', 'missing', 'reason', 'why', 'text'];

/** Why something was done, and what spoke against it, come before the other details: a row has no room for all. */
export function detailRank(key: string): number {
  const at = TELLING.indexOf(key);
  return at === -1 ? TELLING.length : at;
}

/** What is on the page: entries, the newest first, and where older ones begin. */
export interface Held {
  readonly entries: readonly Entry[];
  /** Absent where there are none. */
  readonly next?: string | undefined;
}

/**
 * The newest page joined to what is held: entries are only ever added. Where more has come than a page holds, what is
 * between is not known, and the page stands alone.
 */
export function withNewest(held: Held | undefined, page: Held): Held {
  const newest = held?.entries[0]?.seq;
  if (held === undefined) return page;
  // Nothing was found yet, however far somebody has looked back.
  if (newest === undefined) return page.entries.length === 0 ? held : page;
  const isJoined = page.next === undefined || page.entries.some(({ seq }) => seq <= newest);
  if (!isJoined) return page;
  const fresh = page.entries.filter(({ seq }) => seq > newest);
  return fresh.length === 0 ? held : { entries: [...fresh, ...held.entries], next: held.next };
}

/** Older entries behind what is held. */
export function withOlder(held: Held, page: Held): Held {
  const oldest = held.entries.at(-1)?.seq ?? Number.POSITIVE_INFINITY;
  return { entries: [...held.entries, ...page.entries.filter(({ seq }) => seq < oldest)], next: page.next };
}

/** Every entry of a filter, up to the most that is exported. */
export async function allOf(filter: AuditFilter): Promise<readonly Entry[]> {
  const entries: Entry[] = [];
  let after: string | undefined;
  do {
    const page = await call('audit.list', {
      query: { ...queryOf(filter), limit: 10_000, ...(after === undefined ? {} : { after }) },
    });
    entries.push(...page.entries);
    after = page.next;
  } while (after !== undefined && entries.length < MOST_EXPORTED);
  return entries.slice(0, MOST_EXPORTED);
}
