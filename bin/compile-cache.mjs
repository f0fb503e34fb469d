import { lstatSync, mkdirSync } from 'node:fs';
import * as module from 'node:module';
import { basename, dirname, join } from 'node:path';

/** By then a program has started, and serves. */
const FLUSH_AFTER_MS = 20_000;

/**
 * Keeps what Node makes of the sources (types taken off, compiled), so that the next start need not do it again. Node
 * runs what lies there as it is. So it is used in a node_modules of this user's own only, where nobody else can write:
 * who can change the kept code can change the program itself. Elsewhere every start compiles anew.
 */
export function keepCompiled(root) {
  const folder = basename(dirname(root)) === 'node_modules' ? dirname(root) : join(root, 'node_modules');
  const cache = privateCache(folder, process.geteuid?.());
  // Where the user has named a directory himself, Node uses that one already.
  if (cache === undefined || process.env.NODE_COMPILE_CACHE !== undefined) return;
  module.enableCompileCache?.(cache);
  // Node writes it at the end. What serves for weeks and is then killed, or loses its power, must have written before.
  setTimeout(() => module.flushCompileCache?.(), FLUSH_AFTER_MS).unref();
}

/** `node_modules/.cache/interlock`, made where it is missing; undefined where it would not be this user's alone. */
export function privateCache(folder, uid) {
  if (uid === undefined) return undefined;
  const own = (path, forbidden) => {
    const stat = lstatSync(path);
    return stat.isDirectory() && stat.uid === uid && (stat.mode & forbidden) === 0;
  };
  const shared = join(folder, '.cache');
  const cache = join(shared, 'interlock');
  try {
    if (!own(folder, 0o022)) return undefined;
    mkdirSync(shared, { recursive: true, mode: 0o755 });
    if (!own(shared, 0o022)) return undefined;
    mkdirSync(cache, { recursive: true, mode: 0o700 });
    return own(cache, 0o077) ? cache : undefined;
  } catch {
    // No node_modules, a disk that is full or read-only: nothing is kept.
    return undefined;
  }
}
