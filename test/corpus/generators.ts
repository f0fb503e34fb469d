import fc from 'fast-check';
import type { Action, Principal, SpiffeId } from '../../src/access/index.ts';
import type { AccessPolicy, AccessRequest, From, Rule, To } from '../../src/policy/index.ts';
import type { ConditionResult } from './reference.ts';

/** Small vocabularies, so that random requests often meet random rules. */
// The IDs below are written in the form that the standard asks for.
const id = (text: string) => text as SpiffeId;
export const PROTECTED = [id('spiffe://e.org/ns/a/sa/server'), id('spiffe://e.org/ns/b/sa/server')] as const;
const IDS = [
  'spiffe://e.org/ns/a/sa/x',
  'spiffe://e.org/ns/a/sa/y',
  'spiffe://e.org/ns/b/sa/x',
  'spiffe://e.org/ns/a',
  'spiffe://e.org',
  'spiffe://f.org/ns/a/sa/x',
].map(id);
const ORIGINS = [
  'world',
  'host',
  '10.1.2.3',
  '10.200.0.1',
  '192.168.1.1',
  'fd00::1',
  '2001:db8::1',
  '::ffff:10.1.2.3',
  'shop.example',
];

const fromArb: fc.Arbitrary<From> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...IDS).map((workload) => ({ workload })) },
  fc
    .constantFrom('spiffe://e.org/ns/*', 'spiffe://e.org/ns/a/*', 'spiffe://e.org/ns/a/sa/*')
    .map((workload) => ({ workload })),
  fc.constantFrom('e.org', 'f.org').map((trustDomain) => ({ trustDomain })),
  fc
    .constantFrom(
      'world',
      'host',
      '10.0.0.0/8',
      '10.1.0.0/16',
      '10.1.2.3/32',
      '0.0.0.0/0',
      '::/0',
      'fd00::/8',
      '2001:db8::1/128',
    )
    .map((from) => ({ unauthenticated: { from } })),
  fc.constantFrom<From>({ group: 'g' }, { user: { issuer: 'https://i', subject: 's' } }),
);

const ports = fc.option(fc.uniqueArray(fc.constantFrom(80, 8080, 7070), { minLength: 1, maxLength: 2 }), {
  nil: undefined,
});
const METHODS = ['GET', 'POST', 'DELETE'];
const SEGMENTS = ['a', 'b', 'c.S', 'Get'];

const templateArb = fc
  .tuple(
    fc.array(fc.constantFrom(...SEGMENTS, '{}', '{}'), { maxLength: 3 }),
    fc.constantFrom('', '', '', '/', '/{rest=**}'),
  )
  .map(([segments, end]) => {
    const text = `${segments.map((s, i) => `/${s === '{}' ? `{p${i}}` : s}`).join('')}${end}`;
    return text === '' ? '/' : text;
  });

const toArb: fc.Arbitrary<To> = fc
  .tuple(
    fc.oneof(
      fc.constant({ tcp: {} }),
      fc
        .record({
          methods: fc.option(fc.uniqueArray(fc.constantFrom(...METHODS), { minLength: 1, maxLength: 2 }), {
            nil: undefined,
          }),
          paths: fc.option(fc.uniqueArray(templateArb, { minLength: 1, maxLength: 3 }), { nil: undefined }),
        })
        .map(({ methods, paths }) => ({
          http: { ...(methods === undefined ? {} : { methods }), ...(paths === undefined ? {} : { paths }) },
        })),
      fc
        .record({
          service: fc.constantFrom('a', 'c.S'),
          methods: fc.option(fc.uniqueArray(fc.constantFrom('Get', 'b'), { minLength: 1 }), {
            nil: undefined,
          }),
        })
        .map(({ service, methods }) => ({
          grpc: { service, ...(methods === undefined ? {} : { methods }) },
        })),
    ),
    ports,
  )
  .map(([what, ports]): To => (ports === undefined ? what : { ...what, ports }));

/** Conditions with what each comes to, said a second time in TypeScript. */
const CONDITIONS: ReadonlyMap<string, (r: AccessRequest) => ConditionResult> = new Map<
  string,
  (r: AccessRequest) => ConditionResult
>([
  [
    'request.method == "GET"',
    ({ action }) =>
      action.kind === 'tcp' ? 'unknown' : (action.kind === 'grpc' ? 'POST' : action.method) === 'GET',
  ],
  [
    'request.headers["x-env"] == "prod"',
    ({ action, attributes }) => {
      if (action.kind === 'tcp' || attributes?.headers === undefined) return 'unknown';
      const value = attributes.headers['x-env'];
      return value === undefined ? 'error' : value === 'prod';
    },
  ],
  [
    'request.host.startsWith("api.")',
    ({ action, attributes }) =>
      action.kind === 'tcp' ? 'unknown' : (attributes?.host?.startsWith('api.') ?? 'unknown'),
  ],
  ['destination.port < 1024', ({ action }) => (action.port === 0 ? 'unknown' : action.port < 1024)],
  [
    'source.principal.endsWith("/x")',
    ({ from }) => (from.kind === 'workload' ? from.id.endsWith('/x') : 'error'),
  ],
  ['request.host == "h" || true', () => true],
  ['false && request.host == "h"', () => false],
  ['1 / 0 == 1', () => 'error'],
]);

/** What a condition that {@link policiesArb} uses comes to for a request. */
export function judge(when: string, request: AccessRequest): ConditionResult {
  const condition = CONDITIONS.get(when);
  if (condition === undefined) throw new Error(`no such condition: ${when}`);
  return condition(request);
}

const ruleArb = (conditions: boolean, ends = false) =>
  fc.record({
    from: fc.array(fromArb, { minLength: 1, maxLength: 3 }),
    to: fc.array(toArb, { minLength: 1, maxLength: 2 }),
    when: conditions
      ? fc.option(fc.constantFrom(...CONDITIONS.keys(), ''), { nil: undefined, freq: 2 })
      : fc.constant(undefined),
    until: ends ? fc.option(fc.constantFrom(...ENDS), { nil: undefined, freq: 2 }) : fc.constant(undefined),
  });

/** Ends of random rules, of which two are one moment; requests are asked at, before and after them. */
const ENDS = ['2026-06-30T00:00:00Z', '2026-12-31T01:30:00+01:30', '2026-12-31T00:00:00.000Z'];
export const timeArb = fc.oneof(
  fc
    .tuple(fc.constantFrom(...ENDS), fc.constantFrom(-1, 0, 1))
    .map(([end, beside]) => Date.parse(end) + beside),
  fc.constantFrom(0, Date.UTC(2030, 0), Number.POSITIVE_INFINITY),
);

/** Random policies for the workloads in {@link PROTECTED}, with or without conditions and ends. */
export const policiesArb = (
  options: { conditions: boolean; deny?: boolean; ends?: boolean } = { conditions: true },
) =>
  fc
    .uniqueArray(
      fc.record({
        name: fc.constantFrom('a', 'b', 'B'),
        workload: fc.constantFrom(...PROTECTED),
        rules: fc.array(ruleArb(options.conditions, options.ends), { maxLength: 6 }),
        deny: fc.array(ruleArb(options.conditions), { maxLength: options.deny === false ? 0 : 2 }),
      }),
      { maxLength: 4, selector: ({ name, workload }) => `${name} ${workload}` },
    )
    .map((list) => list.map(policyOf));

type RawRule = { from: From[]; to: To[]; when: string | undefined; until?: string | undefined };

function policyOf(raw: {
  name: string;
  workload: SpiffeId;
  rules: RawRule[];
  deny: RawRule[];
}): AccessPolicy {
  const rules = (list: RawRule[], prefix: string): Rule[] =>
    list.map(({ from, to, when, until }, i) => ({
      name: `${prefix}${i}`,
      from,
      to,
      ...(when === undefined ? {} : { when }),
      ...(until === undefined ? {} : { until }),
    }));
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: raw.name },
    spec: {
      protects: { workload: raw.workload },
      tier: 'standard',
      stage: 'draft',
      rules: rules(raw.rules, 'r'),
      deny: rules(raw.deny, 'd'),
    },
  };
}

const segmentArb = fc.constantFrom(
  ...SEGMENTS,
  ...SEGMENTS,
  'q',
  '%61',
  '.',
  '..',
  '',
  '%2f',
  '{v}',
  '%2E',
  '\\',
);
const pathArb = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.array(fc.constantFrom(...SEGMENTS), { maxLength: 3 }).map((s) => `/${s.join('/')}`),
  },
  fc.array(segmentArb, { maxLength: 4 }).map((s) => `/${s.join('/')}`),
  fc.constantFrom('*', '', 'a', '/a?x=/b', '/a#b', '/a/{rest=**}', '/{rest=**}', '/a/{x}/b', '/a{x', '/a/'),
);

const port = fc.constantFrom(80, 8080, 7070, 9, 0);
/** Random actions, hostile paths and recorded templates among them. */
export const actionArb: fc.Arbitrary<Action> = fc.oneof(
  port.map((port): Action => ({ kind: 'tcp', port })),
  {
    weight: 4,
    arbitrary: fc
      .record({ port, method: fc.constantFrom(...METHODS, 'OPTIONS', 'get'), path: pathArb })
      .map((a): Action => ({ kind: 'http', ...a })),
  },
  fc
    .record({
      port,
      service: fc.constantFrom('a', 'c.S', 'q', '..', '{v}'),
      method: fc.constantFrom('Get', 'b', 'q', '%2f'),
    })
    .map((a): Action => ({ kind: 'grpc', ...a })),
);

const principalArb: fc.Arbitrary<Principal> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...IDS).map((id): Principal => ({ kind: 'workload', id })) },
  fc.constantFrom(...ORIGINS).map((from): Principal => ({ kind: 'unauthenticated', from })),
);

const attributesArb = fc.option(
  fc.record(
    {
      host: fc.constantFrom('api.e.org', 'h'),
      headers: fc.constantFrom<Record<string, string>>({}, { 'x-env': 'prod' }, { 'x-env': 'test' }),
    },
    { requiredKeys: [] },
  ),
  { nil: undefined },
);

/** Random requests over the same vocabularies. */
export const requestArb: fc.Arbitrary<AccessRequest> = fc
  .record({
    from: principalArb,
    to: fc.constantFrom(PROTECTED[0], PROTECTED[0], PROTECTED[1], id('spiffe://e.org/ns/a/sa/other')),
    action: actionArb,
    attributes: attributesArb,
  })
  .map(({ attributes, ...rest }) => (attributes === undefined ? rest : { ...rest, attributes }));
