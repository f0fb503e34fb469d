import { isIP } from 'node:net';
import { type Action, grpcPath, type Principal } from '../../src/access/index.ts';
import { type AccessRequest, normalizePath } from '../../src/policy/index.ts';
import { type Outcome, runFilters, type Traffic } from './envoy-rbac.ts';

/** What a rendered document of the envoy engine says about ports and filters. */
export interface EnvoyDocument {
  readonly ports: {
    readonly http: readonly number[];
    readonly tcp: readonly number[];
    readonly others: string;
  };
  readonly http_filters?: readonly Readonly<Record<string, unknown>>[];
  readonly network_filters?: readonly Readonly<Record<string, unknown>>[];
}

/** How the listener serves a port of the document. */
export function servedAs({ ports }: EnvoyDocument, port: number): 'http' | 'tcp' {
  if (ports.http.includes(port)) return 'http';
  return ports.tcp.includes(port) || ports.others !== 'http' ? 'tcp' : 'http';
}

/**
 * What Envoy would answer: the listener's way of serving the port, then the connection manager's own refusals,
 * then the filters.
 */
export function askEnvoy(
  document: EnvoyDocument,
  request: AccessRequest,
  shadow = false,
  at = Number.POSITIVE_INFINITY,
): Outcome {
  const { port, kind } = request.action;
  const http = servedAs(document, port) === 'http';
  const filters = http ? document.http_filters : document.network_filters;
  if (filters === undefined) throw new Error('a chain without filters enforces nothing');
  if (!http) return runFilters(filters, { ...callerOf(request.from), port, at }, shadow);
  // Bytes that are no HTTP are refused by the codec.
  if (kind === 'tcp' || isRefused(request.action)) return { allowed: false };
  return runFilters(filters, { ...trafficOf(request), at }, shadow);
}

/**
 * Whether the codec or the connection manager answers 400 before any filter: paths that cannot be normalised,
 * methods in lower case, and "*", which is no path for a manager that normalises.
 */
export function isRefused(action: Action): boolean {
  if (action.kind === 'tcp') return false;
  const { method, path } = requestLine(action);
  return path === '*' || /[a-z]/.test(method) || !normalizePath(path, method).ok;
}

/** The request as filters see it. */
export function trafficOf({ from, action, attributes }: AccessRequest): Traffic {
  const caller = callerOf(from);
  if (action.kind === 'tcp') return { ...caller, port: action.port };
  const { method, path } = requestLine(action);
  const normal = normalizePath(path, method);
  if (!normal.ok) throw new Error(`${path} is refused before it is seen`);
  const { host = 'h', headers = {} } = attributes ?? {};
  // The query is forwarded as it came, behind the path in normal form.
  const query = /\?.*$/s.exec(attributes?.path ?? path)?.[0] ?? '';
  return { ...caller, port: action.port, http: { method, path: normal.path + query, host, headers } };
}

export function requestLine(action: Exclude<Action, { kind: 'tcp' }>): { method: string; path: string } {
  if (action.kind === 'http') return action;
  return { method: 'POST', path: grpcPath(action.service, action.method) };
}

/** A caller with an identity comes from an address as well, inside the block that rules name. */
export function callerOf(from: Principal): Pick<Traffic, 'tls' | 'remoteIp'> {
  if (from.kind === 'workload') return { tls: { uris: [from.id] }, remoteIp: '10.1.2.3' };
  // A dual-stack listener has IPv4 peers as IPv4.
  const ip = from.from.replace(/^::ffff:(?=\d+\.)/i, '');
  // TLS without a client certificate shows no name at all.
  return { ...(isIP(ip) === 0 ? {} : { remoteIp: ip }), tls: { subject: '' } };
}

/** The request with everything filled in that a real one always has. */
export function complete(request: AccessRequest): AccessRequest {
  const { action, attributes = {} } = request;
  return {
    ...request,
    action: action.port === 0 ? { ...action, port: 9 } : action,
    ...(action.kind === 'tcp' ? {} : { attributes: { host: 'h', headers: {}, ...attributes } }),
  };
}
