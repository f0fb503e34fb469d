import { hash } from 'node:crypto';
import { InterlockError } from '../../access/index.ts';

/** One page of a list that is whole in memory. */
export interface Page<T> {
  readonly items: readonly T[];
  /** At most 400 characters, however long the keys are: it travels in URLs. */
  readonly next: string | undefined;
}

/** UTF-16 units of a key that stand in a cursor; of a longer one its hash does as well. */
const MOST_UNITS = 96;

interface Cursor {
  readonly start: string;
  /** Of the whole key, where it is longer than `start`. */
  readonly digest: string | undefined;
}

/**
 * A page of items that stand in the order of their keys. The cursor is the key of the last one: what comes or goes
 * between two pages neither repeats nor hides another. Of a long key the cursor holds the beginning: where the item is
 * gone meanwhile, those that begin alike are shown once more.
 */
export function pageOf<T>(
  items: readonly T[],
  { limit, after }: { readonly limit: number; readonly after?: string | undefined },
  keyOf: (item: T) => string,
): Page<T> {
  const start = after === undefined ? 0 : firstAfter(items, read(after), keyOf);
  const page = items.slice(start, start + limit);
  const last = page.at(-1);
  const hasMore = last !== undefined && start + limit < items.length;
  return { items: page, next: hasMore ? write(keyOf(last)) : undefined };
}

/** A page of a list in no order: it is put into that of the keys. */
export function sortedPageOf<T>(
  items: Iterable<T>,
  query: { readonly limit: number; readonly after?: string | undefined },
  keyOf: (item: T) => string,
): Page<T> {
  const sorted = [...items].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : Number(keyOf(a) > keyOf(b))));
  return pageOf(sorted, query, keyOf);
}

const digestOf = (key: string) => hash('sha256', Buffer.from(key, 'utf16le'), 'base64url').slice(0, 22);

// UTF-16: a key may hold half of a pair of surrogates, and the order of keys is that of these units.
function write(key: string): string {
  const text = (part: string) => Buffer.from(part, 'utf16le').toString('base64url');
  const start = `k${text(key.slice(0, MOST_UNITS))}`;
  return key.length <= MOST_UNITS ? start : `${start}.${digestOf(key)}`;
}

function read(after: string): Cursor {
  const [, text, digest] = /^k([A-Za-z0-9_-]*)(?:\.([A-Za-z0-9_-]{22}))?$/.exec(after) ?? [];
  if (text !== undefined) return { start: Buffer.from(text, 'base64url').toString('utf16le'), digest };
  throw new InterlockError('usage', 'after', '"after" is the "next" of the page before');
}

/** The index of the first item behind the cursor. */
function firstAfter<T>(items: readonly T[], { start, digest }: Cursor, keyOf: (item: T) => string): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = items[middle];
    if (item !== undefined && keyOf(item) <= start) low = middle + 1;
    else high = middle;
  }
  if (digest === undefined) return low;
  for (let i = low; i < items.length; i++) {
    const item = items[i];
    if (item === undefined || !keyOf(item).startsWith(start)) return low;
    if (digestOf(keyOf(item)) === digest) return i + 1;
  }
  return low;
}
