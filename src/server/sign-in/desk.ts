import { InterlockError, isInterlockError } from '../../access/index.ts';
import { type Answer, type Caller, type Role, ROLES } from '../../api/index.ts';
import type { SignIn } from '../api/parts.ts';
import type { IdentityStore } from '../../store/index.ts';
import type { Recorder } from '../identity/recorder.ts';
import type { Timers } from '../timers.ts';
import { SignInLinks } from './links.ts';
import { Sessions } from './sessions.ts';

export interface SignInDeskParts {
  readonly store: IdentityStore;
  readonly recorder: Recorder;
  readonly timers: Timers;
  readonly onFault: (error: unknown) => void;
  /** Other control planes may start and end sessions of the same state. */
  readonly isShared?: boolean;
}

/** Where the console's page for signing in stands. The secret is behind "#": it is in no request, log or referrer. */
export const SIGN_IN_PAGE = '/sign-in';

/** Links and sessions: how people get in, and out again. */
export class SignInDesk implements SignIn {
  readonly links: SignInLinks;
  readonly #sessions: Sessions;
  #origin = '';

  private constructor(links: SignInLinks, sessions: Sessions) {
    this.links = links;
    this.#sessions = sessions;
  }

  static async open(parts: SignInDeskParts): Promise<SignInDesk> {
    return new SignInDesk(new SignInLinks(parts), await Sessions.open(parts));
  }

  /** Says where the console is served: before that no link can be made. */
  setOrigin(origin: string): void {
    this.#origin = origin;
  }

  async sessions(who?: string, current?: string): Promise<Answer<'sessions.list'>['sessions']> {
    return this.#sessions.list(who, current);
  }

  end(by: Caller, id: string, who?: string): Promise<void> {
    return this.#sessions.end(by.who, id, who);
  }

  makeLink(by: Caller): Promise<Answer<'sign-in-links.make'>> {
    return this.makeLinkFor(by.who);
  }

  /** A link for the person who holds this machine: it gives every role. */
  async makeLinkFor(by: string): Promise<Answer<'sign-in-links.make'>> {
    if (this.#origin === '')
      throw new InterlockError('unavailable', 'sign-in', 'the console is not served yet');
    const { secret, until } = await this.links.make(by);
    return { url: `${this.#origin}${SIGN_IN_PAGE}#${secret}`, until };
  }

  /** Who has the secret of a session, or undefined. Throws `unavailable`. */
  meet(secret: string): Promise<Caller | undefined> {
    return this.#sessions.meet(secret);
  }

  /** A session for the secret of a link, which is used up. Throws `untrusted`. */
  async exchange(secret: string): Promise<{ secret: string; until: number }> {
    const link = await this.links.find(secret);
    if (link === undefined) throw usedUp();
    try {
      return await this.#sessions.create({ who: link.who, roles: ROLES, by: 'link' }, [link.change]);
    } catch (error) {
      if (isInterlockError(error) && error.code === 'conflict') throw usedUp();
      throw error;
    }
  }

  /** A session for somebody whom a provider has vouched for. */
  admit(who: string, roles: readonly Role[], by: string): Promise<{ secret: string; until: number }> {
    return this.#sessions.create({ who, roles, by });
  }

  close(): Promise<void> {
    return this.#sessions.close();
  }
}

function usedUp(): InterlockError {
  return new InterlockError(
    'untrusted',
    'sign-in link',
    'this link signs nobody in: it was used, or is older than ten minutes; make another one with "interlock sign-in-link"',
  );
}
