import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { accessLog, accessLogData } from '../../../proto/envoy/index.ts';
import { metadataSlots } from './index.ts';
import type { VerdictFilter } from './verdicts.ts';

export const NOW = Date.UTC(2026, 10, 21, 12);
export const WEB = 'spiffe://example.org/ns/shop/sa/web';

/** Filters as the engine renders them. */
export const FILTERS: readonly VerdictFilter[] = [
  { set: 'target', action: 'deny', prefix: 'interlock_target_deny_' },
  { set: 'target', action: 'allow', prefix: 'interlock_target_allow_' },
  { set: 'enforced', action: 'deny', prefix: 'interlock_deny_' },
  { set: 'enforced', action: 'allow', prefix: 'interlock_allow_' },
];
export const SLOTS = metadataSlots(FILTERS);

export type Common = MessageInitShape<typeof accessLogData.AccessLogCommonSchema>;
export type Http = MessageInitShape<typeof accessLogData.HTTPAccessLogEntrySchema>;

/** A socket of an address. */
export const address = (ip: string, port = 40_000) =>
  ({
    address: {
      case: 'socketAddress',
      value: { address: ip, portSpecifier: { case: 'portValue', value: port } },
    },
  }) as const;

/** What a request from the web to the cart over mutual TLS has in common with a connection. */
export function commonOf(over: Common = {}): Common {
  const common: Common = {
    downstreamRemoteAddress: address('10.0.0.7'),
    downstreamDirectRemoteAddress: address('10.0.0.7'),
    downstreamLocalAddress: address('10.0.0.8', 8080),
    upstreamRemoteAddress: address('127.0.0.1', 8080),
    upstreamCluster: 'inbound/0.0.0.0:15000',
    startTime: { seconds: BigInt(NOW / 1000 - 5), nanos: 250_000_000 },
    duration: { seconds: 2n, nanos: 500_000_000 },
    tlsProperties: {
      tlsVersion: accessLogData.TLSProperties_TLSVersion.TLSv1_3,
      peerCertificateProperties: { subjectAltName: [{ san: { case: 'uri', value: WEB } }] },
    },
    accessLogType: accessLogData.AccessLogType.DownstreamEnd,
    routeName: 'v7',
  };
  // The two are shapes of one message.
  return { ...common, ...over } as Common;
}

/** `GET /items/1` that was answered. */
export function httpOf(over: Http = {}, common: Common = {}): Http {
  const http: Http = {
    commonProperties: commonOf(common),
    protocolVersion: accessLogData.HTTPAccessLogEntry_HTTPVersion.HTTP11,
    request: { requestMethod: 1, path: '/items/1?color=red', authority: 'cart:8080', requestId: 'x' },
    response: { responseCode: 200, responseCodeDetails: 'via_upstream', responseBodyBytes: 12n },
  };
  // The two are shapes of one message.
  return { ...http, ...over } as Http;
}

/** Dynamic metadata of the RBAC filters. */
export function rbac(values: Readonly<Record<string, string>>, kind = 'http') {
  return { filterMetadata: { [`envoy.filters.${kind}.rbac`]: values } };
}

/** A message as Envoy sends it. */
export function messageOf(init: MessageInitShape<typeof accessLog.StreamAccessLogsMessageSchema>): Buffer {
  const schema = accessLog.StreamAccessLogsMessageSchema;
  return Buffer.from(toBinary(schema, create(schema, init)));
}

export function httpMessage(...logEntry: Http[]): Buffer {
  return messageOf({ logEntries: { case: 'httpLogs', value: { logEntry } } });
}

export function tcpMessage(
  ...logEntry: MessageInitShape<typeof accessLogData.TCPAccessLogEntrySchema>[]
): Buffer {
  return messageOf({ logEntries: { case: 'tcpLogs', value: { logEntry } } });
}
