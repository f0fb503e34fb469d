import type { Context } from 'hono';
import { isInterlockError } from '../../access/index.ts';
import type { Caller } from '../../api/index.ts';
import type { Timers } from '../timers.ts';
import type { Cookies } from './cookies.ts';
import type { SignInDesk } from './desk.ts';

/** Name of the session's cookie, behind the server's prefix. */
export const SESSION_COOKIE = 'session';

export interface BrowserSessionParts {
  readonly desk: SignInDesk;
  readonly cookies: Cookies;
  readonly timers: Timers;
  /** Who the browser's cookie is of, if anybody. */
  readonly sessionOf: (context: Context) => Promise<Caller | undefined>;
}

/** Gives the browser its new session. */
export function welcome(
  { cookies, timers }: BrowserSessionParts,
  context: Context,
  { secret, until }: { secret: string; until: number },
): void {
  const seconds = (until - timers.now()) / 1000;
  context.header('set-cookie', cookies.set(SESSION_COOKIE, secret, { seconds, isStrict: true }), {
    append: true,
  });
  context.header('cache-control', 'no-store');
}

/** Ends the session that the browser had: who signs in anew or out leaves none behind. */
export async function leave({ desk, sessionOf }: BrowserSessionParts, context: Context): Promise<void> {
  const caller = await sessionOf(context);
  if (caller?.session === undefined) return;
  try {
    await desk.end(caller, caller.session, caller.who);
  } catch (error) {
    // It ended at the same moment by another way.
    if (!isInterlockError(error) || error.code !== 'not_found') throw error;
  }
}
