import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { beforeAll, describe, expect, test } from 'vitest';
import { interlock, json, scratch, sharedData } from './run.ts';

interface AccessLine {
  from: string;
  to: string;
  action: { kind: string; port: number; method?: string; path?: string; service?: string };
  views: string[];
  evidence: { count: number };
}

interface Span {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  attributes: { key: string; value: { stringValue?: string } }[];
}

/** Calls between services, joined naively: `caller callee span-name` -> calls. */
function oracle(file: string): Map<string, number> {
  const spans = new Map<string, { service: string; span: Span }>();
  for (const line of gunzipSync(readFileSync(file)).toString().split('\n')) {
    if (line === '') continue;
    for (const { resource, scopeSpans } of JSON.parse(line).resourceSpans) {
      const attributes = resource.attributes as Span['attributes'];
      const service = attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
      for (const scope of scopeSpans) {
        for (const span of scope.spans as Span[]) spans.set(span.traceId + span.spanId, { service, span });
      }
    }
  }
  const calls = new Map<string, number>();
  for (const { service, span } of spans.values()) {
    const parent = span.parentSpanId === undefined ? undefined : spans.get(span.traceId + span.parentSpanId);
    if (parent === undefined || parent.service === service) continue;
    const key = `${parent.service} ${service} ${operation(span)}`;
    calls.set(key, (calls.get(key) ?? 0) + 1);
  }
  return calls;
}

function operation({ name, attributes }: Span): string {
  const of = (key: string) => attributes.find((a) => a.key === key)?.value.stringValue;
  const service = of('rpc.service');
  if (service !== undefined) return `${service}/${of('rpc.method')}`;
  const route = of('http.route');
  return route === undefined ? name : `${of('http.request.method')} ${route}`;
}

/** Parameters and trailing catch-alls under one name, so that only the shape is compared. */
const shape = (text: string) => text.replaceAll(/\{[^}]*\}/g, '{}');

function found(lines: readonly AccessLine[]): Map<string, number> {
  const calls = new Map<string, number>();
  for (const { from, to, action, views, evidence } of lines) {
    if (!views.includes('observed')) continue;
    const what =
      action.kind === 'grpc' ? `${action.service}/${action.method}` : `${action.method} ${action.path}`;
    const key = shape(`${from.split('/').at(-1)} ${to.split('/').at(-1)} ${what}`);
    calls.set(key, (calls.get(key) ?? 0) + evidence.count);
  }
  return calls;
}

const sorted = (map: Map<string, number>) => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));

const boutique = sharedData('online-boutique/traces.otlp.jsonl.gz');
describe.skipIf(boutique === undefined)('online boutique: traces and manifests', () => {
  const dir = scratch();
  const state = ['--state', join(dir, 'state')];
  const policies = join(dir, 'policies');
  const manifests = sharedData('online-boutique/manifests.yaml') ?? '';
  let accesses: AccessLine[] = [];

  beforeAll(async () => {
    const observed = await interlock('observe', manifests, boutique ?? '', ...state);
    expect(observed.err).toBe('');
    expect(observed.code).toBe(0);
    expect((await interlock('propose', '--out', policies, ...state)).code).toBe(0);
    accesses = await json<AccessLine>('access', ...state);
  });

  test('every call between services is found, with its count, and none is invented', () => {
    expect(sorted(found(accesses))).toEqual(sorted(oracle(boutique ?? '')));
  });

  test("ports that the traces do not state come from the manifests' Services", () => {
    expect(accesses.filter(({ action }) => action.port === 0)).toEqual([]);
    const email = accesses.find(
      ({ to, views }) => to.endsWith('/emailservice') && views.includes('observed'),
    );
    // The Service listens on 5000, the container on 8080.
    expect(email?.action.port).toBe(8080);
  });

  test('what the traces miss is declared: the cart talks to redis, the load generator to the frontend', () => {
    const declared = accesses.filter(({ views }) => views.join() === 'declared');
    expect(
      declared.map(({ from, to, action }) => [from.split('/').at(-1), to.split('/').at(-1), action]),
    ).toEqual(
      expect.arrayContaining([
        ['cartservice', 'redis-cart', { kind: 'tcp', port: 6379 }],
        ['loadgenerator', 'frontend', { kind: 'tcp', port: 8080 }],
      ]),
    );
  });

  test('the blind spots name the calls that the traces miss', async () => {
    const of = async (name: string) =>
      (await interlock('readiness', '--to', `spiffe://example.org/ns/default/sa/${name}`, ...state)).out;
    expect(await of('redis-cart')).toMatch(/cartservice/);
    expect(await of('frontend')).toMatch(/outside the recorded set|unknown-caller/);
  });

  test('all workloads run under one service account, and that is said loudly', async () => {
    const { out } = await interlock('identities', ...state);
    expect(out).toMatch(/SHARED.*12 workloads/s);
    const again = await interlock('observe', manifests, ...state);
    expect(again.out).toMatch(/taken in before/);
    expect(again.out).toMatch(/SHARED SERVICE ACCOUNT: default\/default/);
  });

  test('rehearsing the proposal over the same recording gives no flip', async () => {
    const { code, out } = await interlock('rehearse', policies, ...state);
    expect(out).toMatch(/No flips/);
    expect(out).toMatch(/Every result is exact/);
    expect(code).toBe(0);
  });

  test('taking a rule away shows exactly what it would break', async () => {
    const current = join(dir, 'policies-without');
    const { policies: proposed } = (await json<{ policies: unknown[] }>('propose', ...state))[0] ?? {
      policies: [],
    };
    expect(proposed.length).toBe(readdirSync(policies).length - 1);
    await interlock('propose', '--out', current, ...state);
    const file = join(current, 'default.cartservice.yaml');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/EmptyCart, |- EmptyCart\n\s*/, ''));
    const { code, out } = await interlock('rehearse', current, ...state);
    expect(code).toBe(3);
    expect(out).toMatch(/WOULD BE DENIED: 1 access/);
    expect(out).toMatch(/EmptyCart/);
    const diff = await interlock('diff', policies, current);
    expect(diff.code).toBe(3);
    expect(diff.out).toMatch(/1 access no longer authorized/);
  });

  test('no rule is wider than an observed or declared access', async () => {
    const [{ policies: proposed } = { policies: [] }] = await json<{
      policies: { spec: { protects: { workload: string }; rules: ProposedRule[] } }[];
    }>('propose', ...state);
    for (const { spec } of proposed) {
      for (const rule of spec.rules) {
        for (const grant of grantsOf(rule)) {
          const known = accesses.some(
            ({ from, to, action }) =>
              to === spec.protects.workload && from === grant.from && actionMatches(action, grant),
          );
          expect([rule.name, grant, known]).toEqual([rule.name, grant, true]);
        }
      }
    }
  });
});

interface ProposedRule {
  name: string;
  from: { workload: string }[];
  to: {
    tcp?: object;
    grpc?: { service: string; methods: string[] };
    http?: { methods: string[]; paths: string[] };
    ports?: number[];
  }[];
}

interface Grant {
  from: string;
  port: number;
  kind: string;
  what: string;
}

function grantsOf({ from, to }: ProposedRule): Grant[] {
  return from.flatMap(({ workload }) =>
    to.flatMap(({ tcp, grpc, http, ports = [0] }) =>
      ports.flatMap((port) => {
        const grant = (kind: string, what: string) => ({ from: workload, port, kind, what });
        if (tcp !== undefined) return [grant('tcp', '')];
        if (grpc !== undefined)
          return grpc.methods.map((method) => grant('grpc', `${grpc.service}/${method}`));
        return (http?.paths ?? ['any']).flatMap((path) =>
          (http?.methods ?? ['any']).map((method) => grant('http', `${method} ${shape(path)}`)),
        );
      }),
    ),
  );
}

function actionMatches(action: AccessLine['action'], { port, kind, what }: Grant): boolean {
  if (action.kind !== kind || action.port !== port) return false;
  if (kind === 'grpc') return `${action.service}/${action.method}` === what;
  return kind === 'tcp' || shape(`${action.method} ${action.path}`) === what;
}

const trains = sharedData('train-ticket/traces.otlp.jsonl.gz');
describe.skipIf(trains === undefined)('train ticket: traces alone', () => {
  const dir = scratch();
  const state = ['--state', join(dir, 'state')];
  const policies = join(dir, 'policies');
  /** Passed through a message broker: no connection between the two exists, and no policy should allow one. */
  const MESSAGE = 'ts-food-service ts-delivery-service food_delivery process';
  let accesses: AccessLine[] = [];

  beforeAll(async () => {
    expect((await interlock('observe', trains ?? '', ...state)).code).toBe(0);
    expect((await interlock('propose', '--out', policies, ...state)).code).toBe(0);
    accesses = await json<AccessLine>('access', ...state);
  });

  test('every call between services is found, with its count, and none is invented', () => {
    const calls = oracle(trains ?? '');
    expect(calls.get(MESSAGE)).toBe(104);
    calls.delete(MESSAGE);
    const expected = new Map([...calls].map(([key, n]) => [shape(key), n]));
    expect(sorted(found(accesses))).toEqual(sorted(expected));
  });

  test('the message flow is a blind spot with its destination, not a connection', async () => {
    const to = 'spiffe://example.org/ns/train-ticket/sa/ts-delivery-service';
    expect(accesses.filter((access) => access.to === to)).toEqual([]);
    expect((await interlock('readiness', '--to', to, ...state)).out).toMatch(/food_delivery/);
  });

  test('rehearsing the proposal over the same recording gives no flip', async () => {
    const { code, out } = await interlock('rehearse', policies, ...state);
    expect(out).toMatch(/No flips/);
    expect(code).toBe(0);
  });

  test('no rule is wider than an observed access', async () => {
    const [{ policies: proposed } = { policies: [] }] = await json<{
      policies: { spec: { protects: { workload: string }; rules: ProposedRule[] } }[];
    }>('propose', ...state);
    for (const { spec } of proposed) {
      for (const grant of spec.rules.flatMap(grantsOf)) {
        const known = accesses.some(
          ({ from, to, action }) =>
            to === spec.protects.workload && from === grant.from && actionMatches(action, grant),
        );
        expect([grant, known]).toEqual([grant, true]);
      }
    }
  });
});
