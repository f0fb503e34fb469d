import type { Checked } from '../../../api/index.ts';
import type { AuditEntry } from '../../../store/index.ts';
import type { Handlers } from '../handler.ts';
import type { ApiParts } from '../parts.ts';

/** Entries that are looked at for one filtered page, so that a filter nobody fits ends. */
const MOST_LOOKED_AT = 50_000;
/** Entries that are read at once while a filter is looked for: a small page must not cost a read for each entry. */
const LOOKED_AT_ONCE = 1000;
/** The first step in which the newest entry is looked for; it doubles. */
const FIRST_STEP = 1024;

type Query = Checked<'audit.list', 'query'>;
type Read = (from: number, limit: number) => Promise<readonly AuditEntry[]>;
interface Page {
  readonly entries: readonly AuditEntry[];
  readonly next?: string;
}

/** The audit log, from either end, and whether it is whole. */
export function auditHandlers({ plane }: ApiParts): Handlers<'audit.list'> {
  const { store, recorder } = plane;
  const read: Read = (from, limit) => recorder.within(store.audit(from, limit));
  // Entries are only ever added: from what was the newest one it is not far to what is.
  let newest = 0;
  return {
    'audit.list': async ({ query }) => {
      if (query.order === 'oldest') return oldestFirst(read, query);
      if (query.after > 0) return newestFirst(read, query, query.after - 1);
      newest = await newestOf(read, newest);
      return newestFirst(read, query, newest);
    },
  };
}

/** The number of the newest entry; 0 where there is none. */
async function newestOf(read: Read, known: number): Promise<number> {
  const has = async (seq: number) => (await read(seq, 1)).length > 0;
  let low = known;
  let step = FIRST_STEP;
  for (; await has(low + step); step *= 2) low += step;
  // The newest is at `low` or behind it, by less than `step`.
  while (step > FIRST_STEP) {
    step /= 2;
    if (await has(low + step)) low += step;
  }
  return (await read(low + 1, FIRST_STEP)).at(-1)?.seq ?? low;
}

async function oldestFirst(read: Read, { after, limit, ...filter }: Query): Promise<Page> {
  const atOnce = readAtOnce(filter, limit);
  const entries: AuditEntry[] = [];
  let last = after;
  for (let looked = 0; entries.length < limit && looked < MOST_LOOKED_AT; ) {
    const found = await read(last + 1, atOnce);
    looked += found.length;
    for (const entry of found) {
      last = entry.seq;
      if (!fits(entry, filter)) continue;
      entries.push(entry);
      if (entries.length === limit) break;
    }
    if (found.length < atOnce)
      return { entries, ...(entries.length === limit ? { next: String(last) } : {}) };
  }
  return { entries, next: String(last) };
}

/** From an entry on, backwards. */
async function newestFirst(read: Read, { limit, ...filter }: Query, from: number): Promise<Page> {
  const atOnce = readAtOnce(filter, limit);
  const entries: AuditEntry[] = [];
  let last = from + 1;
  for (let looked = 0; entries.length < limit && looked < MOST_LOOKED_AT && last > 1; ) {
    const first = Math.max(1, last - atOnce);
    const found = await read(first, last - first);
    looked += last - first;
    const isBefore = last;
    last = first;
    // Where numbers are missing, the read goes on behind the end that was asked for.
    for (const entry of found.filter(({ seq }) => seq < isBefore).toReversed()) {
      if (!fits(entry, filter)) continue;
      entries.push(entry);
      if (entries.length < limit) continue;
      last = entry.seq;
      break;
    }
  }
  return { entries, ...(last > 1 ? { next: String(last) } : {}) };
}

type Filter = Pick<Query, 'who' | 'act' | 'what'>;

function readAtOnce({ who, act, what }: Filter, limit: number): number {
  const isAll = who === undefined && act === undefined && what === undefined;
  return isAll ? limit : Math.max(limit, LOOKED_AT_ONCE);
}

function fits(entry: AuditEntry, { who, act, what }: Filter): boolean {
  return (
    (who === undefined || isLike(entry.who, who)) &&
    (act === undefined || isLike(entry.act, act)) &&
    (what === undefined || isLike(entry.what, what))
  );
}

/** A text; its beginning where the pattern ends in "*"; a part of it where it begins with one as well. */
function isLike(text: string, pattern: string): boolean {
  if (!pattern.endsWith('*')) return text === pattern;
  const part = pattern.slice(0, -1);
  return part.startsWith('*') ? text.includes(part.slice(1)) : text.startsWith(part);
}
