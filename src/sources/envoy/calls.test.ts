import { describe, expect, test } from 'vitest';
import { NO_CERTS, one, refused } from './testing.ts';

describe("what is called, in Envoy's access log", () => {
  test.each([
    [
      'gRPC by its status',
      { method: 'POST', path: '/shop.Cart/AddItem', protocol: 'HTTP/2', grpc_status: 'OK' },
      'shop.Cart/AddItem :8080',
    ],
    [
      'gRPC by its content type',
      { method: 'POST', path: '/Cart/addItem', content_type: 'application/grpc+proto' },
      'Cart/addItem :8080',
    ],
    [
      'gRPC by its name',
      { method: 'POST', path: '/shop.v1.Cart/AddItem', protocol: 'HTTP/2' },
      'shop.v1.Cart/AddItem :8080',
    ],
    [
      'no gRPC: another content type',
      { method: 'POST', path: '/shop.Cart/AddItem', protocol: 'HTTP/2', content_type: 'application/json' },
      'POST /shop.Cart/AddItem :8080',
    ],
    [
      'no gRPC: names of another style',
      { method: 'POST', path: '/api.v1/items', protocol: 'HTTP/2' },
      'POST /api.v1/items :8080',
    ],
    [
      'no gRPC: another method',
      { method: 'GET', path: '/shop.Cart/AddItem', protocol: 'HTTP/2', grpc_status: 'OK' },
      'GET /shop.Cart/AddItem :8080',
    ],
    [
      'TCP',
      { method: '-', path: '-', protocol: '-', response_code: 0, response_code_details: '-' },
      'tcp :8080',
    ],
    ['braces of the caller are no template', { path: '/a/{id}' }, 'GET /a/%7Bid%7D :8080'],
    ['OPTIONS *', { method: 'OPTIONS', path: '*' }, 'OPTIONS * :8080'],
    ['escapes', { path: '/caf\u00e9/"\\' }, 'GET /café/"\\ :8080'],
    [
      "the path before this proxy's own rewriting",
      { path: '/v2/items', x_envoy_original_path: '/items' },
      'GET /items :8080',
    ],
    [
      "the path after a caller's rewriting, at the callee",
      { path: '/v2', x_envoy_original_path: '/v1', upstream_cluster: 'inbound|8080||' },
      'GET /v2 :8080',
    ],
  ])('%s', (_, changes, action) => {
    expect(one(changes)).toMatchObject({ action });
  });

  test.each([
    ['lower case', { method: 'get' }, 'a method that is not one'],
    ['spaces', { method: 'GET /' }, 'a method that is not one'],
    ['no method', { method: '-', response_flags: 'DPE' }, 'a request that the proxy could not read'],
    ['no path', { path: null }, 'a request without a path'],
    ['a relative path', { path: 'items' }, 'a path that does not begin with "/"'],
    ['NUL', { path: '/a\u0000b' }, 'a path with control characters'],
    ['a line break', { path: '/a\nb' }, 'a path with control characters'],
    ['a long path', { path: `/${'a'.repeat(9000)}` }, 'a path of more than 8192 characters'],
    ['a tunnel', { method: 'CONNECT', path: null }, 'a tunnel: the calls inside it have lines of their own'],
    ['a list for a path', { path: ['/a'] }, 'a field that is a list, an object or a truth value'],
    [
      'an entry while the call goes on',
      { access_log_type: 'DownstreamPeriodic' },
      'an entry from the middle of a call: the one at its end counts',
    ],
  ])('is skipped: %s', (_, changes, reason) => {
    expect(refused(changes)).toBe(reason);
  });
});

describe("how a call ended, in Envoy's access log", () => {
  test.each([
    ['ok', {}],
    ['ok', { response_code: '204' }],
    ['ok', { response_code: 301, response_flags: null }],
    ['ok', { response_flags: 'DI' }],
    ['ok', { response_flags: 'XX' }],
    ['error', { response_code: 404 }],
    ['error', { response_code: 503 }],
    ['error', { response_code: '500', response_flags: undefined }],
    ['error', { response_code: 0, response_flags: 'DC', bytes_sent: 0 }],
    ['ok', { response_code: 200, response_flags: 'DC' }],
    [
      'error',
      { response_code: 504, response_flags: 'UT', response_code_details: 'upstream_response_timeout' },
    ],
    ['error', { response_code: 200, response_flags: 'UR' }],
    ['error', { grpc_status: 'NotFound' }],
    ['error', { grpc_status: 5 }],
    ['ok', { grpc_status: 0 }],
    ['ok', { grpc_status: 'Ok' }],
    ['failed', { response_code: 503, response_flags: 'UH', response_code_details: 'no_healthy_upstream' }],
    ['failed', { response_code: 503, response_flags: 'UF,URX' }],
    ['failed', { response_code: 503, response_flags: 'UpstreamConnectionFailure' }],
    [
      'failed',
      {
        response_code: 503,
        response_flags: 'UC',
        response_code_details: 'upstream_reset_before_response_started{connection_termination}',
      },
    ],
    ['failed', { response_code: 404, response_flags: 'NR', response_code_details: 'route_not_found' }],
    ['failed', { response_code: 503, response_flags: 'NC' }],
    ['failed', { response_code: 0, bytes_sent: 0, response_code_details: null }],
    ['error', { response_code: 0, bytes_sent: 7, response_code_details: null }],
    ['failed', { response_code: 426, response_code_details: 'direct_response', upstream_host: null }],
    [
      'denied',
      {
        response_code: 403,
        response_code_details: 'rbac_access_denied_matched_policy[none]',
        upstream_host: null,
      },
    ],
    [
      'denied',
      {
        response_code: 200,
        grpc_status: 7,
        response_code_details: 'rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]',
      },
    ],
    ['denied', { response_code: 403, response_flags: 'UAEX', response_code_details: 'ext_authz_denied' }],
    ['denied', { response_code: 403, response_code_details: 'ext_authz_denied' }],
    [
      'denied',
      {
        method: null,
        path: null,
        protocol: null,
        response_code: 0,
        connection_termination_details: 'rbac_access_denied_matched_policy[none]',
      },
    ],
    ['failed', { method: null, path: null, protocol: null, response_code: 0, response_flags: 'UF,URX' }],
    [
      'error',
      {
        method: null,
        path: null,
        protocol: null,
        response_code: 0,
        bytes_sent: 0,
        response_code_details: null,
      },
    ],
  ])('%s: %j', (outcome, changes) => {
    expect(one(changes)?.outcomes).toEqual({ [outcome]: 1 });
  });

  test('is mutual where both ends showed certificates, plain where the line says that there was no TLS', () => {
    expect(one({ downstream_peer_uri_san: '-' })).toMatchObject({ mutual: 0, plaintext: 0 });
    expect(one({ ...NO_CERTS, downstream_tls_version: '-' })).toMatchObject({ mutual: 0, plaintext: 1 });
    expect(one({ downstream_tls_version: 'TLSv1.3' })).toMatchObject({ mutual: 1, plaintext: 0 });
  });
});
