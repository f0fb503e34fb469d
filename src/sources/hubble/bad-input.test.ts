import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Tally } from '../../access/index.ts';
import { MAX_WORLD_CALLERS } from './ends.ts';
import { hubble } from './index.ts';

const NOW = Date.parse('2026-03-03T10:00:00Z');
const FLOW = {
  time: '2026-03-02T10:00:00.123456789Z',
  verdict: 'FORWARDED',
  IP: { source: '10.0.1.13', destination: '10.0.2.7' },
  l4: { TCP: { source_port: 40_000, destination_port: 7070, flags: { SYN: true } } },
  source: {
    identity: 300,
    namespace: 'shop',
    labels: ['k8s:app=a'],
    pod_name: 'a-1',
    workloads: [{ name: 'a' }],
  },
  destination: { identity: 301, namespace: 'shop', labels: ['k8s:app=b'], pod_name: 'b-1' },
  destination_names: ['b.example.org'],
  Type: 'L7',
  l7: {
    type: 'REQUEST',
    http: { method: 'GET', url: 'http://b/x', protocol: 'HTTP/1.1', headers: [{ key: 'a', value: 'b' }] },
  },
  event_type: { type: 129 },
  traffic_direction: 'INGRESS',
  is_reply: false,
};

function read(...lines: string[]): Tally {
  const tally = new Tally('hubble');
  const reader = hubble.open(tally, { now: NOW });
  for (const [i, line] of lines.entries()) reader.line(Buffer.from(line), i + 1);
  reader.end();
  return tally;
}

function reasonFor(line: string): string | undefined {
  const tally = read(line);
  expect([tally.read, tally.accepted, tally.accessCount]).toEqual([1, 0, 0]);
  return [...tally.skips()][0]?.reason;
}

describe('bad input', () => {
  test('the flow that the other tests spoil is good', () => {
    expect([read(JSON.stringify(FLOW)).accepted, read(JSON.stringify(FLOW)).accessCount]).toEqual([1, 1]);
  });

  test('is skipped with a reason that says what is wrong, and its first line', () => {
    const spoilt: [object, string][] = [
      [{ time: 'yesterday' }, 'no time, or one that is not RFC 3339'],
      [{ time: '0001-01-01T00:00:00Z' }, 'no time, or one that is not RFC 3339'],
      [{ time: '2026-03-04T10:00:01Z' }, 'a time in the future'],
      [{ time: '2001-03-04T10:00:01Z' }, 'a time before 2010'],
      [{ IP: 'x' }, 'field "IP" is not an object'],
      [{ IP: { source: '10.0.0.1 -> evil' } }, 'an address that is not an IP address'],
      [{ source: [] }, 'field "source" is not an object'],
      [{ source: { ...FLOW.source, labels: { a: 1 } } }, 'field "labels" is not a list'],
      [{ source: { ...FLOW.source, labels: [1] } }, 'field "labels" is not a list of text'],
      [{ source: { ...FLOW.source, pod_name: 'a/../../b' } }, 'a name that Kubernetes does not allow'],
      [{ source: { ...FLOW.source, namespace: 'a\nb' } }, 'a name that Kubernetes does not allow'],
      [{ source: {}, IP: { destination: '10.0.0.1' } }, 'an end without a name, identity or address'],
      [{ verdict: 'MAYBE' }, 'a flow without a verdict that is known'],
      [{ verdict: undefined }, 'a flow without a verdict that is known'],
      [{ is_reply: 'no' }, 'field "is_reply" is not true or false'],
      [
        { l4: { TCP: { destination_port: 70_000 } } },
        'field "destination_port" is not a whole number up to 65535',
      ],
      [{ l7: { type: 'REQUEST', http: { method: 'GET' } } }, 'an HTTP message without method or URL'],
      [{ l7: { type: 'REQUEST', http: { method: 'G T', url: '/' } } }, 'an HTTP method that is not a token'],
      [
        { l7: { type: 'REQUEST', http: { method: 'GET', url: '/a b' } } },
        'a URL with a space or control character',
      ],
      [
        { l7: { type: 'REQUEST', http: { method: 'CONNECT', url: 'b:443' } } },
        'a URL that is neither absolute nor a path',
      ],
      [
        { l7: { type: 'REQUEST', http: { method: 'GET', url: `/${'a'.repeat(9000)}` } } },
        'a path longer than 8192 characters',
      ],
      [
        { l7: { type: 'REQUEST', kafka: { topic: 't' } } },
        'a request of a protocol that is not read; its connection is',
      ],
    ];
    for (const [fields, reason] of spoilt) {
      expect(reasonFor(JSON.stringify({ ...FLOW, ...fields }))).toBe(reason);
      expect(reasonFor(JSON.stringify({ flow: { ...FLOW, ...fields } }))).toBe(reason);
    }
  });

  test('broken, deep and foreign lines are skipped, and the lines around them are read', () => {
    const good = JSON.stringify(FLOW);
    const tally = read(
      '\uFEFF' + good,
      good.slice(0, 200),
      '{"flow":'.repeat(10_000),
      `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`,
      'not \u0000 json',
      '[1,2]',
      '"text"',
      '{"resourceSpans":[]}',
      '',
      '  \r',
      `${good}\r`,
    );
    expect([tally.read, tally.accepted]).toEqual([9, 2]);
    expect([...tally.skips()].map(({ reason, count, firstLine }) => [reason, count, firstLine])).toEqual([
      ['not JSON', 2, 2],
      ['JSON that is nested too deep', 2, 3],
      ['JSON that is no entry of Hubble', 3, 6],
    ]);
  });

  test('brackets inside strings are not depth', () => {
    const url = `http://b/${'['.repeat(500)}\\"{{{`;
    const l7 = { type: 'REQUEST', http: { method: 'GET', url } };
    expect(read(JSON.stringify({ ...FLOW, l7 })).accepted).toBe(1);
  });

  test('keys of the language itself are plain keys', () => {
    const line = JSON.stringify(FLOW).replace('{', '{"__proto__":{"verdict":"DROPPED"},"constructor":1,');
    expect(read(line).accepted).toBe(1);
    expect(Object.hasOwn(Object.prototype, 'verdict')).toBe(false);
  });

  test('whatever stands in whatever field, a line is taken in or counted, and nothing is thrown', () => {
    const anything = fc.oneof(
      fc.jsonValue({ maxDepth: 3 }),
      fc.constantFrom(null, '', 0, -1, 1e300, [], {}, 'SOCK', 'L3_L4', 'RESPONSE', 'DROPPED'),
    );
    const paths = pathsOf(FLOW);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...paths), anything), { maxLength: 4 }), (changes) => {
        const flow: unknown = structuredClone(FLOW);
        for (const [path, value] of changes) put(flow, path, value);
        const tally = read(JSON.stringify(flow), JSON.stringify({ flow }));
        const skipped = [...tally.skips()].reduce((sum, { count }) => sum + count, 0);
        expect(tally.accepted + skipped).toBe(2);
        for (const access of tally.accesses()) expect(access.evidence.counts.size).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  test('a flood of callers from outside is kept by address up to a limit, then as the world', () => {
    const flow = (i: number) => ({
      ...FLOW,
      Type: 'L3_L4',
      l7: undefined,
      IP: { source: `203.${i >> 16}.${(i >> 8) & 255}.${i & 255}`, destination: '10.0.2.7' },
      source: { identity: 2, labels: ['reserved:world'] },
    });
    const lines = Array.from({ length: MAX_WORLD_CALLERS + 50 }, (_, i) => JSON.stringify(flow(i)));
    const tally = read(...lines);
    expect(tally.accepted).toBe(lines.length);
    expect(tally.accessCount).toBe(MAX_WORLD_CALLERS + 1);
    expect([...tally.accesses()].at(-1)?.from).toEqual({ entity: 'world' });
  });
});

describe('detection', () => {
  test('is certain of flows, bare or in an envelope, also behind lost events', () => {
    const line = JSON.stringify(FLOW);
    expect(hubble.detect(`${line}\n${line.slice(0, 50)}`)).toBe(1);
    expect(hubble.detect(`{"flow":${line},"node_name":"n"}`)).toBe(1);
    expect(hubble.detect(`{"lost_events":{"source":"X"}}\nbroken\n${line}\n`)).toBe(1);
    expect(hubble.detect('{"lost_events":{"source":"X"}}\n')).toBeGreaterThan(0.5);
  });

  test('never takes another format for its own', () => {
    const others = [
      '',
      '\u0000\u0001',
      '{"resourceSpans":[{"resource":{"attributes":[]},"scopeSpans":[]}]}\n',
      '{"start_time":"2026-03-02T10:00:00Z","method":"GET","path":"/","protocol":"HTTP/1.1","response_code":200}\n',
      '{"verdict":"FORWARDED","method":"GET"}\n',
      '[2026-03-02T10:00:00.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 1 2 1 "-"\n',
      'apiVersion: v1\nkind: Service\n',
      '{"apiVersion":"v1","kind":"List","items":[]}\n',
      '{"flow":"checkout","Type":"x"}\n',
    ];
    expect(others.filter((head) => hubble.detect(head) > 0)).toEqual([]);
  });
});

/** Every path to a field of `value`, dotted. */
function pathsOf(value: object, prefix = ''): string[] {
  return Object.entries(value).flatMap(([key, inner]) => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    return typeof inner === 'object' && inner !== null ? [path].concat(pathsOf(inner, path)) : [path];
  });
}

function put(target: unknown, path: string, value: unknown): void {
  const keys = path.split('.');
  const last = keys.pop() ?? '';
  let at = target;
  for (const key of keys) {
    if (typeof at !== 'object' || at === null) return;
    at = Reflect.get(at, key);
  }
  if (typeof at === 'object' && at !== null) Reflect.set(at, last, structuredClone(value));
}
