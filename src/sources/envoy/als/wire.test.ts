import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { accessLog, type accessLogData } from '../../../proto/envoy/index.ts';
import { readLogMessage, WireError } from './index.ts';
import { commonOf, httpOf, messageOf, SLOTS } from './testing.ts';

const schema = accessLog.StreamAccessLogsMessageSchema;
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const count = fc.bigInt({ min: 0n, max: 2n ** 53n - 1n });
const address = fc
  .oneof(
    fc.record({
      case: fc.constant('socketAddress' as const),
      value: fc.record({ address: text, resolverName: text }),
    }),
    fc.record({ case: fc.constant('pipe' as const), value: fc.record({ path: text }) }),
  )
  .map((value) => ({ address: value }));
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const key = fc.oneof(fc.constantFrom(...SLOTS.keys()), text);
const json = fc.oneof(
  text,
  fc.integer(),
  fc.boolean(),
  fc.constant(null),
  fc.array(text, { maxLength: 3 }),
  fc.dictionary(text, text, { maxKeys: 2 }),
);
const struct = fc.dictionary(key, json, { maxKeys: 6 });
const flagNames = [
  'noHealthyUpstream',
  'localReset',
  'downstreamRemoteReset',
  'dnsResolutionFailure',
  'noRouteFound',
] as const;

const common = fc.record(
  {
    sampleRate: fc.double({ noNaN: true }),
    downstreamRemoteAddress: maybe(address),
    downstreamDirectRemoteAddress: maybe(address),
    upstreamRemoteAddress: maybe(address),
    upstreamCluster: text,
    routeName: text,
    connectionTerminationDetails: text,
    downstreamTransportFailureReason: text,
    streamId: text,
    intermediateLogEntry: fc.boolean(),
    accessLogType: fc.integer({ min: 0, max: 20 }),
    upstreamWireBytesSent: count,
    customTags: fc.dictionary(text, text, { maxKeys: 3 }),
    startTime: maybe(
      fc.record({
        seconds: fc.bigInt({ min: 0n, max: 10n ** 11n }),
        nanos: fc.integer({ min: 0, max: 999_999_999 }),
      }),
    ),
    duration: maybe(
      fc.record({
        seconds: fc.bigInt({ min: 0n, max: 10n ** 9n }),
        nanos: fc.integer({ min: 0, max: 999_999_999 }),
      }),
    ),
    tlsProperties: maybe(
      fc.record({
        tlsVersion: fc.integer({ min: 0, max: 4 }),
        tlsSniHostname: text,
        peerCertificateProperties: fc.record({
          subject: text,
          subjectAltName: fc.array(
            fc.record({
              san: fc.record({
                case: fc.constantFrom('uri' as const, 'dns' as const),
                value: fc.string({ minLength: 1, maxLength: 20 }),
              }),
            }),
            { maxLength: 3 },
          ),
        }),
      }),
    ),
    responseFlags: maybe(
      fc.subarray([...flagNames]).map((names) => Object.fromEntries(names.map((name) => [name, true]))),
    ),
    metadata: maybe(
      fc
        .dictionary(
          fc.oneof(fc.constantFrom('envoy.filters.http.rbac', 'envoy.filters.network.rbac'), text),
          struct,
          { maxKeys: 3 },
        )
        .map((filterMetadata) => ({ filterMetadata })),
    ),
  },
  { requiredKeys: [] },
);
const http = fc.record({
  commonProperties: maybe(common),
  protocolVersion: fc.integer({ min: 0, max: 4 }),
  request: maybe(
    fc.record({
      requestMethod: fc.integer({ min: 0, max: 9 }),
      path: text,
      originalPath: text,
      userAgent: text,
      requestBodyBytes: count,
      requestHeaders: fc.dictionary(fc.oneof(fc.constant('content-type'), text), text, { maxKeys: 3 }),
    }),
  ),
  response: maybe(
    fc.record({
      responseCode: maybe(fc.integer({ min: 0, max: 2 ** 32 - 1 })),
      responseBodyBytes: count,
      responseCodeDetails: text,
      responseTrailers: fc.dictionary(fc.oneof(fc.constant('grpc-status'), text), text, { maxKeys: 2 }),
    }),
  ),
});
const tcp = fc.record({
  commonProperties: maybe(common),
  connectionProperties: maybe(fc.record({ receivedBytes: count, sentBytes: count })),
});

type Entry = accessLogData.HTTPAccessLogEntry | accessLogData.TCPAccessLogEntry;

/** What the reader should have read, from what the protobuf library read. */
function expected(entry: Entry) {
  const common = entry.commonProperties;
  const isHttp = entry.$typeName === 'envoy.data.accesslog.v3.HTTPAccessLogEntry';
  const request = isHttp ? entry.request : undefined;
  const response = isHttp ? entry.response : undefined;
  const connection = isHttp ? undefined : entry.connectionProperties;
  const ip = (a?: { address: { case?: string | undefined; value?: unknown } }) =>
    a?.address.case === 'socketAddress' ? (a.address.value as { address: string }).address : '';
  const verdicts: Record<number, string> = {};
  for (const [name, fields] of Object.entries(common?.metadata?.filterMetadata ?? {})) {
    if (!/^envoy\.filters\.(http|network)\.rbac$/.test(name)) continue;
    for (const [key, value] of Object.entries(fields)) {
      const slot = SLOTS.get(key);
      if (slot === undefined) continue;
      if (typeof value === 'string') verdicts[slot] = value;
      else delete verdicts[slot];
    }
  }
  const uri = common?.tlsProperties?.peerCertificateProperties?.subjectAltName.find(
    ({ san }) => san.case === 'uri',
  )?.san.value;
  const bit = {
    noHealthyUpstream: 2,
    localReset: 4,
    downstreamRemoteReset: 28,
    dnsResolutionFailure: 27,
    noRouteFound: 9,
  };
  const flags = flagNames.reduce(
    (sum, name) => (common?.responseFlags?.[name] === true ? sum | (1 << bit[name]) : sum),
    0,
  );
  return {
    remote: ip(common?.downstreamRemoteAddress),
    direct: ip(common?.downstreamDirectRemoteAddress),
    tls: common?.tlsProperties?.tlsVersion ?? 0,
    peer: uri ?? '',
    startedAt: millisecondsOf(common?.startTime) ?? Number.NaN,
    duration: millisecondsOf(common?.duration) ?? 0,
    hasUpstreamHost: common?.upstreamRemoteAddress !== undefined,
    upstreamCluster: common?.upstreamCluster ?? '',
    flags,
    termination: common?.connectionTerminationDetails ?? '',
    transportFailure: common?.downstreamTransportFailureReason ?? '',
    routeName: common?.routeName ?? '',
    intermediate: common?.intermediateLogEntry ?? false,
    logType: common?.accessLogType ?? 0,
    verdicts,
    received: Number(request?.requestBodyBytes ?? connection?.receivedBytes ?? 0n),
    sent: Number(response?.responseBodyBytes ?? connection?.sentBytes ?? 0n),
    protocol: isHttp ? entry.protocolVersion : 0,
    method: request?.requestMethod ?? 0,
    path: request?.path ?? '',
    originalPath: request?.originalPath ?? '',
    contentType: request?.requestHeaders['content-type'] ?? '',
    code: response?.responseCode ?? 0,
    details: response?.responseCodeDetails ?? '',
    grpcStatus: response?.responseTrailers['grpc-status'] ?? '',
  };
}

function millisecondsOf(time: { seconds: bigint; nanos: number } | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds) * 1000 + Math.floor(time.nanos / 1e6);
}

/** Slots that hold a text, so that holes and undefined are one. */
const plain = (entries: readonly { verdicts: (string | undefined)[] }[]) =>
  entries.map((entry) => ({
    ...entry,
    verdicts: Object.fromEntries(Object.entries(entry.verdicts).filter(([, value]) => value !== undefined)),
  }));

test('messages are read as the protobuf library reads them', () => {
  const logs = fc.oneof(
    fc.record({
      case: fc.constant('httpLogs' as const),
      value: fc.record({ logEntry: fc.array(http, { maxLength: 3 }) }),
    }),
    fc.record({
      case: fc.constant('tcpLogs' as const),
      value: fc.record({ logEntry: fc.array(tcp, { maxLength: 3 }) }),
    }),
  );
  const message = fc.record({
    identifier: maybe(fc.record({ logName: text, node: fc.record({ id: text }) })),
    logEntries: logs,
  });
  fc.assert(
    fc.property(message, (init) => {
      // Shapes of fields that are absent: create() takes undefined for them.
      const bytes = toBinary(schema, create(schema, init as Parameters<typeof messageOf>[0]));
      const whole = fromBinary(schema, bytes);
      const read = readLogMessage(Buffer.from(bytes), SLOTS);
      const entries: readonly Entry[] = whole.logEntries.value?.logEntry ?? [];
      expect(plain(whole.logEntries.case === 'httpLogs' ? read.http : read.tcp)).toEqual(
        entries.map(expected),
      );
      expect(read.identifier).toEqual(
        whole.identifier === undefined
          ? undefined
          : { node: whole.identifier.node?.id ?? '', logName: whole.identifier.logName },
      );
    }),
  );
});

test('bytes that are no message end in one kind of error, whatever they are', () => {
  const valid = messageOf({
    logEntries: { case: 'httpLogs', value: { logEntry: [httpOf(), { commonProperties: commonOf() }] } },
  });
  const broken = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.record({ at: fc.nat(valid.length - 1), byte: fc.nat(255) }).map(({ at, byte }) => {
      const copy = Uint8Array.from(valid);
      copy[at] = byte;
      return copy;
    }),
    fc.nat(valid.length).map((end) => valid.subarray(0, end)),
  );
  fc.assert(
    fc.property(broken, (bytes) => {
      try {
        readLogMessage(Buffer.from(bytes), SLOTS);
      } catch (error) {
        expect(error).toBeInstanceOf(WireError);
      }
    }),
    { numRuns: 2000 },
  );
});

test('what a message nests deeply is stepped over, not descended into', () => {
  let nested = Buffer.from([0x1a, 0x01, 0x61]);
  for (let i = 0; i < 5000; i++)
    nested = Buffer.concat([Buffer.from([0x2a]), lengthOf(nested.length), nested]);
  const field = (number: number, content: Buffer) =>
    Buffer.concat([lengthOf(number * 8 + 2), lengthOf(content.length), content]);
  const entry = field(
    1,
    field(
      1,
      field(
        17,
        field(1, Buffer.concat([field(1, Buffer.from('envoy.filters.http.rbac')), field(2, nested)])),
      ),
    ),
  );
  expect(readLogMessage(field(2, entry), SLOTS).http).toHaveLength(1);
});

/** A number as a varint. */
function lengthOf(n: number): Buffer {
  const bytes: number[] = [];
  for (let rest = n; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}
