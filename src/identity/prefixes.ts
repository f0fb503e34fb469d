import { pathOf, type SpiffeId } from '../access/index.ts';

const PREFIX = /^\/(?:[A-Za-z0-9._-]+\/)+$/;

/** Why a text is no path prefix of an area, or undefined. */
export function prefixFault(prefix: string): string | undefined {
  if (!PREFIX.test(prefix)) return `"${prefix.slice(0, 80)}" is not a prefix: write it as in /area/payments/`;
  if (/\/\.{1,2}\//.test(prefix)) return 'a prefix has no "." or ".." segment';
  return isReservedPath(prefix) ? "paths below /interlock/ are the program's own" : undefined;
}

/**
 * Whether a path is the program's own: below /interlock/, or of the agents and server of a child authority, which
 * stand below the child's own prefix (/area/payments/interlock/agent/...).
 */
export function isReservedPath(path: string): boolean {
  return /^\/interlock(\/|$)/.test(path) || /\/interlock\/(agent|server)(\/|$)/.test(path);
}

/** Whether an ID's path lies inside one of the prefixes. Absent prefixes allow every path, an empty list none. */
export function isInside(id: SpiffeId, prefixes: readonly string[] | undefined): boolean {
  return prefixes === undefined || prefixes.some((prefix) => pathOf(id).startsWith(prefix));
}

/** Whether everything that `inner` allows, `outer` allows too; the same reading of absent and empty. */
export function arePrefixesInside(
  inner: readonly string[] | undefined,
  outer: readonly string[] | undefined,
): boolean {
  if (outer === undefined) return true;
  return inner?.every((prefix) => outer.some((wider) => prefix.startsWith(wider))) ?? false;
}
