import type { AgentServer } from '../agents/server.ts';
import type { Enforcing } from '../enforcement/enforcing.ts';
import type { Federation } from '../federation/federation.ts';
import type { ControlPlane } from '../identity/control-plane.ts';
import type { Lifecycle } from '../identity/lifecycle.ts';
import type { JoinedAuthorities } from '../upstream/joined.ts';
import type { Timers } from '../timers.ts';

/** What the API works on. */
export interface AdminParts {
  readonly plane: ControlPlane;
  readonly timers: Timers;
  readonly server: AgentServer;
  readonly lifecycle: Lifecycle;
  readonly federation: Federation;
  readonly enforcing: Enforcing;
  readonly joined: JoinedAuthorities;
  readonly version: string;
  readonly startedAt: number;
  readonly onFault: (error: unknown) => void;
}

/** What every route knows of its caller. */
export interface AdminEnv {
  Variables: { who: string };
}
