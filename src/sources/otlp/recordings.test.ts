import { existsSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { callsThatReached } from '../../access/index.ts';
import { read } from './testing.ts';

/** A span as these two recordings write it. */
interface Plain {
  readonly service: string;
  readonly trace: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly name: string;
  readonly method: string | undefined;
}

interface RawSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  attributes: { key: string; value: { stringValue: string } }[];
}

interface RawLine {
  resourceSpans: {
    resource: { attributes: RawSpan['attributes'] };
    scopeSpans: { spans: RawSpan[] }[];
  }[];
}

const valueOf = (attributes: RawSpan['attributes'], key: string): string | undefined =>
  attributes.find((attribute) => attribute.key === key)?.value.stringValue;

/** All spans, read without any of the program's own code. */
function plainSpans(lines: readonly string[]): Plain[] {
  const spans: Plain[] = [];
  for (const line of lines) {
    // The recordings' shape is known: this is the oracle, not the reader.
    for (const { resource, scopeSpans } of (JSON.parse(line) as RawLine).resourceSpans) {
      const service = valueOf(resource.attributes, 'service.name') ?? '';
      for (const span of scopeSpans.flatMap((scope) => scope.spans)) {
        spans.push({
          service,
          trace: span.traceId,
          id: span.spanId,
          parent: span.parentSpanId,
          name: span.name,
          method: valueOf(span.attributes, 'http.request.method'),
        });
      }
    }
  }
  return spans;
}

/** `caller callee operation` -> calls, by a plain look-up of every span's parent; and roots by service. */
function oracle(spans: readonly Plain[]): { links: Map<string, number>; roots: Map<string, number> } {
  const known = new Map(spans.map((span) => [span.trace + span.id, span]));
  const links = new Map<string, number>();
  const roots = new Map<string, number>();
  for (const span of spans) {
    if (span.parent === undefined) roots.set(span.service, (roots.get(span.service) ?? 0) + 1);
    const parent = known.get(span.trace + (span.parent ?? ''));
    if (parent === undefined || parent.service === span.service) continue;
    const operation =
      span.method === undefined ? span.name.replace(/^(?:grpc\.|\/)/, '') : `${span.method} ${span.name}`;
    const key = `${parent.service} ${span.service} ${operation}`;
    links.set(key, (links.get(key) ?? 0) + 1);
  }
  return { links, roots };
}

function recording(name: string): string[] | undefined {
  const url = new URL(`../../../../shared/data/${name}/traces.otlp.jsonl.gz`, import.meta.url);
  if (!existsSync(url)) {
    console.log(`skipped: the recording ${name} is not beside this checkout (../shared/data/${name})`);
    return undefined;
  }
  return gunzipSync(readFileSync(url)).toString('utf8').trimEnd().split('\n');
}

const boutique = recording('online-boutique');
const trains = recording('train-ticket');

/** What the program found, in the oracle's words. */
function found(lines: readonly string[]): { links: Map<string, number>; roots: Map<string, number> } {
  const { tally } = read(lines);
  const links = new Map<string, number>();
  const roots = new Map<string, number>();
  for (const { from, to, action, evidence } of tally.accesses()) {
    const operation =
      action.kind === 'grpc'
        ? `${action.service}/${action.method}`
        : action.kind === 'http'
          ? `${action.method} ${action.path}`
          : 'tcp';
    links.set(`${from.workload} ${to.workload} ${operation}`, callsThatReached(evidence));
  }
  for (const { kind, from, to, what, count } of tally.blindSpots()) {
    if (kind === 'messaging') links.set(`${from.workload} ${to.workload} ${what} process`, count);
    if (kind === 'unknown-caller') roots.set(to.workload ?? '', (roots.get(to.workload ?? '') ?? 0) + count);
  }
  expect([...tally.skips()]).toEqual([]);
  expect(tally.accepted).toBe(tally.read);
  return { links, roots };
}

test.skipIf(boutique === undefined)(
  'every call of the online boutique is found, and none is invented',
  () => {
    const lines = boutique ?? [];
    const got = found(lines);
    expect(got).toEqual(oracle(plainSpans(lines)));
    expect(got.links.size).toBe(18);
    expect(got.roots).toEqual(new Map([['frontend', 2646]]));
  },
);

test.skipIf(trains === undefined)(
  'every call of the train ticket system is found, and none is invented',
  () => {
    const lines = trains ?? [];
    const got = found(lines);
    expect(got).toEqual(oracle(plainSpans(lines)));
    // 67 over HTTP, and one through the message broker.
    expect(got.links.size).toBe(68);
    expect(got.links.get('ts-food-service ts-delivery-service food_delivery process')).toBe(104);
    expect(got.roots).toEqual(new Map([['ts-gateway-service', 1320]]));
  },
);

test.skipIf(trains === undefined)('the lines of a recording may come in any order', () => {
  const lines = trains ?? [];
  expect(found(lines.toReversed())).toEqual(found(lines));
});

test.skipIf(boutique === undefined || trains === undefined)('database calls are named as blind spots', () => {
  const spots = [...read([...(boutique ?? []), ...(trains ?? [])]).tally.blindSpots()];
  const databases = new Map(
    spots
      .filter(({ kind }) => kind === 'client-only')
      .map(({ from, what, count }) => [`${from.workload} ${what}`, count]),
  );
  expect(databases.get('productcatalogservice SQL')).toBe(14_442);
  expect(databases.get('adservice SQL on addatabase')).toBe(1929);
  expect(databases.get('ts-config-service SQL on ts')).toBe(1912);
});
