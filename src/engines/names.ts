import { createHash } from 'node:crypto';
import { type SpiffeId, shortNameOf } from '../access/index.ts';

/** Longest name written: RFC 1123 allows labels of 63 characters, and some tools copy names into labels. */
export const MAX_OBJECT_NAME = 63;

const HASH_LENGTH = 8;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;

/**
 * The text as an RFC 1123 label of at most {@link MAX_OBJECT_NAME} characters. What had to be changed gets a hash
 * of `unique`, so that two texts never end in one name.
 */
export function objectName(text: string, unique = text): string {
  if (text.length <= MAX_OBJECT_NAME && LABEL.test(text)) return text;
  return hashedName(text, unique);
}

/** The text as an RFC 1123 label that ends in a hash of `unique`. */
export function hashedName(text: string, unique: string): string {
  const hash = createHash('sha256').update(unique).digest('hex').slice(0, HASH_LENGTH);
  const kept = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, MAX_OBJECT_NAME - HASH_LENGTH - 1)
    .replace(/^-+|-+$/g, '');
  return kept === '' ? `x-${hash}` : `${kept}-${hash}`;
}

/**
 * A name for the documents of each workload, unique among them: the last segment of its ID, with a hash of the
 * whole ID where workloads of one namespace share that segment.
 */
export function workloadNames(
  workloads: readonly { id: SpiffeId; namespace: string }[],
): Map<SpiffeId, string> {
  const base = (id: SpiffeId) => objectName(`interlock-${shortNameOf(id)}`, id);
  const users = new Map<string, number>();
  for (const { id, namespace } of workloads) {
    const key = `${namespace}/${base(id)}`;
    users.set(key, (users.get(key) ?? 0) + 1);
  }
  return new Map(
    workloads.map(({ id, namespace }) => {
      const name = base(id);
      return [id, users.get(`${namespace}/${name}`) === 1 ? name : hashedName(name, id)];
    }),
  );
}
