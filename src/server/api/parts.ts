import type { Answer, Caller } from '../../api/index.ts';
import type { AgentServer } from '../agents/server.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Estate } from '../estate/index.ts';
import type { Federation } from '../federation/federation.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Lifecycle } from '../identity/lifecycle.ts';
import type { Notifier } from '../notify/index.ts';
import type { Gatekeeper } from '../promotion/index.ts';
import type { History, Reviews } from '../review/index.ts';
import type { JoinedAuthorities } from '../upstream/joined.ts';
import type { Timers } from '../timers.ts';
import type { Events } from './events.ts';
import type { SyncOrigins } from './sync-origins.ts';

/** Sessions and sign-in links, where callers sign in. */
export interface SignIn {
  /** Every session, or those of one caller; `current` names the one that asks. */
  sessions(who?: string, current?: string): Promise<Answer<'sessions.list'>['sessions']>;
  /** Ends a session; only one of `who` where that is given. Throws `not_found`. */
  end(by: Caller, id: string, who?: string): Promise<void>;
  makeLink(by: Caller): Promise<Answer<'sign-in-links.make'>>;
}

/** What the API works on. */
export interface ApiParts {
  readonly plane: ControlPlane;
  readonly timers: Timers;
  readonly server: AgentServer;
  readonly lifecycle: Lifecycle;
  readonly federation: Federation;
  readonly enforcing: Enforcing;
  readonly joined: JoinedAuthorities;
  readonly estate: Estate;
  readonly events: Events;
  readonly reviews: Reviews;
  readonly gatekeeper: Gatekeeper;
  readonly history: History;
  readonly syncOrigins: SyncOrigins;
  /** Absent where nobody signs in: the socket in the state directory is the only way. */
  readonly signIn?: SignIn | undefined;
  /** Absent where no channel is set up. */
  readonly notifier?: Notifier | undefined;
  readonly version: string;
  readonly startedAt: number;
  readonly onFault: (error: unknown) => void;
}
