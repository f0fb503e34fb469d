import { isIP } from 'node:net';
import {
  type Action,
  grpcMethodOf,
  MAX_PATH_LENGTH,
  type Outcome,
  type Principal,
  recordedPath,
  spiffeIdOf,
} from '../../../access/index.ts';
import { MAX_FUTURE_MS, MIN_TIME_MS } from '../../source.ts';
import type { LogEntry } from './entry.ts';
import { outcomeOf } from './outcome.ts';
import { type LoggedVerdicts, verdictsOf } from './verdicts.ts';

/** What a log is of: requests, connections that were served or denied, or every connection that a listener took. */
type LogKind = 'requests' | 'connections' | 'accepted';

/** What the reader is told of the log that entries belong to. */
export interface LogAbout {
  readonly kind: LogKind;
  /** The port that policies speak of. */
  readonly port: number;
  /** Whether requests to a cluster are gRPC; undefined where its name does not say. */
  readonly isGrpcCluster?: (cluster: string) => boolean | undefined;
}

/** One call that an entry tells of. */
export interface LoggedCall extends LoggedVerdicts {
  readonly from: Principal;
  /** The caller's address; empty where it has none. */
  readonly address: string;
  readonly action: Action;
  readonly outcome: Outcome;
  /** When it began and ended, milliseconds since 1970 UTC. */
  readonly at: number;
  readonly endedAt: number;
  readonly isMutual: boolean;
  readonly isPlaintext: boolean;
}

/** A connection in plain text at a listener that takes such. */
export interface LoggedPlaintext {
  readonly plaintextFrom: string;
  readonly at: number;
}

/** AccessLogType of entries that stand for a whole call, once: NotSet, TcpConnectionEnd, DownstreamEnd, UdpSessionEnd. */
const FINAL_TYPES = new Set([0, 3, 6, 13]);
/** RequestMethod of envoy.config.core.v3; what is not in it the log cannot say. */
const METHODS = ['', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE', 'PATCH'] as const;
const HTTP2 = 3;
/** Protocol Buffers language specification, "Identifiers". */
const SERVICE = /^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$/;
const SERVICE_METHOD = /^[A-Za-z_]\w*$/;
const STYLED_SERVICE = /\.[A-Z]\w*$/;
/** Longest address: an IPv6 one with its zone. */
const MAX_ADDRESS = 64;
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

const NOT_FINAL = 'an entry from the middle of a call: the one at its end counts';

/** The call of an entry, a connection in plain text, nothing to be told (undefined), or the reason why it is left out. */
export function readCall(
  entry: LogEntry,
  about: LogAbout,
  now: number,
): LoggedCall | LoggedPlaintext | string | undefined {
  if (entry.intermediate || !FINAL_TYPES.has(entry.logType)) return NOT_FINAL;
  const at = entry.startedAt;
  if (Number.isNaN(at)) return 'no start time';
  if (at > now + MAX_FUTURE_MS) return 'time in the future';
  if (at < MIN_TIME_MS) return 'time before 2010';
  if (about.kind === 'accepted') return acceptedOf(entry, about, at);
  const from = callerOf(entry);
  if (typeof from === 'string') return from;
  const tcp = about.kind === 'connections';
  const action = tcp ? ({ kind: 'tcp', port: about.port } as const) : actionOf(entry, about);
  if (typeof action === 'string') return action;
  return {
    from,
    address: addressOf(entry),
    action,
    outcome: outcomeOf(entry, tcp),
    at,
    endedAt: at + entry.duration,
    isMutual: from.kind === 'workload',
    isPlaintext: entry.tls === 0,
    ...verdictsOf(entry, tcp),
  };
}

/**
 * Of every connection only those are told that no other log has: one whose handshake failed never reached the workload, and
 * one in plain text is a caller that a strict listener would cut off.
 */
function acceptedOf(
  entry: LogEntry,
  { port }: LogAbout,
  at: number,
): LoggedCall | LoggedPlaintext | undefined {
  const address = addressOf(entry);
  if (entry.transportFailure !== '') {
    return {
      from: { kind: 'unauthenticated', from: address === '' ? 'unknown' : address },
      address,
      action: { kind: 'tcp', port },
      outcome: 'failed',
      at,
      endedAt: at + entry.duration,
      isMutual: false,
      isPlaintext: false,
      before: { allowed: true, decidedBy: 'no-policy' },
      refused: false,
    };
  }
  // Who sent and got nothing is no caller: a port that was tried, a health check.
  if (entry.tls !== 0 || entry.received + entry.sent === 0) return undefined;
  return { plaintextFrom: address === '' ? 'unknown' : address, at };
}

/** The identity that the connection proved, or the address of a caller without one. */
function callerOf(entry: LogEntry): Principal | string {
  if (entry.peer === '') {
    const address = addressOf(entry);
    return { kind: 'unauthenticated', from: address === '' ? 'unknown' : address };
  }
  const id = spiffeIdOf(entry.peer);
  return id === undefined
    ? "a caller's certificate with a URI that is no SPIFFE ID"
    : { kind: 'workload', id };
}

function addressOf({ remote, direct }: LogEntry): string {
  const address = remote === '' ? direct : remote;
  // It becomes a part of names and keys, and Envoy never writes anything but IP addresses there.
  return address.length <= MAX_ADDRESS && isIP(address) !== 0 ? address : '';
}

/** By the rules of the reader of files (src/sources/accesslog/action.ts). */
function actionOf(entry: LogEntry, about: LogAbout): Action | string {
  const method = METHODS[entry.method] ?? '';
  const { port } = about;
  // A route that rewrites does so after the policy has seen the path.
  const raw = entry.originalPath === '' ? entry.path : entry.originalPath;
  if (raw === undefined) return `a path of more than ${MAX_PATH_LENGTH} characters`;
  if (method === '')
    return raw === '' ? 'a request that the proxy could not read' : 'a method that the log has no name for';
  if (raw === '')
    return method === 'CONNECT'
      ? 'a tunnel: the calls inside it have entries of their own'
      : 'a request without a path';
  const path = recordedPath(raw);
  if (path.length > MAX_PATH_LENGTH) return `a path of more than ${MAX_PATH_LENGTH} characters`;
  if (CONTROL.test(path)) return 'a path with control characters';
  if (path[0] !== '/' && path !== '*') return 'a path that does not begin with "/"';
  const isGrpc = method === 'POST' ? grpcOf(entry, about) : false;
  const called = isGrpc === false ? undefined : grpcMethodOf(path);
  if (called !== undefined && isGrpcName(called, isGrpc)) return { kind: 'grpc', port, ...called };
  return { kind: 'http', port, method, path };
}

/** Whether a request is gRPC: by its content type, the cluster that its content type chose, or else (undefined) its path. */
function grpcOf(entry: LogEntry, { isGrpcCluster }: LogAbout): boolean | undefined {
  if (entry.contentType !== '') return /^application\/grpc/i.test(entry.contentType);
  const byCluster = isGrpcCluster?.(entry.upstreamCluster);
  if (byCluster !== undefined) return byCluster;
  if (entry.grpcStatus !== '') return true;
  return entry.protocol === HTTP2 ? undefined : false;
}

function isGrpcName(name: { service: string; method: string }, isGrpc: boolean | undefined): boolean {
  if (!SERVICE.test(name.service) || !SERVICE_METHOD.test(name.method)) return false;
  return isGrpc === true || (STYLED_SERVICE.test(name.service) && /^[A-Z]/.test(name.method));
}
