import { recordedPath } from '../../access/index.ts';

/** One segment of a route: fixed text, one free segment, an optional one, or everything that follows. */
type Part =
  | { readonly is: 'text'; readonly text: string }
  | { readonly is: 'one' | 'optional' | 'rest'; readonly name: string };

interface Route {
  readonly parts: readonly Part[];
  /** False where a part of the route (`{id}.json`, `/a/**` + `/b`) cannot be said in our templates. */
  readonly exact: boolean;
}

/**
 * The path template of a web framework's route (`http.route`), checked against the concrete path where one was
 * recorded. Undefined where the concrete path says more than the route does (a bare catch-all), where the two
 * disagree, or where the route cannot be said exactly: the caller then uses the path. Known syntaxes: `{id}`,
 * `{id:regex}`, `{id?}`, `{rest...}`, `{*rest}` (Spring, ASP.NET, Go, chi, actix, JAX-RS, FastAPI); `:id`,
 * `:id(regex)`, `*`, `*rest` (Express, Rails, gin, echo); `<int:id>`, `<path:rest>` (Flask, Django);
 * `(?P<id>regex)` (Django); `[id]`, `[...rest]` (Next.js).
 */
export function templateOf(route: string, path: string | undefined): string | undefined {
  const parsed = parse(route);
  if (path === undefined) return write(parsed.parts);
  const bare = parsed.parts.every((part) => part.is === 'rest');
  return bare || !parsed.exact ? undefined : fitted(parsed.parts, path);
}

/** The template of `parts` as `path` fits it, with what stands before a route that a mounted router reports. */
function fitted(parts: readonly Part[], path: string): string | undefined {
  const slash = path.length > 1 && path.endsWith('/');
  const segments = (slash ? path.slice(1, -1) : path.slice(1)).split('/');
  const last = parts.at(-1);
  const trimmed = last?.is === 'text' && last.text === '' && parts.length > 1 ? parts.slice(0, -1) : parts;
  for (const candidate of withoutOptional(trimmed)) {
    const before = segments.length - candidate.length;
    if (fits(candidate, segments, 0)) return write(candidate) + (slash && !endsFree(candidate) ? '/' : '');
    if (before > 0 && !endsFree(candidate) && fits(candidate, segments, before)) {
      const mount = segments.slice(0, before).map((text): Part => ({ is: 'text', text }));
      return write([...mount, ...candidate]) + (slash ? '/' : '');
    }
  }
  return undefined;
}

function endsFree(parts: readonly Part[]): boolean {
  return parts.at(-1)?.is === 'rest';
}

/** The parts as they are, then with optional ones left out from the end. */
function withoutOptional(parts: readonly Part[]): (readonly Part[])[] {
  const all = [parts];
  for (let end = parts.length; end > 0 && parts[end - 1]?.is === 'optional'; end--) {
    all.push(parts.slice(0, end - 1));
  }
  return all;
}

function fits(parts: readonly Part[], segments: readonly string[], start: number): boolean {
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i];
    const segment = segments[start + i];
    if (part?.is === 'rest') return true;
    if (segment === undefined || part === undefined) return false;
    if (part.is === 'text' ? part.text !== segment : segment === '') return false;
  }
  return segments.length === start + parts.length;
}

/** The template of `parts`, each name used once. */
function write(parts: readonly Part[]): string {
  const used = new Set<string>();
  let template = '';
  for (const part of parts) {
    if (part.is === 'text') {
      template += `/${recordedPath(part.text)}`;
      continue;
    }
    let name = part.name.replaceAll(/\W/g, '_') || 'any';
    if (/^\d/.test(name)) name = `_${name}`;
    for (let n = 2, base = name; used.has(name); n++) name = `${base}${n}`;
    used.add(name);
    template += part.is === 'rest' ? `/{${name}=**}` : `/{${name}}`;
  }
  return template === '' ? '/' : template;
}

function parse(route: string): Route {
  // Go's patterns may begin with a method; Django's are regular expressions; Rails' end in an optional format.
  const text = route
    .replace(/^[A-Z]+ (?=\/)/, '')
    .replace(/^\^/, '')
    .replace(/(?:\$|\\Z)$/, '')
    .replace(/\(\.:format\)$/, '');
  const segments = split(text.startsWith('/') ? text.slice(1) : text);
  const parts: Part[] = [];
  let exact = true;
  for (const [i, segment] of segments.entries()) {
    const part = partOf(segment, i === segments.length - 1);
    if (part === undefined) {
      exact = false;
      parts.push({ is: 'one', name: 'any' });
      continue;
    }
    parts.push(part);
    if (part.is !== 'rest') continue;
    if (i < segments.length - 1) exact = false;
    break;
  }
  return { parts, exact };
}

/** Splits at the slashes that stand outside of brackets. */
function split(text: string): string[] {
  const segments: string[] = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charAt(i);
    if ('{<(['.includes(c)) depth++;
    else if ('}>)]'.includes(c)) depth--;
    else if (c === '/' && depth <= 0) {
      segments.push(text.slice(start, i));
      start = i + 1;
    }
  }
  segments.push(text.slice(start));
  return segments;
}

/** What frameworks write for "everything that follows"; the first group that matched is its name. */
const REST = [
  /^\*{1,2}$/,
  /^\(?\.[*+]\)?$/,
  /^\{\*{1,2}(\w*)\}$/,
  /^\*(\w+)$/,
  /^\{([\w-]+)\.\.\.\}$/,
  /^\[{1,2}\.\.\.([\w-]+)\]{1,2}$/,
  /^\{([\w.-]+)(?:=\*\*|:\s*(?:\.[*+]|\*\*|path))\}$/,
  /^<path:([\w-]+)>$/,
  /^:(\w+)(?:[*+]|\(\.[*+]\))$/,
  /^\(\?P?<(\w+)>\.[*+]\)$/,
];
const OPTIONAL = [/^\{([\w.-]+)(?::[^{}]*)?\?\}$/, /^\{([\w.-]+)=[^*{}][^{}]*\}$/, /^:(\w+)\?$/];
const ONE = [
  /^\{([\w.-]+)(?:=\*)?\}$/,
  /^\{([\w.-]+)\s*:.+\}$/,
  /^:(\w+)$/,
  /^:(\w+)\([^()]*(?:\([^()]*\)[^()]*)*\)$/,
  /^<(?:[\w.]+(?:\([^()]*\))?:)?([\w-]+)>$/,
  /^\[([\w-]+)\]$/,
  /^\(\?P?<(\w+)>[^()]*(?:\([^()]*\)[^()]*)*\)$/,
];
/** The one part that a segment stands for; undefined where it mixes fixed text and parameters. */
function partOf(segment: string, last: boolean): Part | undefined {
  // Spring's and others' lone `*` inside a route is one segment; at the end it takes everything.
  if (segment === '*' && !last) return { is: 'one', name: 'any' };
  if (segment === '{$}') return { is: 'text', text: '' };
  const rest = nameIn(REST, segment);
  if (rest !== undefined) return { is: 'rest', name: rest || 'rest' };
  const optional = nameIn(OPTIONAL, segment);
  if (optional !== undefined) return { is: 'optional', name: optional };
  const one = isOneGroup(segment) ? nameIn(ONE, segment) : undefined;
  if (one !== undefined) return { is: 'one', name: one };
  return /[{}<>()*[\]^\\]|^:/.test(segment) ? undefined : { is: 'text', text: segment };
}

/** False for several groups in one segment, as in `{from}-{to}`: they are no single parameter. */
function isOneGroup(segment: string): boolean {
  let depth = 0;
  for (let i = 0; i < segment.length; i++) {
    const c = segment.charAt(i);
    if (c === '{') depth++;
    else if (c === '}' && --depth === 0 && i < segment.length - 1) return false;
  }
  return true;
}

function nameIn(patterns: readonly RegExp[], segment: string): string | undefined {
  for (const pattern of patterns) {
    const match = pattern.exec(segment);
    if (match !== null) return match[1] ?? '';
  }
  return undefined;
}
