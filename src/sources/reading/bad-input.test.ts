import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { createGzip, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import type { Tally } from '../../access/index.ts';
import { readRecordings } from './read.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-bad-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));
const NOW = Date.UTC(2026, 10, 16);

/** A line of each format of lines that is taken in; another for every `n`. */
const LINES = {
  otlp: (n: number) =>
    JSON.stringify({
      resourceSpans: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
          scopeSpans: [
            {
              spans: [
                {
                  traceId: '0102030405060708090a0b0c0d0e0f10',
                  spanId: `01020304050${String(n).padStart(5, '0')}`,
                  name: 'GET /',
                  kind: 2,
                  startTimeUnixNano: `${NOW - 5000}000000`,
                  endTimeUnixNano: `${NOW}000000`,
                  attributes: [{ key: 'http.method', value: { stringValue: 'GET' } }],
                },
              ],
            },
          ],
        },
      ],
    }),
  envoy: (n: number) =>
    JSON.stringify({
      start_time: new Date(NOW - 5000).toISOString(),
      method: 'GET',
      path: `/items/${n}`,
      protocol: 'HTTP/1.1',
      response_code: 200,
      response_flags: '-',
      upstream_cluster: 'inbound|8080||',
      upstream_host: '10.0.0.2:8080',
      downstream_remote_address: '10.0.0.1:50000',
      downstream_peer_uri_san: 'spiffe://example.org/ns/shop/sa/a',
      downstream_local_uri_san: 'spiffe://example.org/ns/shop/sa/b',
    }),
  hubble: (n: number) =>
    JSON.stringify({
      flow: {
        time: new Date(NOW - 5000).toISOString(),
        verdict: 'FORWARDED',
        IP: { source: '10.0.0.1', destination: '10.0.0.2' },
        l4: { TCP: { source_port: 30000 + n, destination_port: 8080, flags: { SYN: true } } },
        source: { identity: 1000, namespace: 'a', labels: ['k8s:app=x'], pod_name: 'x-1' },
        destination: { identity: 1001, namespace: 'a', labels: ['k8s:app=y'], pod_name: 'y-1' },
        Type: 'L3_L4',
        traffic_direction: 'INGRESS',
        is_reply: false,
      },
      time: new Date(NOW - 5000).toISOString(),
    }),
};

type LineFormat = keyof typeof LINES;

async function readOne(format: LineFormat, path: string, stdin?: Readable): Promise<Tally> {
  for await (const outcome of readRecordings([path], {
    format,
    now: NOW,
    ...(stdin === undefined ? {} : { stdin }),
  })) {
    if (outcome.kind === 'read') return outcome.tally;
    throw outcome.kind === 'failed' ? outcome.error : new TypeError('known');
  }
  throw new TypeError('no outcome');
}

/** A line of the format, then `bad`, then the line again: as a file. */
function around(format: LineFormat, bad: string | Buffer): string {
  const path = join(root, `${format}.log`);
  const parts = [`${LINES[format](1)}\n`, bad, `\n${LINES[format](2)}\n`];
  writeFileSync(path, Buffer.concat(parts.map((part) => Buffer.from(part))));
  return path;
}

const NESTED = '{"a":['.repeat(5000) + ']}'.repeat(5000);
const BAD: [string, string | Buffer][] = [
  ['broken JSON', '{"flow":{"time":'],
  ['nesting 10,000 deep', NESTED],
  ['nesting 10,000 deep in a known key', `{"resourceSpans":${NESTED},"flow":${NESTED}}`],
  ['brackets that never close', '['.repeat(100_000)],
  ['NUL bytes', Buffer.alloc(1000)],
  ['a string of NUL bytes', JSON.stringify({ flow: '\0'.repeat(100) })],
  ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0xfe, 0xc0, 0x80, 0x7d])],
  ['a number', '17'],
  ['null', 'null'],
  ['keys of the prototype', '{"__proto__":{"flow":1},"constructor":{"prototype":{"polluted":1}}}'],
];

for (const format of ['otlp', 'envoy', 'hubble'] as const) {
  describe(`a ${format} recording`, () => {
    for (const [name, bad] of BAD) {
      test(`with ${name} in the middle is read before and after it, and the line is named`, async () => {
        const tally = await readOne(format, around(format, bad));
        const skips = [...tally.skips()];
        expect(skips.map(({ firstLine }) => firstLine)).toEqual([2]);
        expect(skips[0]?.sample.length).toBeLessThanOrEqual(160);
        expect(tally.accepted).toBe(2);
        expect(Object.keys(Object.prototype)).toEqual([]);
      });
    }

    test('with a line of 300 MB in the middle is read around it without holding it', async () => {
      async function* content() {
        yield Buffer.from(`${LINES[format](1)}\n`);
        for (let i = 0; i < 4800; i++) yield Buffer.alloc(65_536, '{"flow":{"resourceSpans":[');
        yield Buffer.from(`\n${LINES[format](2)}\n`);
      }
      const before = process.memoryUsage().rss;
      let most = 0;
      const packed = Readable.from(content()).pipe(createGzip({ level: 1 }));
      packed.on('data', () => {
        most = Math.max(most, process.memoryUsage().rss);
      });
      const tally = await readOne(format, '-', packed.pause());
      expect([...tally.skips()]).toMatchObject([
        { reason: 'line longer than 16 MiB', count: 1, firstLine: 2 },
      ]);
      expect(tally.accepted).toBe(2);
      expect(most - before).toBeLessThan(200 * 1024 * 1024);
    });

    test('that was cut off while it was compressed is refused', async () => {
      const lines = Array.from({ length: 3000 }, (_, i) => LINES[format](i)).join('\n');
      const path = join(root, `${format}.gz`);
      const packed = gzipSync(lines);
      writeFileSync(path, packed.subarray(0, packed.length >> 1));
      await expect(readOne(format, path)).rejects.toMatchObject({
        code: 'invalid_recording',
        message: expect.stringContaining('in the middle of its gzip data'),
      });
    });
  });
}
