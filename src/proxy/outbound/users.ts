import type { Socket } from 'node:net';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { isConnected, SockDiag, socketFd, strangersUid, uidOf } from '../../system/index.ts';
import { isLocal, tupleOf } from '../tuple.ts';

/** Who may use the outbound ports of a sidecar beside its own user and root: names or numbers; or whoever reaches them. */
export type OutboundUsers = 'any' | readonly (string | number)[];

/** Whether a local connection may go out as the workload. */
export interface OutboundGuard {
  /** Why it may not; undefined where it may. Never throws. */
  refusal(socket: Socket): string | undefined;
  close(): void;
}

export interface UsersOptions {
  readonly users: OutboundUsers;
  /** This process' own user. */
  readonly self?: number | undefined;
  readonly diag?: Pick<SockDiag, 'connection' | 'close'> | undefined;
  readonly strangers?: number | undefined;
}

const ANY: OutboundGuard = { refusal: () => undefined, close: () => {} };

/**
 * Asks the kernel whose each connection is: a sidecar speaks as its workload, so that whoever may use its outbound ports
 * is the workload to all its peers. What cannot be found out is refused. Throws `not_found` for a user who is unknown
 * here, `unavailable` and `io` where the kernel cannot be asked.
 */
export function guardOf(options: UsersOptions): OutboundGuard {
  const { users, self = process.geteuid?.(), strangers = strangersUid() } = options;
  if (users === 'any') return ANY;
  // Root can take the workload's keys and memory: to refuse it would only look like something.
  const allowed = new Set([0, ...(self === undefined ? [] : [self]), ...users.map((user) => uidOf(user))]);
  if (strangers !== undefined) allowed.delete(strangers);
  const diag = options.diag ?? openDiag();
  return {
    refusal: (socket) => {
      try {
        return refusalOf(socket, diag, allowed);
      } catch (error) {
        return `whose it is cannot be found out: ${isInterlockError(error) ? error.message : String(error)}`;
      }
    },
    close: () => diag.close(),
  };
}

function refusalOf(
  socket: Socket,
  diag: Pick<SockDiag, 'connection'>,
  allowed: ReadonlySet<number>,
): string | undefined {
  const tuple = tupleOf(socket);
  if (!isLocal(tuple)) return `it came from ${tuple.local.host}, and only users of this machine may`;
  const held = diag.connection(tuple)?.held;
  // Only after the question: an address that was given up could be another one's by then.
  if (held === undefined || !isConnected(socketFd(socket))) return 'nobody holds its other end any more';
  return allowed.has(held.uid) ? undefined : `it is user ${held.uid}'s, who is not among its outboundUsers`;
}

function openDiag(): SockDiag {
  try {
    return new SockDiag();
  } catch (cause) {
    const why = isInterlockError(cause) ? cause.message : String(cause);
    throw new InterlockError(
      isInterlockError(cause) ? cause.code : 'unavailable',
      'outboundUsers',
      `whose a local connection is cannot be found out here (${why}): where nobody else reaches the outbound ports, say "outboundUsers: any"`,
      { cause },
    );
  }
}
