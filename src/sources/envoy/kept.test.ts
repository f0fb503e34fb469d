import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readLines, seen, skipped } from '../accesslog/testing.ts';
import { envoy } from './index.ts';
import { id, LINE, NO_CERTS } from './testing.ts';

describe('what is kept from line to line', () => {
  test.each([
    [
      'the authority',
      { ...NO_CERTS, downstream_local_address: '-', upstream_host: '-' },
      { authority: 'other' },
    ],
    ['where the address is from', NO_CERTS, { downstream_remote_address: '10.0.0.5:0' }],
    [
      'the end of a bare IPv6 address',
      { ...NO_CERTS, downstream_remote_address: 'fd00::7' },
      { downstream_remote_address: 'fd00::8' },
    ],
    [
      'the end of an IPv6 address',
      { ...NO_CERTS, downstream_remote_address: '[fd00::7]:1' },
      { downstream_remote_address: '[fd00::8]:1' },
    ],
    [
      'whose proxy it is, by the address',
      { ...NO_CERTS, x_forwarded_client_cert: `By=${id('b')};URI=${id('u')}`, upstream_host: '10.0.0.30:1' },
      { downstream_remote_address: '127.0.0.1:5' },
    ],
    [
      'the XFCC header',
      { ...NO_CERTS, x_forwarded_client_cert: `URI=${id('u')}` },
      { x_forwarded_client_cert: `URI=${id('v')}` },
    ],
    ['the end of the path', { path: '/a' }, { path: '/b' }],
    ['how the path is written', { path: '/a\u00fc' }, { path: '/a\u00fd' }],
  ])('lines that differ only in %s are not taken for each other', (_, base, change) => {
    const lines = [
      { ...LINE, ...base },
      { ...LINE, ...base, ...change },
    ];
    const alone = lines.map((line) => seen(readLines(envoy, [line])));
    expect(alone[0]).not.toEqual(alone[1]);
    expect(seen(readLines(envoy, lines))).toEqual(alone.flat());
    expect(seen(readLines(envoy, lines.toReversed()))).toEqual(alone.toReversed().flat());
  });

  test('what is kept from line to line changes nothing: lines read together or each alone give the same', () => {
    const pick = fc.constantFrom;
    const certs = pick('-', id('a'), id('b'), `${id('a')},${id('b')}`, 'https://x.example', null);
    const address = pick(
      '10.0.0.1:1',
      '10.0.0.2:0',
      '10.0.0.2:2',
      'fd00::7',
      'fd00::8',
      '[fd00::7]:9',
      '127.0.0.1:3',
      '-',
      'unix:/x',
      '10.0.0.1',
    );
    const values = {
      start_time: pick('2026-10-15T10:00:00Z', '2026-10-15T11:00:00Z'),
      method: pick('GET', 'POST', '-', 'get'),
      path: pick('/a', '/a?b', '/a#b', '/s.S/M', '/b', '-', 'x', `/${'l'.repeat(300)}`, '/\u00fc'),
      x_envoy_original_path: pick('/o', '-'),
      protocol: pick('HTTP/1.1', 'HTTP/2', '-'),
      response_code: pick(200, 404, 0, '-'),
      response_flags: pick('-', 'UH', 'UC'),
      response_code_details: pick('via_upstream', 'rbac_access_denied', 'direct_response'),
      grpc_status: pick('-', 'OK', 5),
      content_type: pick('application/grpc', 'text/html', '-'),
      authority: pick('cart:80', 'api.example', '-'),
      upstream_host: address,
      upstream_cluster: pick(
        'inbound|80||',
        'outbound|80||h.svc',
        'PassthroughCluster',
        'internal',
        'x',
        '-',
        'inbound-vip|80||h',
      ),
      upstream_local_address: address,
      downstream_local_address: address,
      downstream_remote_address: address,
      downstream_direct_remote_address: address,
      downstream_peer_uri_san: certs,
      downstream_local_uri_san: certs,
      upstream_peer_uri_san: certs,
      upstream_local_uri_san: certs,
      downstream_tls_version: pick('-', 'TLSv1.3'),
      requested_server_name: pick('-', 's.example'),
      x_forwarded_client_cert: pick('-', `By=${id('c')};URI=${id('d')}`, `By=${id('c')}`, 'URI="'),
    };
    const line = fc.record(values, { requiredKeys: ['start_time'] });
    // Lines that differ in one value: what must not be taken for the same is alike but for that.
    const change = fc.oneof(
      ...Object.entries(values).map(([key, value]) => value.map((to: unknown) => ({ [key]: to }))),
    );
    const alike = fc
      .tuple(line, fc.array(change, { minLength: 1, maxLength: 12 }))
      .map(([base, changes]) => [base, ...changes.map((to) => ({ ...base, ...to }))]);
    const attribution = {
      attribute: (ip: string, at: number) =>
        ip === '10.0.0.1' ? { namespace: 'n', workload: at % 7_200_000 === 0 ? 'even' : 'odd' } : undefined,
    };
    fc.assert(
      fc.property(alike, (lines) => {
        const together = readLines(envoy, lines, { attribution });
        const alone = lines.map((each) => readLines(envoy, [each], { attribution }));
        const sums = new Map<string, unknown[]>();
        for (const { instances, outcomes, mutual, plaintext, ...access } of alone.flatMap(seen)) {
          const key = JSON.stringify(access);
          sums.set(key, [...(sums.get(key) ?? []), { instances, outcomes, mutual, plaintext }]);
        }
        const got = seen(together);
        expect(
          got.map(({ side, from, to, action }) => JSON.stringify({ side, from, to, action })).sort(),
        ).toEqual([...sums.keys()].sort());
        for (const { side, from, to, action, ...counts } of got) {
          expect(counts).toEqual(added(sums.get(JSON.stringify({ side, from, to, action })) ?? []));
        }
        expect(skipped(together)).toEqual(addedCounts(alone.map(skipped)));
      }),
      { numRuns: 200 },
    );
  });
});

type Counts = { instances: string[]; outcomes: Record<string, number>; mutual: number; plaintext: number };

function added(parts: readonly unknown[]): Counts {
  const all = parts as readonly Counts[]; // made by seen() above
  return {
    instances: [...new Set(all.flatMap(({ instances }) => instances))].sort(),
    outcomes: addedCounts(all.map(({ outcomes }) => outcomes)),
    mutual: all.reduce((sum, { mutual }) => sum + mutual, 0),
    plaintext: all.reduce((sum, { plaintext }) => sum + plaintext, 0),
  };
}

function addedCounts(all: readonly Record<string, number>[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const counts of all) for (const [key, n] of Object.entries(counts)) sums[key] = (sums[key] ?? 0) + n;
  return sums;
}
