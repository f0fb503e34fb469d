/** Longest path that a sign-in leads back to, in characters. */
const MAX_LENGTH = 2000;
/** Nothing is there: it only lends its shape. */
const HERE = 'http://here.invalid';

/**
 * Where a sign-in leads to: a path of this very server, or "/" for everything else. It is read as browsers read it
 * (WHATWG URL), which take "\" for "/" and pass over tabs and line breaks, so that `//host` in no spelling leads away.
 */
export function returnPath(text: string | undefined): string {
  if (text === undefined || text.length > MAX_LENGTH || !text.startsWith('/')) return '/';
  if (!URL.canParse(text, HERE)) return '/';
  const { origin, pathname, search, hash } = new URL(text, HERE);
  if (origin !== HERE) return '/';
  // "/.//host" is a path of this server, and "//host" would not be: what is given back is read once more by the browser.
  const path = `${pathname}${search}${hash}`;
  // Spelled as an address it may have grown: it travels in a cookie, which a browser keeps up to 4,096 characters.
  return pathname.startsWith('//') || path.length > MAX_LENGTH ? '/' : path;
}
