import { MAX_PATH_LENGTH } from '../access/index.ts';

/** A path as it is matched, or why it cannot be made safe to match. */
export type NormalizedPath =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly reason: string };

/**
 * The form in which a request path is matched: what Envoy makes of it with `normalize_path: true`,
 * `merge_slashes: true`, `path_with_escaped_slashes_action: REJECT_REQUEST` and its default refusal of "#".
 * The query is dropped. `*` is a path of OPTIONS alone (RFC 9110, section 7.1). A path that is clean already is
 * returned as it is after one scan.
 */
export function normalizePath(raw: string, method = ''): NormalizedPath {
  if (raw.length <= MAX_PATH_LENGTH && isCleanPath(raw)) return { ok: true, path: raw };
  const reason = unsafe(raw, method);
  if (reason !== undefined) return { ok: false, reason };
  const query = raw.indexOf('?');
  const path = query < 0 ? raw : raw.slice(0, query);
  if (path === '*') return { ok: true, path };
  const decoded = decode(path);
  // Envoy takes "..;x" for ".." since the fix of CVE-2026-73551, and for a name before; some servers do as well.
  if (/\/\.\.?;/.test(decoded)) return { ok: false, reason: 'it holds a dot segment with parameters' };
  const resolved = resolveDots(decoded);
  // Envoy merges "//" only where something stands between or beside.
  if (/^\/{2,}$/.test(resolved))
    return { ok: false, reason: 'it is slashes only, which Envoy does not merge' };
  return { ok: true, path: mergeSlashes(resolved) };
}

/** What a character of a path asks for. */
const PLAIN = 0;
const SLASH = 1;
const DOT = 2;
/** Needs the slow way: an escape, a backslash, the start of the query. */
const SPECIAL = 3;
/**
 * Outside RFC 3986's path characters: versions of Envoy differ in whether they escape, pass or refuse these, so
 * they are refused here. "[" and "]" always passed unchanged.
 */
const REFUSED = 4;

const CLASS = new Uint8Array(128).fill(REFUSED);
const UNRESERVED = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_~';
for (const c of `${UNRESERVED}!$&'()*+,;=:@[]`) CLASS[c.charCodeAt(0)] = PLAIN;
CLASS[0x2f] = SLASH;
CLASS[0x2e] = DOT;
for (const c of '%\\?') CLASS[c.charCodeAt(0)] = SPECIAL;

/**
 * True for a path without escapes that normalising would return unchanged: one pass, no allocation. A path whose
 * escapes stay is left to the slow way.
 */
export function isCleanPath(path: string): boolean {
  if (path.charCodeAt(0) !== 0x2f) return false;
  let before = SLASH;
  for (let i = 1; i < path.length; i++) {
    const c = path.charCodeAt(i);
    const kind = c < 128 ? (CLASS[c] as number) : REFUSED;
    if (kind > DOT) return false;
    if (before === SLASH && kind !== PLAIN) {
      // Two slashes are merged; a dot after a slash may be the segment "." or "..", or one with parameters.
      const next = path.charCodeAt(i + 1);
      const ends = next === 0x2e || next === 0x2f || next === 0x3b || Number.isNaN(next);
      if (kind === SLASH || ends) return false;
    }
    before = kind;
  }
  return true;
}

function unsafe(raw: string, method: string): string | undefined {
  if (raw.length > MAX_PATH_LENGTH) return `it is longer than ${MAX_PATH_LENGTH} characters`;
  if (raw.includes('#')) return 'it holds "#"';
  if (raw === '*') return method === 'OPTIONS' ? undefined : 'only OPTIONS may ask for "*"';
  if (raw.charCodeAt(0) !== 0x2f) return 'it does not start with "/"';
  for (let i = 0; i < raw.length; i++) {
    const c = raw.charCodeAt(i);
    if (c === 0x3f) return undefined;
    if (c >= 128) return 'it holds a character outside ASCII';
    if (CLASS[c] === REFUSED)
      return c < 0x20 || c === 0x7f ? 'it holds a control character' : `it holds "${raw[i]}"`;
    if (c !== 0x25) continue;
    const value = escaped(raw, i);
    if (value < 0) return 'it holds an invalid % escape';
    if (value === 0x2f || value === 0x5c) return `it holds an escaped slash "${raw.slice(i, i + 3)}"`;
    if (value < 0x20 || value === 0x7f) return 'it holds an escaped control character';
  }
  return undefined;
}

/** The byte that the escape at `i` stands for, or -1 where it is no escape. */
function escaped(text: string, i: number): number {
  const hex = text.slice(i + 1, i + 3);
  return /^[0-9A-Fa-f]{2}$/.test(hex) ? Number.parseInt(hex, 16) : -1;
}

/** Backslashes become slashes; escapes of unreserved characters are decoded once, all others stay as written. */
function decode(path: string): string {
  return path.replaceAll('\\', '/').replace(/%([0-9A-Fa-f]{2})/g, (escape, hex: string) => {
    const c = String.fromCharCode(Number.parseInt(hex, 16));
    return c === '.' || UNRESERVED.includes(c) ? c : escape;
  });
}

/**
 * RFC 3986, section 5.2.4, before slashes are merged: that is Envoy's order, and an empty segment counts as one
 * for "..".
 */
function resolveDots(path: string): string {
  const kept: string[] = [];
  const segments = path.slice(1).split('/');
  segments.forEach((segment, i) => {
    const last = i === segments.length - 1;
    if (segment === '.' || segment === '..') {
      if (segment === '..') kept.pop();
      if (last) kept.push('');
    } else kept.push(segment);
  });
  return `/${kept.join('/')}`;
}

function mergeSlashes(path: string): string {
  return path.replace(/\/{2,}/g, '/');
}
