/**
 * Distinct raw paths kept for one caller, callee, port and method. Past it, paths are stored collapsed and a
 * replay over them says that it is approximate.
 */
export const MAX_PATHS = 10_000;

/** What is left of actions past every limit: some request. */
export const COLLAPSED_WHOLLY = '/{collapsed=**}';

/** Literal words of a collapsed path that are kept; what follows is `{collapsed=**}`. */
const MAX_COLLAPSED_SEGMENTS = 12;

/** A segment longer than this, or with a digit or one of these marks, is taken for a value when collapsing. */
const VALUE = /[0-9@%=,:;~]|^.{25,}$/;

const COLLAPSED = /\{collapsed(\d+|=\*\*)\}/;

/**
 * The path with every segment that looks like a value replaced by `{collapsed1}`, `{collapsed2}`, ... It depends on the path
 * alone, so collapsing commutes with merging, and collapsing twice changes nothing.
 */
export function collapsePath(path: string): string {
  if (isCollapsed(path)) return path;
  const segments = path.split('/');
  const parts: string[] = [];
  let value = 0;
  for (const [i, segment] of segments.entries()) {
    if (i > MAX_COLLAPSED_SEGMENTS) {
      parts.push('{collapsed=**}');
      break;
    }
    parts.push(
      i > 0 && segment !== '' && !segment.startsWith('{') && VALUE.test(segment)
        ? `{collapsed${++value}}`
        : segment,
    );
  }
  return parts.join('/');
}

/** The widest form: the first segment and whatever follows. For callers whose paths have no shape at all. */
export function collapseHard(path: string): string {
  const end = path.indexOf('/', 1);
  const first = end < 0 ? '' : path.slice(0, end);
  return VALUE.test(first) ? '/{collapsed=**}' : `${first}/{collapsed=**}`;
}

/** True for a path that {@link collapsePath} or {@link collapseHard} made. */
export function isCollapsed(path: string): boolean {
  return path.includes('{collapsed') && COLLAPSED.test(path);
}
