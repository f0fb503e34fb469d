/** What a caller may do: see everything; change what is; approve a promotion; press the red button. */
export const ROLES = ['viewer', 'operator', 'approver', 'breaker'] as const;
export type Role = (typeof ROLES)[number];

/**
 * What a route asks of its caller: nothing (`anyone`), a role, or to be on the socket in the state directory (`local`),
 * which only its owner and root can open. Every role is also a viewer's.
 */
export const NEEDS = ['anyone', ...ROLES, 'local'] as const;
export type Need = (typeof NEEDS)[number];

/** Who calls the API. */
export interface Caller {
  /** As the audit log names it: `local:alice`, `user:https://issuer.example#subject`, a SPIFFE ID, `link:1f2e3d4c`. */
  readonly who: string;
  readonly roles: ReadonlySet<Role>;
  /** On the socket of the state directory. */
  readonly isLocal: boolean;
  /** Names the caller's session, where it has one. */
  readonly session?: string;
  /** Aborted when the caller may call no more, because its session has ended: open streams end with it. */
  readonly ended?: AbortSignal;
}

/** Whether a caller, or nobody in particular, may use a route that needs this. */
export function mayCall(need: Need, caller: Caller | undefined): boolean {
  if (need === 'anyone') return true;
  if (caller === undefined) return false;
  if (caller.isLocal) return true;
  if (need === 'local') return false;
  return need === 'viewer' ? caller.roles.size > 0 : caller.roles.has(need);
}
