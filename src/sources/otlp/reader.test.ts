import { describe, expect, test } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { otlp } from './index.ts';
import { AT, type Line, NOW, read, request, sentences } from './testing.ts';

const SERVER = 2;
const CLIENT = 3;

describe('input that is not as it should be', () => {
  const skips = (...texts: string[]): string[] =>
    [...read(texts).tally.skips()].map(({ reason, count, firstLine }) => `${count} ${reason} (${firstLine})`);
  const span = (raw: Line['raw'], resource: Line['resource'] = {}): string =>
    request([{ service: 'web', id: '1', raw: raw ?? {}, resource }]);

  test('is skipped, counted, and never stops what follows', () => {
    const good = request([{ service: 'web', id: '1', kind: CLIENT }]);
    const { tally } = read(['{"resourceSpans":[{]', good, '', 'nonsense']);
    expect([tally.read, tally.accepted]).toEqual([3, 1]);
    expect([...tally.skips()]).toEqual([
      { reason: 'broken JSON', count: 2, firstLine: 1, sample: '{"resourceSpans":[{]' },
    ]);
  });

  test.each([
    ['{"resourceMetrics":[]}', 'metrics, not traces'],
    ['{"resourceLogs":[]}', 'logs, not traces'],
    ['{"a":1}', 'not an export request of traces'],
    ['7', 'not an export request'],
    ['{"resourceSpans":{}}', 'not an export request of traces'],
    ['['.repeat(10_000) + ']'.repeat(10_000), 'nested deeper than 64'],
    ['{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[null]}]}]}', 'not a span'],
    [span({ traceId: 'zz' }), 'span without valid ids'],
    [span({ spanId: '0000000000000000' }), 'span without valid ids'],
    [span({ parentSpanId: 5 }), 'span without valid ids'],
    [span({ startTimeUnixNano: '0' }), 'span without a start time'],
    [span({ startTimeUnixNano: null }), 'span without a start time'],
    [span({ startTimeUnixNano: '-5000000000' }), 'span without a start time'],
    [span({ startTimeUnixNano: `${NOW + 25 * 3_600_000}000000` }), 'span that starts in the future'],
    [span({ startTimeUnixNano: '1000000000000000' }), 'span that starts before 2010'],
    [span({}, { 'service.name': 'unknown_service:node' }), 'span of a resource that names no service'],
  ])('is skipped with its reason (case %#)', (text, reason) => {
    expect(skips(text)).toEqual([`1 ${reason} (1)`]);
  });

  test('of odd but readable forms is read', () => {
    const base64 = {
      traceId: 'ASNFZ4mrze8BI0VniavN7w==',
      parentSpanId: 'AAAAAAAAAGM=',
      spanId: 'AAAAAAAAAHM=',
    };
    const odd: Line = {
      service: 'api',
      id: 's',
      kind: 'SPAN_KIND_SERVER',
      raw: { ...base64, startTimeUnixNano: AT * 1e6 },
    };
    const text = request([
      { service: 'web', id: 'c', kind: '3', raw: { traceId: '0123456789ABCDEF0123456789ABCDEF' } },
      odd,
    ]);
    const { tally } = read([`\uFEFF${text}`]);
    expect(sentences(tally)).toEqual(['1 web -> api: tcp ok']);
    expect([tally.firstSeen, tally.lastSeen]).toEqual([AT, AT]);
  });

  test('of outside names cannot reach prototypes, terminals or other keys', () => {
    const says = {
      __proto__: 'x',
      constructor: 'y',
      'http.method': 'GET',
      'url.path': '/a\nb',
      toString: 'z',
    };
    const { tally } = read([
      request([{ service: '__proto__', id: '1', kind: SERVER, name: 'a\u001b[2Jb', says }]),
    ]);
    expect(sentences(tally)).toEqual([
      '1 unknown-caller: e:unknown -> __proto__: GET /{rest=**} (GET /{rest=**})',
    ]);
  });

  test('that repeats a span counts once', () => {
    const lines: Line[] = [
      { service: 'web', id: 'c', kind: CLIENT },
      { service: 'api', id: 's', parent: 'c', kind: SERVER },
    ];
    const { tally } = read([request(lines), request(lines)]);
    expect(sentences(tally)).toEqual(['1 web -> api: tcp ok']);
    expect(skips(request(lines), request(lines))).toEqual(['2 span that was there before (2)']);
  });

  test('with parents in a circle comes to an end', () => {
    const { tally } = read([
      request([
        { service: 'web', id: '1', parent: '2', kind: CLIENT },
        { service: 'web', id: '2', parent: '1', kind: CLIENT },
        { service: 'web', id: '3', parent: '3', kind: CLIENT },
      ]),
    ]);
    expect(tally.accessCount).toBe(0);
  });

  test('spread over several lines says what to do', () => {
    expect(otlp.detect('{\n  "resourceSpans": [\n')).toBe(1);
    expect(() => read(['{', '  "resourceSpans": ['])).toThrow(InterlockError);
    expect(() => read(['{'])).toThrow(/jq -c/);
  });
});

test('the format is known by its first key, in any line of the head', () => {
  expect(otlp.detect('{"resourceSpans":[{"resource"')).toBe(1);
  expect(otlp.detect('{"resourceMetrics":[]}\n{"resourceSpans":[]}')).toBe(1);
  expect(otlp.detect('{"resourceLogs":[]}')).toBeLessThan(1);
  expect(otlp.detect('{"flow":{"x":"{\\"resourceSpans\\":"}}')).toBe(0);
  expect(otlp.detect('')).toBe(0);
  expect(otlp.detect('\n'.repeat(65_536))).toBe(0);
});
