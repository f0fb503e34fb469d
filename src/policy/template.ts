import { MAX_PATH_LENGTH } from '../access/index.ts';
import { isCleanPath, normalizePath } from './path.ts';

/** A path template, read. Segments are the parts between slashes; the last may be empty (a trailing slash). */
export interface PathTemplate {
  readonly text: string;
  /** Literal segments as text, `{name}` as undefined. Without the closing `{name=**}`. */
  readonly segments: readonly (string | undefined)[];
  /** Whether it ends in `{name=**}`. */
  readonly rest: boolean;
  /** Parameter names in order. */
  readonly names: readonly string[];
}

export type ParsedTemplate =
  | { readonly ok: true; readonly template: PathTemplate }
  | { readonly ok: false; readonly reason: string };

const PARAMETER = /^\{([A-Za-z0-9_.-]{1,64})(=\*\*)?\}$/;

/** Whether a path is a template: recorded paths have their own braces percent-encoded. */
export function isTemplate(path: string): boolean {
  return path.includes('{');
}

/**
 * Reads a path or template: literal segments in normal form, `{name}` for one non-empty segment, and last, if
 * anywhere, `{name=**}` for the rest. Gives the reason where it is none.
 */
export function parseTemplate(text: string): ParsedTemplate {
  if (text.length > MAX_PATH_LENGTH) return no(`it is longer than ${MAX_PATH_LENGTH} characters`);
  if (text.charCodeAt(0) !== 0x2f) return no('it does not start with "/"');
  if (text.includes('?')) return no('it holds "?": a query cannot be matched by path');
  const parts = text.slice(1).split('/');
  const segments: (string | undefined)[] = [];
  const names: string[] = [];
  let rest = false;
  for (const [i, part] of parts.entries()) {
    if (!part.includes('{') && !part.includes('}')) {
      if (part === '' && i < parts.length - 1) return no('it holds "//"');
      segments.push(part);
      continue;
    }
    const match = PARAMETER.exec(part);
    if (match === null) return no(`segment "${part}" is neither a literal, {name} nor {name=**}`);
    names.push(match[1] as string);
    if (match[2] === undefined) segments.push(undefined);
    else if (i < parts.length - 1) return no(`"${part}" stands for the rest and must be last`);
    else rest = true;
  }
  const reason = notNormal(segments);
  return reason === undefined ? { ok: true, template: { text, segments, rest, names } } : no(reason);
}

/** Why literal segments are not as a normalised request has them, so that they could never match. */
function notNormal(segments: readonly (string | undefined)[]): string | undefined {
  const literal = `/${segments.map((segment) => segment ?? 'x').join('/')}`;
  if (isCleanPath(literal)) return undefined;
  const normal = normalizePath(literal);
  if (!normal.ok) return normal.reason;
  return normal.path === literal ? undefined : 'it is not in normal form, so no request would match it';
}

function no(reason: string): ParsedTemplate {
  return { ok: false, reason };
}

/**
 * Whether a template covers a path in normal form. Where `path` is itself a template, its `{name}` segments are
 * values that equal no literal, and its `{name=**}` is covered only by `{name=**}`: then every path of the one
 * is a path of the other.
 */
export function matchTemplate(template: PathTemplate, path: string): boolean {
  if (path.charCodeAt(0) !== 0x2f) return false;
  const parts = path.slice(1).split('/');
  const { segments, rest } = template;
  if (rest ? parts.length <= segments.length : parts.length !== segments.length) return false;
  return segments.every((segment, i) => {
    const part = parts[i] as string;
    return segment === undefined ? part !== '' && !isRest(part) : segment === part;
  });
}

/** Whether some path matches both templates. */
export function templatesOverlap(a: PathTemplate, b: PathTemplate): boolean {
  const [x, y] = [a.segments, b.segments];
  const shared = Math.min(x.length, y.length);
  for (let i = 0; i < shared; i++) {
    const [s, t] = [x[i], y[i]];
    if (s === undefined ? t === '' : t === undefined ? s === '' : s !== t) return false;
  }
  if (a.rest && b.rest) return true;
  if (a.rest) return y.length > x.length;
  return b.rest ? x.length > y.length : x.length === y.length;
}

function isRest(segment: string): boolean {
  return segment.charCodeAt(0) === 0x7b && segment.endsWith('=**}');
}
