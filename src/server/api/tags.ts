import { InterlockError } from '../../access/index.ts';

const TAG = /^\s*(W\/)?"([^"\\]{0,200})"\s*$/;

/**
 * The versions that "If-Match" names (RFC 9110, section 13.1.1): a weak tag never matches, so it is no version. `*`
 * stands for any document that is there, and is undefined like no header at all. Throws `usage`.
 */
export function entityTags(header: string | undefined): readonly string[] | undefined {
  if (header === undefined || header.trim() === '*') return undefined;
  return header.split(',').flatMap((text) => {
    const [, weak, version] = TAG.exec(text) ?? [];
    if (version === undefined)
      throw new InterlockError(
        'usage',
        'if-match',
        '"If-Match" holds versions in quotes, as "ETag" gives them',
      );
    return weak === undefined ? [version] : [];
  });
}

/** Whether "If-None-Match" names the tag, by weak comparison (RFC 9110, section 13.1.2). */
export function matchesWeakly(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  const opaque = (text: string) => text.trim().replace(/^W\//, '');
  return header.trim() === '*' || header.split(',').some((text) => opaque(text) === opaque(tag));
}

/** Throws `conflict` where a document does not have one of the versions that its change was made for. */
export function checkVersion(ifMatch: readonly string[] | undefined, version: string, subject: string): void {
  if (ifMatch === undefined || ifMatch.includes(version)) return;
  throw new InterlockError('conflict', subject, `${subject} was changed meanwhile: look again`);
}
