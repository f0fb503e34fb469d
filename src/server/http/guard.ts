import type { Context } from 'hono';
import { InterlockError } from '../../access/index.ts';
import type { Names } from './names.ts';

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * Refuses what a page of a foreign site makes a browser send. `arrivals` are the paths that other sites lead to on
 * purpose. `hasCookie`: the caller is known by a cookie alone, which the browser adds by itself. Throws `forbidden`.
 */
export function guard(
  context: Context,
  names: Names,
  { hasCookie, arrivals }: { hasCookie: boolean; arrivals: ReadonlySet<string> },
): void {
  const { req } = context;
  const own = names.originOf(req.header('host'));
  if (own === undefined)
    throw refused(
      `this control plane is not called "${(req.header('host') ?? '').slice(0, 100)}": open ${names.origin}, or name it with --http-url`,
    );
  const site = req.header('sec-fetch-site');
  const origin = req.header('origin');
  if (SAFE.has(req.method)) {
    const isForeign = site === 'cross-site' || site === 'same-site';
    // Pages are shown to whoever follows a link; what the API answers is for our own pages.
    if (isForeign && req.path.startsWith('/v1/') && !arrivals.has(req.path))
      throw refused('a page of another site may not read from this control plane');
    return;
  }
  if ((site !== undefined && site !== 'same-origin') || (origin !== undefined && origin !== own))
    throw refused('a page of another site may not change anything here');
  if (hasCookie && site === undefined && origin === undefined)
    throw refused('a change that a cookie vouches for says where it comes from: send "Origin"');
}

function refused(message: string): InterlockError {
  return new InterlockError('forbidden', 'origin', message);
}
