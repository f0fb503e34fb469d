/** FNV-1a over UTF-16 units, its start and step, so that text can be looked up in pieces without being cut. */
export const HASH_START = 0x811c9dc5 | 0;

/** The hash with one more UTF-16 unit. */
export function hashStep(hash: number, unit: number): number {
  return Math.imul(hash ^ unit, 0x01000193);
}

/** The hash of a whole text. */
export function hashOf(text: string): number {
  let hash = HASH_START;
  for (let i = 0; i < text.length; i++) hash = hashStep(hash, text.charCodeAt(i));
  return hash;
}
