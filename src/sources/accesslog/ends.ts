import { type Endpoint, type Side, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import { type Address, addressOf, hostOf, isLoopback, portOf } from './address.ts';
import { type Operator, slotOf } from './fields.ts';
import type { Spans } from './spans.ts';
import { type ClientCert, lastClientCert } from './xfcc.ts';

/**
 * One end of a call as a line names it: an identity from a certificate, or an address that an inventory may
 * attribute and a host name for where it does not.
 */
export interface LineEnd {
  readonly spiffeId?: SpiffeId;
  readonly ip?: string;
  readonly host?: string;
}

/** Who called whom, and on which port: what lines of the same proxies have in common. */
export interface Ends {
  /** Whose proxy wrote the line. */
  readonly side: Side;
  readonly from: LineEnd;
  readonly to: LineEnd;
  /** The callee's own port, 0 where the line does not state it. */
  readonly port: number;
  /** Whether Istio's naming says that the callee's own proxy wrote the line. */
  readonly inbound: boolean;
  /** Whether the caller's address decided any of this. */
  readonly byAddress: boolean;
  /** Both ends showed a certificate; the line says that there was no TLS. */
  readonly mutual: boolean;
  readonly plaintext: boolean;
}

const PEER_SAN = slotOf('DOWNSTREAM_PEER_URI_SAN');
const LOCAL_SAN = slotOf('DOWNSTREAM_LOCAL_URI_SAN');
const UPSTREAM_PEER_SAN = slotOf('UPSTREAM_PEER_URI_SAN');
const UPSTREAM_LOCAL_SAN = slotOf('UPSTREAM_LOCAL_URI_SAN');
const TLS_VERSION = slotOf('DOWNSTREAM_TLS_VERSION');
const UPSTREAM_TLS_VERSION = slotOf('UPSTREAM_TLS_VERSION');
const CLUSTER = slotOf('UPSTREAM_CLUSTER');

/** Ports that Istio redirects connections to; they are no workload's own. */
const CAPTURE_PORTS = new Set([15001, 15006, 15008]);

/** A reason to skip a line, found deep inside: thrown here, caught in {@link endsOf}, never seen outside. */
class Unusable extends Error {}

/** The two ends of the call that a line is about, or the reason why they cannot be told. */
export function endsOf(line: Spans): Ends | string {
  try {
    const cluster = clusterOf(text(line, 'UPSTREAM_CLUSTER'));
    const side = sideOf(line, cluster);
    const ends =
      (side ?? sideByAddress(line)) === 'callee' ? calleeLine(line, cluster) : callerLine(line, cluster);
    return { ...ends, byAddress: side === undefined || ends.from.spiffeId === undefined };
  } catch (error) {
    if (error instanceof Unusable) return error.message;
    throw error;
  }
}

/** The parts of Istio's cluster names: `inbound|8080||`, `outbound|9080|v1|reviews.default.svc.cluster.local`. */
interface Cluster {
  readonly kind: 'inbound' | 'waypoint' | 'outbound' | 'outside' | 'other';
  readonly port: number | undefined;
  readonly host: string | undefined;
}

function clusterOf(name: string | undefined): Cluster {
  const parts = (name ?? '').split('|');
  if (parts.length === 4) {
    const kind = CLUSTER_KINDS.get(parts[0] as string);
    if (kind !== undefined) return { kind, port: portOf(parts[1] as string), host: hostOf(parts[3]) };
  }
  const kind = CLUSTER_KINDS.get((name ?? '').replace(/Ipv[46]$/, '')) ?? 'other';
  return { kind, port: undefined, host: undefined };
}

const CLUSTER_KINDS = new Map<string, Cluster['kind']>([
  ['inbound', 'inbound'],
  ['InboundPassthroughCluster', 'inbound'],
  // A waypoint answers for the workloads behind it: it verified the caller, and is not the callee.
  ['inbound-vip', 'waypoint'],
  ['inbound-pod', 'waypoint'],
  ['outbound', 'outbound'],
  ['PassthroughCluster', 'outside'],
  ['BlackHoleCluster', 'outside'],
]);

/** Whose proxy wrote the line, where a cluster's name or a certificate tells. */
function sideOf(line: Spans, cluster: Cluster): Side | undefined {
  if (cluster.kind === 'inbound' || cluster.kind === 'waypoint') return 'callee';
  if (cluster.kind === 'outbound' || cluster.kind === 'outside') return 'caller';
  if (line.has(LOCAL_SAN)) return 'callee';
  return line.has(UPSTREAM_PEER_SAN) ? 'caller' : undefined;
}

/** An application reaches its own proxy over loopback; anyone else's proxy is nearer to the callee. */
function sideByAddress(line: Spans): Side {
  const remote = peerAddress(line);
  const upstream = address(line, 'UPSTREAM_HOST');
  if (remote === undefined || upstream === undefined) return 'callee';
  return isLoopback(remote.ip) && !isLoopback(upstream.ip) ? 'caller' : 'callee';
}

/** The caller's address, as the name of its instance; `side` says whose proxy wrote the line. */
export function instanceOf(line: Spans, side: Side): string | undefined {
  return (side === 'callee' ? peerAddress(line) : callerAddress(line))?.ip;
}

function calleeLine(line: Spans, cluster: Cluster): Omit<Ends, 'byAddress'> {
  const cert = clientCert(line);
  const by = line.isEmpty(LOCAL_SAN) ? undefined : cert?.by;
  const caller = spiffe(text(line, 'DOWNSTREAM_PEER_URI_SAN')?.split(',') ?? cert?.uri);
  const waypoint = cluster.kind === 'waypoint';
  const callee = waypoint
    ? spiffe(text(line, 'UPSTREAM_PEER_URI_SAN')?.split(','))
    : spiffe(text(line, 'DOWNSTREAM_LOCAL_URI_SAN')?.split(',') ?? by);
  const peer = peerAddress(line);
  if (caller === undefined && peer !== undefined && isLoopback(peer.ip)) {
    throw new Unusable('a call over loopback, which stays within its pod');
  }
  const local = address(line, 'DOWNSTREAM_LOCAL_ADDRESS');
  const upstream = address(line, 'UPSTREAM_HOST');
  const server = waypoint ? upstream : calleeAddress(local, upstream, cluster);
  return {
    side: 'callee',
    from: { ...(caller && { spiffeId: caller }), ...(peer && { ip: peer.ip }) },
    to: {
      ...(callee && { spiffeId: callee }),
      ...(server && { ip: server.ip }),
      // The name that the caller wrote is believed only where nothing else names the callee.
      ...hostEnd(cluster.host ?? (server === undefined ? calledName(line) : undefined)),
    },
    port: calleePort(
      local,
      cluster,
      upstream,
      waypoint || (callee === undefined && server === upstream && cluster.kind === 'other'),
    ),
    inbound: cluster.kind === 'inbound' || waypoint,
    mutual: caller !== undefined && (callee !== undefined || waypoint),
    plaintext: line.isEmpty(TLS_VERSION),
  };
}

function callerLine(line: Spans, cluster: Cluster): Omit<Ends, 'byAddress'> {
  const caller = spiffe(
    (text(line, 'UPSTREAM_LOCAL_URI_SAN') ?? text(line, 'DOWNSTREAM_LOCAL_URI_SAN'))?.split(','),
  );
  const callee = spiffe(text(line, 'UPSTREAM_PEER_URI_SAN')?.split(','));
  const own = callerAddress(line);
  const upstream = address(line, 'UPSTREAM_HOST');
  const original = cluster.kind === 'outside' ? address(line, 'DOWNSTREAM_LOCAL_ADDRESS') : undefined;
  const server = upstream ?? original;
  const named = cluster.kind === 'other' || cluster.kind === 'outside';
  const host = cluster.host ?? (named ? calledName(line) : undefined);
  return {
    side: 'caller',
    from: { ...(caller && { spiffeId: caller }), ...(own && { ip: own.ip }) },
    to: {
      ...(callee && { spiffeId: callee }),
      ...(server && { ip: server.ip }),
      ...hostEnd(host ?? (server === undefined ? calledName(line) : undefined)),
    },
    // An outbound cluster's port is the Service's, which need not be the container's.
    port: server?.port ?? 0,
    inbound: false,
    mutual: line.has(UPSTREAM_LOCAL_SAN) && caller !== undefined && callee !== undefined,
    plaintext: line.isEmpty(UPSTREAM_TLS_VERSION) && upstream !== undefined,
  };
}

/** What an address attributed or not, a host name, or nothing at all stands for. */
export function endpointOf(end: LineEnd, attributed: Endpoint | undefined): Endpoint {
  if (end.spiffeId !== undefined) return { spiffeId: end.spiffeId };
  if (attributed !== undefined && isKnown(attributed)) return attributed;
  if (end.host !== undefined) return { host: end.host };
  return end.ip === undefined ? { entity: 'unknown' } : { ip: end.ip };
}

/** Whether more is known of an endpoint than its address. */
function isKnown(end: Endpoint): boolean {
  return Object.keys(end).some((key) => key !== 'ip');
}

/** Whether the callee's name, as the caller wrote it, may count: nothing surer is sure to name the callee. */
export function needsName(line: Spans): boolean {
  if (line.has(UPSTREAM_PEER_SAN)) return false;
  // Istio's inbound clusters, and anyone's whose name begins alike: with a certificate, the line is the callee's.
  const inbound = line.bytes[line.start[CLUSTER] as number] === 0x69;
  return !(inbound && line.has(CLUSTER) && line.has(LOCAL_SAN));
}

/** Whether a line leaves something to its XFCC header: it does not name both certificates itself. */
export function needsClientCert(line: Spans): boolean {
  return !line.has(PEER_SAN) || !line.has(LOCAL_SAN);
}

/**
 * The XFCC header, where it is the word of this proxy. A format that logs the peer's certificate or the TLS
 * version, and has none there, tells that the header came from someone else.
 */
function clientCert(line: Spans): ClientCert | undefined {
  const header = needsClientCert(line) ? text(line, 'REQ(X-FORWARDED-CLIENT-CERT)') : undefined;
  if (header === undefined || line.isEmpty(PEER_SAN)) return undefined;
  if (line.isEmpty(TLS_VERSION)) return undefined;
  const cert = lastClientCert(header);
  if (cert === undefined) throw new Unusable('an x-forwarded-client-cert header that is not well formed');
  return cert;
}

/** The one SPIFFE ID among a certificate's URI names, or undefined where there is none. */
function spiffe(uris: readonly string[] | undefined): SpiffeId | undefined {
  const ids = new Set((uris ?? []).map((uri) => uri.trim()).filter((uri) => /^spiffe:/i.test(uri)));
  const [first] = ids;
  if (first === undefined) return undefined;
  // X509-SVID.md section 2: exactly one URI, and it is the SPIFFE ID.
  if (ids.size > 1) throw new Unusable('a certificate with more than one SPIFFE ID');
  const id = spiffeIdOf(first);
  if (id === undefined) throw new Unusable('a SPIFFE ID that the standard does not allow');
  return id;
}

/** The address that the caller's connection came from; undefined where the log has only a header's word for it. */
function peerAddress(line: Spans): Address | undefined {
  const direct = address(line, 'DOWNSTREAM_DIRECT_REMOTE_ADDRESS');
  if (direct !== undefined) return direct;
  const remote = address(line, 'DOWNSTREAM_REMOTE_ADDRESS');
  // Envoy writes port 0 behind an address that it took from x-forwarded-for: the first caller's, not this one's.
  return remote?.hasPort === true && remote.port === 0 ? undefined : remote;
}

/** The caller's own address, from its own proxy. */
function callerAddress(line: Spans): Address | undefined {
  const peer = peerAddress(line);
  if (peer !== undefined && !isLoopback(peer.ip)) return peer;
  const local = address(line, 'UPSTREAM_LOCAL_ADDRESS');
  return local === undefined || isLoopback(local.ip) ? undefined : local;
}

/** The callee's address: where the connection was accepted, unless the proxy sends it on to another machine. */
function calleeAddress(
  local: Address | undefined,
  upstream: Address | undefined,
  cluster: Cluster,
): Address | undefined {
  const [first, second] = cluster.kind === 'inbound' ? [local, upstream] : [upstream, local];
  return [first, second].find((each) => each !== undefined && !isLoopback(each.ip));
}

function calleePort(
  local: Address | undefined,
  cluster: Cluster,
  upstream: Address | undefined,
  elsewhere: boolean,
): number {
  if (elsewhere && upstream !== undefined) return upstream.port;
  if (local !== undefined && local.port !== 0 && !CAPTURE_PORTS.has(local.port)) return local.port;
  return cluster.port ?? upstream?.port ?? 0;
}

/** The host that the caller asked for: the request's authority, else the TLS server name. */
function calledName(line: Spans): string | undefined {
  if (!needsName(line)) return undefined;
  return hostOf(text(line, 'REQ(:AUTHORITY)')) ?? hostOf(text(line, 'REQUESTED_SERVER_NAME'));
}

function hostEnd(host: string | undefined): { host: string } | undefined {
  return host === undefined ? undefined : { host };
}

function address(line: Spans, operator: Operator): Address | undefined {
  return addressOf(line.text(slotOf(operator)));
}

function text(line: Spans, operator: Operator): string | undefined {
  return line.text(slotOf(operator));
}
