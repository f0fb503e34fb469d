import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { NOON, readLines, seen } from '../accesslog/testing.ts';
import { MAX_FUTURE_MS } from '../source.ts';
import { envoy } from './index.ts';
import { id, LINE, NO_CERTS, one, refused } from './testing.ts';

describe("Envoy's access log", () => {
  test('a line of the callee names both ends by their certificates', () => {
    expect(one({})).toEqual({
      side: 'callee',
      from: 'web',
      to: 'cart',
      action: 'GET /items/7 :8080',
      outcomes: { ok: 1 },
      mutual: 1,
      plaintext: 0,
      instances: ['10.0.0.5'],
    });
  });

  test("a line of the caller gives the callee's own port, from the host it was sent to", () => {
    const line = {
      ...NO_CERTS,
      upstream_peer_uri_san: id('cart'),
      upstream_local_uri_san: id('web'),
      upstream_host: '10.0.0.9:9555',
      upstream_cluster: 'outbound|80||cart.shop.svc.cluster.local',
      downstream_local_address: '10.96.0.1:80',
    };
    expect(one(line)).toMatchObject({
      side: 'caller',
      from: 'web',
      to: 'cart',
      action: 'GET /items/7 :9555',
    });
    expect(one(line)).toMatchObject({ mutual: 1, instances: ['10.0.0.5'] });
    // Without a host, the Service's port is known and the container's is not.
    expect(one({ ...line, upstream_host: '-' })).toMatchObject({ action: 'GET /items/7' });
    expect(one({ ...line, upstream_cluster: 'cart' })).toMatchObject({ side: 'caller', to: 'cart' });
  });

  test('numbers may be strings, and keys the usual variations or the user’s own', () => {
    const fields = {
      when: 'START_TIME(%s.%3f)',
      who: '%DOWNSTREAM_PEER_URI_SAN%',
      p: 'REQ(X-ENVOY-ORIGINAL-PATH?:PATH)',
    };
    const { start_time: _time, path: _path, downstream_peer_uri_san: _peer, method: _method, ...rest } = LINE;
    const line = {
      ...rest,
      when: '1792062000.123',
      who: id('own'),
      p: '/own',
      ':method': 'PUT',
      response_code: '201',
    };
    expect(seen(readLines(envoy, [line], { fields }))).toMatchObject([
      { from: 'own', action: 'PUT /own :8080' },
    ]);
  });

  test('keys that log shippers add are not taken for the proxy’s', () => {
    expect(one({ '@timestamp': 'x', timestamp: 'x', time: 'x', host: 'node-1', status: 'info' })).toEqual(
      one({}),
    );
  });

  test('an operator that is not read is refused by name', () => {
    let error: unknown;
    try {
      readLines(envoy, [], { fields: { x: 'DURATIONS' } });
    } catch (thrown) {
      error = thrown;
    }
    expect(isInterlockError(error) && [error.code, error.subject]).toEqual(['usage', 'x']);
  });

  test.each([
    ['no start time', { start_time: undefined }],
    ['no start time', { start_time: '-' }],
    ['a start time in an unknown form', { start_time: 'yesterday' }],
    ['time before 2010', { start_time: '1970-01-01T00:00:09Z' }],
    ['time in the future', { start_time: new Date(NOON + MAX_FUTURE_MS + 1).toISOString() }],
  ])('%s: %j is skipped', (reason, changes) => {
    expect(refused(changes)).toBe(reason);
  });

  test('a clock that is a little ahead is borne', () => {
    expect(one({ start_time: new Date(NOON + MAX_FUTURE_MS).toISOString() })).toBeDefined();
  });

  test('what is broken is skipped and counted, and lines around it are read', () => {
    const good = JSON.stringify(LINE);
    const bad: [string | Buffer, string][] = [
      [good.slice(0, -1), 'broken JSON'],
      [`${good}${good}`, 'broken JSON'],
      [`{"__proto__":{"path":"/x"},"x":${'['.repeat(10_000)}`, 'nested more than 64 deep'],
      ['[2026] "GET', 'not an access-log line'],
      ['level=info msg="hello"', 'not an access-log line'],
      ['\u0000\u0000', 'not an access-log line'],
      [Buffer.from([0x7b, 0x22, 0xff, 0xfe]), 'broken JSON'],
      ['{}', 'no start time'],
      ['{"__proto__":1,"constructor":2}', 'no start time'],
    ];
    for (const [line, reason] of bad) {
      const tally = readLines(envoy, [good, line, good]);
      expect([tally.read, tally.accepted]).toEqual([3, 2]);
      expect([...tally.skips()]).toMatchObject([{ reason, count: 1, firstLine: 2 }]);
    }
  });

  test('keys that objects have from birth change nothing, nor does a value of 10 MB', () => {
    const hostile = `{"__proto__":{"method":"PUT"},"constructor":"x","toString":1,"y":"${'y'.repeat(10_000_000)}",`;
    const tally = readLines(envoy, [`${hostile}${JSON.stringify(LINE).slice(1)}`, LINE]);
    expect(seen(tally)).toMatchObject([{ from: 'web', action: 'GET /items/7 :8080', outcomes: { ok: 2 } }]);
  });

  test('is detected among lines of other kinds, and nothing else is taken for it', () => {
    expect(envoy.detect(`starting\n${JSON.stringify(LINE)}\n{"cut`)).toBeGreaterThan(0);
    expect(envoy.detect(JSON.stringify(LINE))).toBeGreaterThan(0);
    expect(envoy.detect(JSON.stringify({ flow: { time: 'x' }, time: 'x', node_name: 'n' }))).toBe(0);
    expect(envoy.detect('{"resourceSpans":[]}')).toBe(0);
    expect(envoy.detect('{"apiVersion":"v1","kind":"List","items":[]}')).toBe(0);
    expect(envoy.detect('{"time":"x","host":"h","level":"info","msg":"m"}')).toBe(0);
    expect(envoy.detect('')).toBe(0);
  });
});
