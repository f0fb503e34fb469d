import { describe, expect, test } from 'vitest';
import { readLines, seen } from '../accesslog/testing.ts';
import { envoy } from './index.ts';
import { id, LINE, NO_CERTS, one, refused } from './testing.ts';

describe("who calls whom, in Envoy's access log", () => {
  test.each([
    ['one of several names', { downstream_peer_uri_san: `https://a.example/x,${id('web')}` }, 'web'],
    [
      'XFCC, where the format has no certificates',
      { downstream_peer_uri_san: undefined, x_forwarded_client_cert: `By=${id('cart')};URI=${id('xfcc')}` },
      'xfcc',
    ],
    [
      'the last element of XFCC',
      {
        downstream_peer_uri_san: undefined,
        x_forwarded_client_cert: `By=${id('a')};Subject="O=\\",URI=${id('evil')}";URI=${id('b')},By=${id('cart')};Hash=0;URI=${id('near')}`,
      },
      'near',
    ],
    [
      'not XFCC, where the peer showed no certificate',
      { downstream_peer_uri_san: '-', x_forwarded_client_cert: `By=${id('cart')};URI=${id('evil')}` },
      'i:10.0.0.5',
    ],
    [
      'not XFCC, where there was no TLS',
      {
        downstream_peer_uri_san: undefined,
        downstream_tls_version: null,
        x_forwarded_client_cert: `By=${id('cart')};URI=${id('evil')}`,
      },
      'i:10.0.0.5',
    ],
    ['the address', { downstream_peer_uri_san: null }, 'i:10.0.0.5'],
    [
      'the address of the connection, before the one from a header',
      { downstream_peer_uri_san: '', downstream_direct_remote_address: '10.0.0.6:9' },
      'i:10.0.0.6',
    ],
    [
      'nobody, where the address is from a header',
      { downstream_peer_uri_san: '-', downstream_remote_address: '10.0.0.5:0' },
      'e:unknown',
    ],
    [
      'an IPv6 address',
      { downstream_peer_uri_san: '-', downstream_remote_address: '[fd00::5]:41234' },
      'i:fd00::5',
    ],
    [
      'an IPv4 address in IPv6',
      { downstream_peer_uri_san: '-', downstream_remote_address: '[::ffff:10.0.0.5]:41234' },
      'i:10.0.0.5',
    ],
  ])('called: %s', (_, changes, from) => {
    expect(one(changes)).toMatchObject({ from, to: 'cart' });
  });

  test.each([
    [
      'By of XFCC',
      {
        downstream_local_uri_san: undefined,
        downstream_peer_uri_san: undefined,
        x_forwarded_client_cert: `By=${id('by')};URI=${id('web')}`,
      },
      'by',
      'GET /items/7 :8080',
    ],
    ['the local address', { downstream_local_uri_san: undefined }, 'i:10.0.0.9', 'GET /items/7 :8080'],
    [
      'another machine that the proxy sends on to',
      { ...NO_CERTS, upstream_host: '10.0.0.30:9090' },
      'i:10.0.0.30',
      'GET /items/7 :9090',
    ],
    [
      'the authority, where there is no address',
      { ...NO_CERTS, downstream_local_address: '-', upstream_host: '-' },
      'h:/cart',
      'GET /items/7',
    ],
  ])('was called: %s', (_, changes, to, action) => {
    expect(one(changes)).toMatchObject({ to, action });
  });

  test.each([
    [
      'the host of the cluster',
      { upstream_cluster: 'outbound|80|v1|cart.shop.svc.cluster.local' },
      'h:/cart.shop.svc.cluster.local',
    ],
    [
      'a host outside',
      {
        upstream_cluster: 'PassthroughCluster',
        authority: 'API.example.com:443',
        upstream_host: '93.184.216.34:443',
      },
      'h:/api.example.com',
    ],
    [
      'a server name outside',
      {
        upstream_cluster: 'PassthroughCluster',
        method: null,
        protocol: null,
        path: null,
        authority: null,
        requested_server_name: 'db.example.com',
      },
      'h:/db.example.com',
    ],
    [
      'an address outside',
      {
        upstream_cluster: 'PassthroughCluster',
        authority: '93.184.216.34',
        upstream_host: '93.184.216.34:443',
      },
      'i:93.184.216.34',
    ],
    [
      'a destination that is blocked',
      {
        upstream_cluster: 'BlackHoleCluster',
        authority: '-',
        upstream_host: '-',
        downstream_local_address: '1.2.3.4:25',
        response_flags: 'UH',
      },
      'i:1.2.3.4',
    ],
  ])('a caller called: %s', (_, changes, to) => {
    expect(one({ ...NO_CERTS, ...changes })).toMatchObject({ side: 'caller', from: 'i:10.0.0.5', to });
  });

  test.each([
    [
      'two SPIFFE IDs',
      { downstream_peer_uri_san: `${id('web')},${id('other')}` },
      'a certificate with more than one SPIFFE ID',
    ],
    [
      'no SPIFFE ID of the standard',
      { downstream_peer_uri_san: 'spiffe://EXAMPLE/a' },
      'a SPIFFE ID that the standard does not allow',
    ],
    [
      'a caller within the pod',
      { downstream_peer_uri_san: '-', downstream_remote_address: '127.0.0.1:5' },
      'a call over loopback, which stays within its pod',
    ],
    [
      'a broken XFCC',
      { downstream_peer_uri_san: undefined, x_forwarded_client_cert: 'URI="x' },
      'an x-forwarded-client-cert header that is not well formed',
    ],
  ])('is not guessed: %s', (_, changes, reason) => {
    expect(refused(changes)).toBe(reason);
  });

  test('addresses are attributed by time, also after another line was attributed', () => {
    const changed = Date.parse('2026-10-15T11:30:00Z');
    const attribution = {
      attribute: (ip: string, from: number) =>
        ip === '10.0.0.5' ? { namespace: 'shop', serviceAccount: from < changed ? 'old' : 'new' } : undefined,
    };
    const line = { ...LINE, downstream_peer_uri_san: '-' };
    const times = ['11:00:00', '11:40:00', '11:10:00', '11:50:00', '11:20:00'];
    const lines = times.map((time) => ({ ...line, start_time: `2026-10-15T${time}Z` }));
    const accesses = seen(readLines(envoy, lines, { attribution }));
    expect(accesses.map(({ from, outcomes }) => [from, outcomes['ok']])).toEqual([
      ['w:shop/old//', 3],
      ['w:shop/new//', 2],
    ]);
  });
});
