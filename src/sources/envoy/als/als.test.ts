import { describe, expect, test } from 'vitest';
import { accessLogData } from '../../../proto/envoy/index.ts';
import { type LogAbout, readCall, readLogMessage } from './index.ts';
import {
  address,
  commonOf,
  type Common,
  type Http,
  httpMessage,
  httpOf,
  messageOf,
  NOW,
  rbac,
  SLOTS,
  tcpMessage,
  WEB,
} from './testing.ts';

const requests: LogAbout = { kind: 'requests', port: 8080 };

function callOf(http: Http, about = requests) {
  const [entry] = readLogMessage(httpMessage(http), SLOTS).http;
  if (entry === undefined) throw new Error('no entry was read');
  return readCall(entry, about, NOW);
}

function tcpCall(common: Common, kind: LogAbout['kind'] = 'connections', bytes = 5n) {
  const entry = {
    commonProperties: commonOf({ accessLogType: 3, ...common }),
    connectionProperties: { receivedBytes: bytes, sentBytes: bytes },
  };
  const [read] = readLogMessage(tcpMessage(entry), SLOTS).tcp;
  if (read === undefined) throw new Error('no entry was read');
  return readCall(read, { kind, port: 6379 }, NOW);
}

describe('a request', () => {
  test('is a call of the identity that the connection proved', () => {
    expect(callOf(httpOf())).toEqual({
      from: { kind: 'workload', id: WEB },
      address: '10.0.0.7',
      action: { kind: 'http', port: 8080, method: 'GET', path: '/items/1' },
      outcome: 'ok',
      at: NOW - 4750,
      endedAt: NOW - 2250,
      isMutual: true,
      isPlaintext: false,
      before: { allowed: true, decidedBy: 'no-policy' },
      refused: false,
    });
  });

  test('in plain text is that of an address', () => {
    const plain = { tlsProperties: {} };
    expect(callOf(httpOf({}, plain))).toMatchObject({
      from: { kind: 'unauthenticated', from: '10.0.0.7' },
      isMutual: false,
      isPlaintext: true,
    });
    const pipe = { address: { case: 'pipe', value: { path: '/run/x' } } } as const;
    const nowhere = { ...plain, downstreamRemoteAddress: pipe, downstreamDirectRemoteAddress: pipe };
    expect(callOf(httpOf({}, nowhere))).toMatchObject({ from: { kind: 'unauthenticated', from: 'unknown' } });
  });

  test.each([
    ['lines of its own', '10.0.0.7\nhttp 80 GET /forged'],
    ['what a terminal acts on', '\u001b[2J10.0.0.7'],
    ['a zone as long as a page', `fe80::1%${'a'.repeat(200)}`],
  ])('from an address with %s is that of an unknown caller', (_, ip) => {
    const common = { tlsProperties: {}, downstreamRemoteAddress: address(ip) };
    expect(callOf(httpOf({}, common))).toMatchObject({
      address: '',
      from: { kind: 'unauthenticated', from: 'unknown' },
    });
  });

  test('is gRPC by its content type, by the cluster that this chose, or by its name', () => {
    const about = {
      ...requests,
      isGrpcCluster: (name: string) => (name.startsWith('inbound/') ? name.endsWith('/grpc') : undefined),
    };
    const post = (over: object, common: Common = {}, path = '/hipstershop.CartService/GetCart') =>
      callOf(httpOf({ protocolVersion: 3, request: { requestMethod: 3, path, ...over } }, common), about);
    const kindOf = (call: ReturnType<typeof callOf>) =>
      typeof call === 'object' && 'action' in call ? call.action.kind : call;
    expect(post({ requestHeaders: { 'content-type': 'application/grpc+proto' } })).toMatchObject({
      action: { kind: 'grpc', port: 8080, service: 'hipstershop.CartService', method: 'GetCart' },
    });
    expect(kindOf(post({ requestHeaders: { 'content-type': 'text/html', other: 'x' } }))).toBe('http');
    expect(kindOf(post({}, { upstreamCluster: 'inbound/0.0.0.0:1/grpc' }, '/a.b/c'))).toBe('grpc');
    expect(kindOf(post({}))).toBe('http');
    expect(kindOf(post({}, { upstreamCluster: 'other' }))).toBe('grpc');
    expect(kindOf(post({}, { upstreamCluster: 'other' }, '/api/login'))).toBe('http');
  });

  test.each<[string, Http, Common, string]>([
    [
      'answered with an error',
      { response: { responseCode: 503, responseCodeDetails: 'via_upstream' } },
      {},
      'error',
    ],
    [
      'refused by a policy',
      { response: { responseCode: 403, responseCodeDetails: 'rbac_access_denied_matched_policy[none]' } },
      {},
      'denied',
    ],
    ['refused by another service', {}, { responseFlags: { unauthorizedDetails: {} } }, 'denied'],
    ['that found no host', {}, { responseFlags: { noHealthyUpstream: true } }, 'failed'],
    [
      'reset by the callee',
      { response: { responseCodeDetails: 'via_upstream' } },
      { responseFlags: { upstreamRemoteReset: true } },
      'error',
    ],
    [
      'reset before the callee',
      { response: { responseCodeDetails: 'upstream_reset' } },
      { responseFlags: { upstreamConnectionTermination: true } },
      'failed',
    ],
    ['that timed out at the callee', {}, { responseFlags: { upstreamRequestTimeout: true } }, 'error'],
    [
      'whose client left',
      { response: {} },
      { responseFlags: { downstreamConnectionTermination: true } },
      'error',
    ],
    [
      'answered by the proxy',
      { response: { responseCode: 404, responseCodeDetails: 'direct_response' } },
      { upstreamRemoteAddress: undefined },
      'failed',
    ],
    [
      'with a gRPC status',
      {
        response: {
          responseCode: 200,
          responseCodeDetails: 'via_upstream',
          responseTrailers: { 'grpc-status': '7' },
        },
      },
      {},
      'error',
    ],
  ])('%s has that outcome', (_, http, common, outcome) => {
    expect(callOf(httpOf(http, common))).toMatchObject({ outcome });
  });

  test.each<[string, Http, Common]>([
    ['an entry from the middle of a call: the one at its end counts', {}, { accessLogType: 5 }],
    ['an entry from the middle of a call: the one at its end counts', {}, { intermediateLogEntry: true }],
    ['no start time', {}, { startTime: undefined }],
    ['time in the future', {}, { startTime: { seconds: BigInt(NOW / 1000 + 2 * 86_400) } }],
    ['time before 2010', {}, { startTime: { seconds: 5n } }],
    [
      "a caller's certificate with a URI that is no SPIFFE ID",
      {},
      {
        tlsProperties: {
          tlsVersion: 4,
          peerCertificateProperties: { subjectAltName: [{ san: { case: 'uri', value: 'https://x' } }] },
        },
      },
    ],
    ['a method that the log has no name for', { request: { path: '/' } }, {}],
    ['a request that the proxy could not read', { request: {} }, {}],
    ['a tunnel: the calls inside it have entries of their own', { request: { requestMethod: 6 } }, {}],
    [
      'a path of more than 8192 characters',
      { request: { requestMethod: 1, path: `/${'x'.repeat(9000)}` } },
      {},
    ],
    [
      'a path of more than 8192 characters',
      { request: { requestMethod: 1, path: `/${'x'.repeat(100_000)}` } },
      {},
    ],
    ['a path with control characters', { request: { requestMethod: 1, path: '/a\u0001' } }, {}],
    ['a path that does not begin with "/"', { request: { requestMethod: 1, path: 'a' } }, {}],
  ])('is left out with the reason: %s', (reason, http, common) => {
    expect(callOf(httpOf(http, common))).toBe(reason);
  });

  test('keeps its path without its query, with raw braces encoded, from before a rewrite', () => {
    const path = (request: object) => {
      const call = callOf(httpOf({ request: { requestMethod: 1, ...request } }));
      return typeof call === 'object' && 'action' in call && call.action.kind === 'http'
        ? call.action.path
        : call;
    };
    expect(path({ path: '/a{b}?x=1#y' })).toBe('/a%7Bb%7D');
    expect(path({ path: `/a?${'x'.repeat(60_000)}` })).toBe('/a');
    expect(path({ path: '/rewritten', originalPath: '/asked' })).toBe('/asked');
  });
});

describe('verdicts', () => {
  const target = (deny: string, allow: string, id?: string, by: 'deny' | 'allow' = 'allow') =>
    rbac({
      interlock_target_deny_shadow_engine_result: deny,
      interlock_target_allow_shadow_engine_result: allow,
      ...(id === undefined ? {} : { [`interlock_target_${by}_shadow_effective_policy_id`]: id }),
    });

  test.each([
    [
      target('allowed', 'allowed', '0003/cart/web'),
      { allowed: true, decidedBy: 'rule', policy: 'cart', rule: 'web' },
    ],
    [target('allowed', 'denied'), { allowed: false, decidedBy: 'no-rule' }],
    [
      target('denied', 'allowed', '0001/cart/no/admin', 'deny'),
      { allowed: false, decidedBy: 'deny', policy: 'cart', rule: 'no/admin' },
    ],
    // No name of a policy or rule has control characters: these are of no Envoy that was configured here.
    [target('allowed', 'allowed', '0003/cart/web\nforged'), { allowed: true, decidedBy: 'rule' }],
    [target('allowed', 'allowed', '0003/c\u001b[2J/web'), { allowed: true, decidedBy: 'rule' }],
    [target('denied', 'denied', '0000', 'deny'), { allowed: false, decidedBy: 'unsafe-path' }],
    [rbac({}), undefined],
    [rbac({ interlock_target_allow_shadow_engine_result: 'allowed' }, 'other'), undefined],
  ])('of the target come from the metadata of its filters %#', (metadata, after) => {
    const call = callOf(httpOf({}, { metadata }));
    expect(call).toMatchObject({ before: { decidedBy: 'no-policy' }, refused: false });
    expect((call as { after?: unknown }).after).toEqual(after);
  });

  test('of the set in force are those of the enforced filters', () => {
    const metadata = rbac({
      interlock_deny_enforced_engine_result: 'allowed',
      interlock_allow_enforced_engine_result: 'denied',
      interlock_target_deny_shadow_engine_result: 'allowed',
      interlock_target_allow_shadow_engine_result: 'allowed',
      interlock_target_allow_shadow_effective_policy_id: '0001/cart/new',
    });
    const response = { responseCode: 403, responseCodeDetails: 'rbac_access_denied_matched_policy[none]' };
    expect(callOf(httpOf({ response }, { metadata }))).toMatchObject({
      outcome: 'denied',
      refused: true,
      before: { allowed: false, decidedBy: 'no-rule' },
      after: { allowed: true, decidedBy: 'rule', policy: 'cart', rule: 'new' },
    });
  });

  test('of a connection are in how it ended: its filter leaves no metadata of what it enforces', () => {
    const metadata = rbac({ interlock_target_allow_shadow_engine_result: 'denied' }, 'network');
    expect(tcpCall({ metadata })).toMatchObject({
      action: { kind: 'tcp', port: 6379 },
      outcome: 'ok',
      before: { allowed: true },
      after: { allowed: false, decidedBy: 'no-rule' },
      refused: false,
    });
    expect(tcpCall({}, 'connections', 0n), 'nothing came back').toMatchObject({ outcome: 'error' });
    expect(
      tcpCall({ connectionTerminationDetails: 'rbac_access_denied_matched_policy[0002/db/no-jobs]' }),
    ).toMatchObject({
      outcome: 'denied',
      refused: true,
      before: { allowed: false, decidedBy: 'deny', policy: 'db', rule: 'no-jobs' },
    });
  });
});

describe('a connection that a listener took', () => {
  test('in plain text is a caller; with TLS it has a log of its own; one that said nothing is none', () => {
    expect(tcpCall({ tlsProperties: {} }, 'accepted')).toEqual({ plaintextFrom: '10.0.0.7', at: NOW - 4750 });
    expect(tcpCall({}, 'accepted')).toBeUndefined();
    expect(tcpCall({ tlsProperties: {} }, 'accepted', 0n)).toBeUndefined();
  });

  test('whose handshake failed never reached the workload', () => {
    const common = {
      tlsProperties: {},
      downstreamTransportFailureReason: 'TLS_error:|268435581:CERTIFICATE_VERIFY_FAILED',
    };
    expect(tcpCall(common, 'accepted')).toMatchObject({
      from: { kind: 'unauthenticated', from: '10.0.0.7' },
      outcome: 'failed',
      action: { kind: 'tcp', port: 6379 },
    });
  });
});

test('the first message of a stream says whose it is', () => {
  const node = { id: `${WEB}#a`, metadata: { x: { y: [1] } } };
  const bytes = messageOf({
    identifier: { node, logName: 'interlock/requests/80/v1/x' },
    logEntries: { case: 'httpLogs', value: { logEntry: [httpOf()] } },
  });
  const message = readLogMessage(bytes, SLOTS);
  expect(message.identifier).toEqual({ node: `${WEB}#a`, logName: 'interlock/requests/80/v1/x' });
  expect(message.http).toHaveLength(1);
  expect(accessLogData.AccessLogType.DownstreamEnd).toBe(6);
});
