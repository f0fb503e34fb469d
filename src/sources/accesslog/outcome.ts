import type { Outcome } from '../../access/index.ts';
import { slotOf } from './fields.ts';
import type { Spans } from './spans.ts';

const CODE = slotOf('RESPONSE_CODE');
const FLAGS = slotOf('RESPONSE_FLAGS');
const DETAILS = slotOf('RESPONSE_CODE_DETAILS');
const TERMINATION = slotOf('CONNECTION_TERMINATION_DETAILS');
const GRPC_STATUS = slotOf('GRPC_STATUS');
const UPSTREAM_HOST = slotOf('UPSTREAM_HOST');
const RECEIVED = slotOf('BYTES_RECEIVED');
const SENT = slotOf('BYTES_SENT');

const RBAC_DENIED = Buffer.from('rbac_access_denied');
const VIA_UPSTREAM = Buffer.from('via_upstream');
/** Other response code details of a refusal by a policy: external authorization, JWT authentication. */
const REFUSALS = ['ext_authz_denied', 'jwt_authn_access_denied'].map((text) => Buffer.from(text));

/**
 * What a response flag says of a call: `never` reached the callee, was `refused` by a policy, reached it if it
 * was sent to an upstream host (`sent`), reached it but was `cut` short, or says `nothing` of it.
 */
type Effect = 'never' | 'refused' | 'sent' | 'cut' | 'nothing';

/** Envoy's response flags, short and long (`%RESPONSE_FLAGS%`, `%RESPONSE_FLAGS_LONG%`), and their effect. */
const RESPONSE_FLAGS: readonly (readonly [string, string, Effect])[] = [
  ['UH', 'NoHealthyUpstream', 'never'],
  ['UF', 'UpstreamConnectionFailure', 'never'],
  ['UO', 'UpstreamOverflow', 'never'],
  ['NR', 'NoRouteFound', 'never'],
  ['URX', 'UpstreamRetryLimitExceeded', 'never'],
  ['NC', 'NoClusterFound', 'never'],
  ['LH', 'FailedLocalHealthCheck', 'never'],
  ['FI', 'FaultInjected', 'never'],
  ['RL', 'RateLimited', 'never'],
  ['RLSE', 'RateLimitServiceError', 'never'],
  ['IH', 'InvalidEnvoyRequestHeaders', 'never'],
  ['DPE', 'DownstreamProtocolError', 'never'],
  ['OM', 'OverloadManagerTerminated', 'never'],
  ['DF', 'DnsResolutionFailed', 'never'],
  ['DO', 'DropOverload', 'never'],
  ['NFCF', 'NoFilterConfigFound', 'never'],
  ['RFCF', 'ResponseFromCacheFilter', 'never'],
  ['UAEX', 'UnauthorizedExternalService', 'refused'],
  // These end an exchange that may have begun: the response code details tell.
  ['UC', 'UpstreamConnectionTermination', 'cut'],
  ['UR', 'UpstreamRemoteReset', 'cut'],
  ['LR', 'LocalReset', 'cut'],
  ['UPE', 'UpstreamProtocolError', 'sent'],
  ['UT', 'UpstreamRequestTimeout', 'sent'],
  ['UMSDR', 'UpstreamMaxStreamDurationReached', 'sent'],
  ['SI', 'StreamIdleTimeout', 'sent'],
  ['DT', 'DurationTimeout', 'sent'],
  ['DC', 'DownstreamConnectionTermination', 'nothing'],
  ['DR', 'DownstreamRemoteReset', 'nothing'],
  ['DI', 'DelayInjected', 'nothing'],
];
const EFFECTS = new Map(
  RESPONSE_FLAGS.flatMap(([short, long, effect]) => [[short, effect] as const, [long, effect]]),
);
const CLIENT_LEFT = new Set(['DC', 'DR', 'DownstreamConnectionTermination', 'DownstreamRemoteReset']);

/** How the call of a line ended. `tcp`: the line is about a connection, which has no response code. */
export function outcomeOf(line: Spans, tcp: boolean): Outcome {
  if (line.startsWith(DETAILS, RBAC_DENIED) || line.startsWith(TERMINATION, RBAC_DENIED)) return 'denied';
  const flagged = line.has(FLAGS) ? flaggedOutcome(line, tcp) : undefined;
  if (flagged !== undefined) return flagged;
  // Of a connection nothing tells whether it went well but that the callee answered at all.
  if (tcp) return line.integer(SENT) === 0 ? 'error' : 'ok';
  const code = line.integer(CODE);
  if (code === 0) return moved(line) ? 'error' : 'failed';
  if (line.has(DETAILS) && !line.startsWith(DETAILS, VIA_UPSTREAM)) {
    // The proxy answered in the callee's place. A response that began, and then broke off, was the callee's.
    if (REFUSALS.some((refusal) => line.startsWith(DETAILS, refusal))) return 'denied';
    if (!line.has(UPSTREAM_HOST)) return 'failed';
  }
  if (code !== undefined && code >= 400) return 'error';
  return line.has(GRPC_STATUS) && !isGrpcOk(line) ? 'error' : 'ok';
}

/** The outcome that the response flags decide, or undefined where the response code does. */
function flaggedOutcome(line: Spans, tcp: boolean): Outcome | undefined {
  const flags = (line.text(FLAGS) ?? '').split(',').map((flag) => flag.trim());
  const effects = new Set(flags.map((flag) => EFFECTS.get(flag)));
  if (effects.has('refused')) return 'denied';
  if (effects.has('never')) return 'failed';
  if (effects.has('cut')) {
    if (tcp || line.startsWith(DETAILS, VIA_UPSTREAM)) return 'error';
    return 'failed';
  }
  if (effects.has('sent')) return line.has(UPSTREAM_HOST) ? 'error' : 'failed';
  // The client went away: the call had been made, whether or not an answer came.
  if (!tcp && line.integer(CODE) === 0 && flags.some((flag) => CLIENT_LEFT.has(flag))) return 'error';
  return undefined;
}

function moved(line: Spans): boolean {
  return (line.integer(SENT) ?? 0) > 0 || (line.integer(RECEIVED) ?? 0) > 0;
}

/** gRPC status 0, as a number or by its name in either spelling (`OK`, `Ok`). */
function isGrpcOk(line: Spans): boolean {
  const start = line.start[GRPC_STATUS] as number;
  const length = (line.end[GRPC_STATUS] as number) - start;
  if (length === 1) return line.bytes[start] === 0x30;
  return length === 2 && line.bytes[start] === 0x4f && ((line.bytes[start + 1] as number) | 0x20) === 0x6b;
}
