import type { Outcome } from '../../../access/index.ts';
import type { LogEntry } from './entry.ts';

const RBAC_DENIED = 'rbac_access_denied';
const VIA_UPSTREAM = 'via_upstream';
/** Other response code details of a refusal by a policy: external authorization, JWT authentication. */
const REFUSALS = ['ext_authz_denied', 'jwt_authn_access_denied'];

const bits = (...fields: number[]) => fields.reduce((mask, field) => mask | (1 << field), 0);

/** Fields of ResponseFlags by what they say of a call, as the reader of files has them (src/sources/accesslog/outcome.ts). */
const NEVER = bits(1, 2, 6, 8, 9, 11, 12, 14, 16, 18, 19, 21, 22, 25, 26, 27);
const REFUSED = bits(13);
/** They end an exchange that may have begun: the response code details tell. */
const CUT = bits(4, 5, 7);
const SENT = bits(3, 17, 20, 23, 24);
const CLIENT_LEFT = bits(15, 28);

/** How the call of an entry ended. `tcp`: the entry is about a connection, which has no response code. */
export function outcomeOf(entry: LogEntry, tcp: boolean): Outcome {
  const { details, termination, flags, code, hasUpstreamHost } = entry;
  if (details.startsWith(RBAC_DENIED) || termination.startsWith(RBAC_DENIED)) return 'denied';
  if ((flags & REFUSED) !== 0) return 'denied';
  if ((flags & NEVER) !== 0) return 'failed';
  if ((flags & CUT) !== 0) return tcp || details.startsWith(VIA_UPSTREAM) ? 'error' : 'failed';
  if ((flags & SENT) !== 0) return hasUpstreamHost ? 'error' : 'failed';
  // Of a connection nothing tells whether it went well but that the callee answered at all.
  if (tcp) return entry.sent > 0 ? 'ok' : 'error';
  if (code === 0) {
    // The client went away: the call had been made, whether or not an answer came.
    return (flags & CLIENT_LEFT) !== 0 || entry.sent + entry.received > 0 ? 'error' : 'failed';
  }
  if (details !== '' && !details.startsWith(VIA_UPSTREAM)) {
    // The proxy answered in the callee's place. A response that began, and then broke off, was the callee's.
    if (REFUSALS.some((refusal) => details.startsWith(refusal))) return 'denied';
    if (!hasUpstreamHost) return 'failed';
  }
  return code >= 400 || (entry.grpcStatus !== '' && entry.grpcStatus !== '0') ? 'error' : 'ok';
}
