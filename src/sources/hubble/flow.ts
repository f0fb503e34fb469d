import type { Side } from '../../access/index.ts';
import { hostName } from './dns-names.ts';
import {
  asObject,
  booleanAt,
  enumAt,
  type Json,
  listAt,
  NotUsable,
  numberAt,
  objectAt,
  textAt,
  textsAt,
  valueAt,
} from './json.ts';

// The names and numbers are those of Cilium's api/v1/flow/flow.proto.
const VERDICTS = [
  'VERDICT_UNKNOWN',
  'FORWARDED',
  'DROPPED',
  'ERROR',
  'AUDIT',
  'REDIRECTED',
  'TRACED',
  'TRANSLATED',
];
const DIRECTIONS = ['TRAFFIC_DIRECTION_UNKNOWN', 'INGRESS', 'EGRESS'];
const FLOW_TYPES = ['UNKNOWN_TYPE', 'L3_L4', 'L7', 'SOCK'];
const L7_TYPES = ['UNKNOWN_L7_TYPE', 'REQUEST', 'RESPONSE', 'SAMPLE'];
const AUTH_TYPES = ['DISABLED', 'SPIRE', 'TEST_ALWAYS_FAIL'];
const SOCK_POINTS = ['UNKNOWN', 'PRE_FWD', 'POST_FWD', 'PRE_REV', 'POST_REV'];
const TRACE_POINTS: Readonly<Record<number, string>> = { 5: 'FROM_ENDPOINT', 101: 'TO_ENDPOINT' };
/** The drop reasons that mean a policy's verdict; every other is a connection that failed. */
const DROP_REASONS: Readonly<Record<number, string>> = {
  133: 'POLICY_DENIED',
  177: 'DENIED_BY_LB_SRC_RANGE_CHECK',
  181: 'POLICY_DENY',
  189: 'AUTH_REQUIRED',
  195: 'UNENCRYPTED_TRAFFIC',
};

/** More labels, names, headers or addresses than any Kubernetes object or DNS answer brings. */
const MAX_LIST = 1024;
const MAX_UINT32 = 0xffff_ffff;
const POLICY_VERDICT_EVENT = 5;

/** One end as the flow states it; what it is called is decided in ends.ts. */
export interface RawEnd {
  /** Empty where the flow states none. */
  readonly ip: string;
  readonly identity: number | undefined;
  readonly namespace: string | undefined;
  readonly pod: string | undefined;
  readonly labels: readonly string[];
  readonly workload: string | undefined;
  readonly workloadKind: string | undefined;
  /** DNS names that Hubble knew the address by. */
  readonly names: readonly string[];
  /** Whether this end runs on the node that saw the flow. */
  readonly local: boolean;
}

export interface HttpRecord {
  readonly kind: 'http';
  readonly type: string;
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly protocol: string | undefined;
  /** 0 where none is stated: requests have no code. */
  readonly code: number;
  readonly contentType: string | undefined;
}

export interface DnsRecord {
  readonly kind: 'dns';
  readonly type: string;
  readonly query: string | undefined;
  readonly ips: readonly string[];
}

/** A flow read once into our own shape, every field checked. */
export interface Flow {
  /** Milliseconds since 1970 UTC. */
  readonly at: number;
  readonly verdict: string;
  /** The drop was a policy's decision. */
  readonly byPolicy: boolean;
  readonly authType: string | undefined;
  readonly type: string | undefined;
  /** Whose node saw it. */
  readonly side: Side;
  readonly source: RawEnd;
  readonly destination: RawEnd;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP' | 'ICMP' | undefined;
  /** 0 where not stated. */
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags:
    | { readonly syn: boolean; readonly ack: boolean; readonly fin: boolean; readonly rst: boolean }
    | undefined;
  /** Undefined where the recording does not say. */
  readonly reply: boolean | undefined;
  readonly l7: HttpRecord | DnsRecord | { readonly kind: 'other' } | undefined;
  readonly sockPoint: string | undefined;
  /** DNS name of the Service whose address has not been translated to a pod's yet; else undefined. */
  readonly untranslated: string | undefined;
}

/** The flow that `json` states; `envelopeTime` stands in for a missing time. Throws {@link NotUsable}. */
export function readFlow(json: Json, envelopeTime: unknown): Flow {
  const ip = objectAt(json, 'IP') ?? {};
  const source = readEnd(json, 'source', ip);
  const destination = readEnd(json, 'destination', ip);
  const l4 = readLayer4(objectAt(json, 'l4'));
  const point = enumAt(json, 'trace_observation_point', TRACE_POINTS);
  const direction = enumAt(json, 'traffic_direction', DIRECTIONS);
  const verdict = enumAt(json, 'verdict', VERDICTS) ?? 'VERDICT_UNKNOWN';
  return {
    at: readTime(valueAt(json, 'time') ?? envelopeTime),
    verdict,
    byPolicy: verdict === 'DROPPED' && deniedByPolicy(json),
    authType: enumAt(json, 'auth_type', AUTH_TYPES),
    type: enumAt(json, 'Type', FLOW_TYPES),
    side: sideOf(direction, point, source, destination),
    source,
    destination,
    ...l4,
    // The old `reply` cannot say false: unset and false are one (flow.proto, field 16).
    reply: booleanAt(json, 'is_reply') ?? (booleanAt(json, 'reply') === true ? true : undefined),
    l7: readLayer7(objectAt(json, 'l7')),
    sockPoint: enumAt(json, 'sock_xlate_point', SOCK_POINTS)?.replace(/^SOCK_XLATE_POINT_|DIRECTION_/g, ''),
    untranslated:
      point === 'FROM_ENDPOINT' && destination.pod === undefined
        ? serviceHost(objectAt(json, 'destination_service'))
        : undefined,
  };
}

/** The DNS name that Kubernetes gives a Service. */
function serviceHost(service: Json | undefined): string | undefined {
  const name = service === undefined ? undefined : textAt(service, 'name');
  const namespace = service === undefined ? undefined : textAt(service, 'namespace');
  if (name === undefined || namespace === undefined) return undefined;
  return hostName(`${name}.${namespace}.svc.cluster.local`);
}

/** RFC 3339 with any number of digits, or seconds since 1970 as old versions print. Milliseconds; throws. */
function readTime(value: unknown): number {
  let at = Number.NaN;
  const stamp = asObject(value);
  if (typeof value === 'string') {
    if (/^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)$/.test(value)) {
      at = Date.parse(value);
    }
  } else if (stamp !== undefined) {
    at = (numberAt(stamp, 'seconds', 1e11) ?? Number.NaN) * 1000;
    at += Math.floor((numberAt(stamp, 'nanos', 999_999_999) ?? 0) / 1e6);
  }
  // Go prints a time that was never set as the year 1.
  if (!(at > 0)) throw new NotUsable('no time, or one that is not RFC 3339');
  return at;
}

/** Drops by the datapath name their reason; a drop by the L7 proxy or a policy verdict is always a policy's. */
function deniedByPolicy(json: Json): boolean {
  const event = objectAt(json, 'event_type');
  if (event !== undefined && numberAt(event, 'type', MAX_UINT32) === POLICY_VERDICT_EVENT) return true;
  if (enumAt(json, 'Type', FLOW_TYPES) === 'L7') return true;
  for (const list of ['ingress_denied_by', 'egress_denied_by']) {
    if (listAt(json, list, MAX_LIST).length > 0) return true;
  }
  const reason =
    enumAt(json, 'drop_reason_desc', DROP_REASONS) ??
    DROP_REASONS[numberAt(json, 'drop_reason', MAX_UINT32) ?? 0];
  return reason !== undefined && Object.values(DROP_REASONS).includes(reason);
}

/**
 * Egress is seen where the source runs, ingress where the destination does. Packets of a node's own processes
 * have no direction: then the point of observation tells, then which end is local.
 */
function sideOf(
  direction: string | undefined,
  point: string | undefined,
  source: RawEnd,
  destination: RawEnd,
): Side {
  if (direction === 'EGRESS') return 'caller';
  if (direction === 'INGRESS') return 'callee';
  if (point === 'FROM_ENDPOINT') return 'caller';
  if (point === 'TO_ENDPOINT') return 'callee';
  return destination.local && !source.local ? 'callee' : 'caller';
}

function readEnd(json: Json, which: 'source' | 'destination', addresses: Json): RawEnd {
  const end = objectAt(json, which) ?? {};
  const ip = textAt(addresses, which) ?? '';
  if (ip !== '' && !/^[0-9a-fA-F.:]{2,45}$/.test(ip))
    throw new NotUsable('an address that is not an IP address');
  const workload = listAt(end, 'workloads', MAX_LIST)[0];
  const owner = workload === undefined ? {} : asObject(workload);
  if (owner === undefined) throw new NotUsable('field "workloads" is not a list of objects');
  return {
    ip,
    identity: numberAt(end, 'identity', MAX_UINT32),
    namespace: textAt(end, 'namespace'),
    pod: textAt(end, 'pod_name'),
    labels: readLabels(end),
    workload: textAt(owner, 'name'),
    workloadKind: textAt(owner, 'kind'),
    names: textsAt(json, `${which}_names`, MAX_LIST),
    local: (numberAt(end, 'ID', MAX_UINT32) ?? 0) > 0,
  };
}

/** Labels under their name of today, or of older dumps. */
function readLabels(end: Json): readonly string[] {
  const labels = textsAt(end, 'labels', MAX_LIST);
  return labels.length > 0 ? labels : textsAt(end, 'labelsList', MAX_LIST);
}

function readLayer4(
  l4: Json | undefined,
): Pick<Flow, 'protocol' | 'sourcePort' | 'destinationPort' | 'flags'> {
  for (const protocol of ['TCP', 'UDP', 'SCTP'] as const) {
    const header = l4 === undefined ? undefined : objectAt(l4, protocol);
    if (header === undefined) continue;
    const flags = objectAt(header, 'flags');
    return {
      protocol,
      sourcePort: numberAt(header, 'source_port', 65_535) ?? 0,
      destinationPort: numberAt(header, 'destination_port', 65_535) ?? 0,
      flags:
        flags === undefined
          ? undefined
          : {
              syn: booleanAt(flags, 'SYN') === true,
              ack: booleanAt(flags, 'ACK') === true,
              fin: booleanAt(flags, 'FIN') === true,
              rst: booleanAt(flags, 'RST') === true,
            },
    };
  }
  const icmp = l4 !== undefined && (objectAt(l4, 'ICMPv4') ?? objectAt(l4, 'ICMPv6')) !== undefined;
  return { protocol: icmp ? 'ICMP' : undefined, sourcePort: 0, destinationPort: 0, flags: undefined };
}

function readLayer7(l7: Json | undefined): Flow['l7'] {
  if (l7 === undefined) return undefined;
  const type = enumAt(l7, 'type', L7_TYPES) ?? 'UNKNOWN_L7_TYPE';
  const http = objectAt(l7, 'http');
  if (http !== undefined) {
    return {
      kind: 'http',
      type,
      method: textAt(http, 'method'),
      url: textAt(http, 'url'),
      protocol: textAt(http, 'protocol'),
      code: numberAt(http, 'code', 999) ?? 0,
      contentType: contentTypeOf(listAt(http, 'headers', MAX_LIST)),
    };
  }
  const dns = objectAt(l7, 'dns');
  if (dns === undefined) return { kind: 'other' };
  return { kind: 'dns', type, query: textAt(dns, 'query'), ips: textsAt(dns, 'ips', MAX_LIST) };
}

function contentTypeOf(headers: readonly unknown[]): string | undefined {
  for (const entry of headers) {
    const header = asObject(entry);
    if (header === undefined) throw new NotUsable('field "headers" is not a list of objects');
    if (textAt(header, 'key')?.toLowerCase() === 'content-type')
      return textAt(header, 'value')?.toLowerCase();
  }
  return undefined;
}
