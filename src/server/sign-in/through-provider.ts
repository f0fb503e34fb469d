import type { Context } from 'hono';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { Attempts } from '../attempts.ts';
import type { Timers } from '../timers.ts';
import { BEGUN_MS, type BegunSignIns } from './begun.ts';
import { known, whoOf } from './bearer.ts';
import { type BrowserSessionParts, leave, welcome } from './browser-session.ts';
import { SIGN_IN_PAGE } from './desk.ts';
import type { Provider } from './provider.ts';
import { returnPath } from './return-path.ts';
import type { RoleMap } from './roles.ts';

const BEGUN_COOKIE = 'oidc';
export const BEGIN_PATH = '/v1/sign-in/oidc';
/** Where the provider leads back to. */
export const CALLBACK_PATH = '/v1/sign-in/oidc/callback';
/** What one address, and all, may begin in a minute: it costs little here, and each may come back with a code to ask about. */
const MOST_BEGUN = { each: 30, all: 1000, oneInMs: 100 } as const;
/** Codes that the provider may be asked about in vain in a minute. */
const MOST_ASKED = { each: 10, all: 300, oneInMs: 1000 } as const;

/** Why a sign-in through the provider came to nothing: the page for signing in says it in words. */
export const SIGN_IN_FAULTS = [
  'refused',
  'expired',
  'no-role',
  'too-many',
  'provider-away',
  'fault',
] as const;
type SignInFault = (typeof SIGN_IN_FAULTS)[number];

/** Where a provider of people is set up. */
export interface ProviderParts {
  readonly provider: Provider;
  readonly begun: BegunSignIns;
  readonly roles: RoleMap;
}

export interface ThroughProviderParts extends BrowserSessionParts {
  /** The address of this server for browsers. */
  readonly origin: string;
  readonly people: ProviderParts | undefined;
  readonly timers: Timers;
  readonly addressOf: (context: Context) => string;
  readonly onRefused: (address: string, reason: string) => void;
  readonly onFault: (error: unknown) => void;
}

/** The two steps of a sign-in through the provider: to it, and back from it. */
export class ThroughProvider {
  readonly #parts: ThroughProviderParts;
  readonly #beginnings: Attempts;
  readonly #questions: Attempts;

  constructor(parts: ThroughProviderParts) {
    this.#parts = parts;
    this.#beginnings = new Attempts(parts.timers, MOST_BEGUN);
    this.#questions = new Attempts(parts.timers, MOST_ASKED);
  }

  /** Sends the browser to the provider, with what it has to bring back. */
  async begin(context: Context): Promise<Response> {
    const { provider, begun } = this.#people();
    const { cookies, origin, addressOf } = this.#parts;
    const address = addressOf(context);
    if (this.#beginnings.waitToTry(address) > 0)
      return this.#failed(context, 'too-many', 'too many sign-ins were begun');
    this.#beginnings.failed(address);
    const to = returnPath(context.req.query('to'));
    try {
      const { url, begun: made } = await provider.begin(`${origin}${CALLBACK_PATH}`);
      // Lax: the way back begins at the provider's site. It is good for nothing but this one sign-in.
      const value = begun.sealed({ ...made, to });
      const set = cookies.set(BEGUN_COOKIE, value, { seconds: BEGUN_MS / 1000, isStrict: false });
      context.header('set-cookie', set);
      context.header('cache-control', 'no-store');
      return context.redirect(url.href, 303);
    } catch (error) {
      return this.#refuse(context, error);
    }
  }

  /** Takes in who comes back from the provider. */
  async arrive(context: Context): Promise<Response> {
    const { provider, begun, roles } = this.#people();
    const { cookies, origin, desk, addressOf } = this.#parts;
    const brought = begun.read(cookies.read(context.req.header('cookie'), BEGUN_COOKIE));
    if (brought === undefined)
      return this.#failed(context, 'expired', 'the browser brings no sign-in that it began here');
    const address = addressOf(context);
    try {
      // All that can be known without the provider is asked first: it is asked about what may be good alone.
      // Any site can lead a browser here: what it has begun goes on.
      if (context.req.query('state') !== brought.state) throw notAccepted('it is not the one that was begun');
      context.header('set-cookie', cookies.clear(BEGUN_COOKIE), { append: true });
      if (this.#questions.waitToTry(address) > 0)
        return this.#failed(context, 'too-many', 'too many sign-ins have failed');
      this.#questions.failed(address);
      if (!(await begun.use(brought))) throw notAccepted('it was used');
      const { search } = new URL(context.req.url);
      const person = await provider.finish(new URL(`${CALLBACK_PATH}${search}`, origin), brought);
      this.#questions.good(address);
      const who = whoOf(person.issuer, person.subject);
      const { roles: given } = known(who, roles.rolesOf(person));
      const session = await desk.admit(who, [...given], person.issuer);
      await leave(this.#parts, context);
      welcome(this.#parts, context, session);
      return context.redirect(returnPath(brought.to), 303);
    } catch (error) {
      return this.#refuse(context, error);
    }
  }

  #people(): ProviderParts {
    const { people } = this.#parts;
    if (people !== undefined) return people;
    throw new InterlockError('not_found', 'oidc', 'no provider is set up here: sign in with a link');
  }

  #refuse(context: Context, error: unknown): Response {
    if (!isInterlockError(error)) {
      this.#parts.onFault(error);
      return this.#failed(context, 'fault', 'a fault');
    }
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    const why = `${error.message}${cause}`;
    if (error.code === 'forbidden') return this.#failed(context, 'no-role', why);
    return this.#failed(context, error.code === 'unavailable' ? 'provider-away' : 'refused', why);
  }

  /** The page for signing in says what happened in its own words: nothing of an error stands in an address. */
  #failed(context: Context, fault: SignInFault, why: string): Response {
    this.#parts.onRefused(this.#parts.addressOf(context), why);
    context.header('cache-control', 'no-store');
    return context.redirect(`${SIGN_IN_PAGE}?fault=${fault}`, 303);
  }
}

function notAccepted(why: string): InterlockError {
  return new InterlockError('untrusted', 'oidc', `the sign-in is not accepted: ${why}`);
}
