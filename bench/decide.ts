import { preparsePolicySet, statefulIsAuthorized } from '@cedar-policy/cedar-wasm/nodejs';
import { type Enforcer, newEnforcer, newModelFromString } from 'casbin';
import type { Principal, SpiffeId } from '../src/access/index.ts';
import { type AccessPolicy, type AccessRequest, compile, decide, type Rule } from '../src/policy/index.ts';

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

// Written in the form that the standard asks for.
const SERVER = 'spiffe://example.org/ns/shop/sa/server' as SpiffeId;
const METHODS = ['GET', 'PUT', 'POST', 'DELETE', 'PATCH'] as const;
const PORT = 8080;
const CALLERS = 500;
const ROUTES = 80;

interface FlatRule {
  readonly from: SpiffeId;
  readonly method: string;
  readonly path: string;
}

/**
 * `n` L7 rules on one workload: of up to 500 callers, over 80 routes, all different. Three of four routes have
 * parameters.
 */
function flatRules(n: number): FlatRule[] {
  const shapes = [
    (i: number) => `/api/v1/area${i}/status`,
    (i: number) => `/api/v1/area${i}/orders/{id}`,
    (i: number) => `/api/v1/area${i}/orders/{id}/items/{item}`,
    (i: number) => `/files/area${i}/{path=**}`,
  ];
  return Array.from({ length: n }, (_, i) => {
    const lap = Math.floor(i / CALLERS);
    // 27 more each lap, which has no factor in common with 80: a caller never gets a route twice.
    const route = (i + 7 * lap) % ROUTES;
    return {
      from: `spiffe://example.org/ns/team${i % 50}/sa/caller${i % CALLERS}` as SpiffeId,
      method: METHODS[(route + lap) % METHODS.length] as string,
      path: (shapes[route % shapes.length] as (i: number) => string)(route >> 2),
    };
  });
}

function policyOf(flat: readonly FlatRule[]): AccessPolicy {
  const rules = flat.map(
    ({ from, method, path }, i): Rule => ({
      name: `r${i}`,
      from: [{ workload: from }],
      to: [{ http: { methods: [method], paths: [path] }, ports: [PORT] }],
    }),
  );
  return {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'AccessPolicy',
    metadata: { name: 'server' },
    spec: { protects: { workload: SERVER }, tier: 'standard', stage: 'enforced', rules, deny: [] },
  };
}

/** Requests over the whole of the rules, about half of them allowed; every text is its own, as from the wire. */
function requestsFor(flat: readonly FlatRule[], count: number): AccessRequest[] {
  const random = seeded(7);
  const fresh = (text: string) => Buffer.from(text).toString('latin1');
  return Array.from({ length: count }, () => {
    const rule = flat[Math.floor(random() * flat.length)] as FlatRule;
    const other = flat[Math.floor(random() * flat.length)] as FlatRule;
    const kind = random();
    let path = rule.path
      .replace('{path=**}', `a${Math.floor(random() * 1000)}/b/c.txt`)
      .replace(/\{\w+\}/g, () => String(Math.floor(random() * 100_000)));
    if (kind > 0.75) path += '/more';
    const method = kind > 0.5 && kind <= 0.65 ? 'HEAD' : rule.method;
    const id = kind > 0.65 && kind <= 0.75 ? `${other.from}x` : rule.from;
    const from: Principal = { kind: 'workload', id: fresh(id) as SpiffeId };
    return {
      from,
      to: SERVER,
      action: { kind: 'http', port: PORT, method: fresh(method), path: fresh(path) },
    };
  });
}

/** Operations a second of `run` over `count` operations, once. */
function rate(count: number, run: () => void): number {
  const start = process.hrtime.bigint();
  run();
  return (count * 1e9) / Number(process.hrtime.bigint() - start);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** Requests a round goes over: few enough to leave the processor's cache to the rules, as a request just read does. */
const POOL = 2048;
const ROUNDS = 9;

/** `decide` at three sizes, and beside Cedar and Casbin at 1,000 rules, all in one run. */
export async function bench(report: (line: string) => void): Promise<void> {
  bySize(report);
  await besidePeers(report);
}

const SIZES = [10, 1_000, 10_000];

function bySize(report: (line: string) => void): void {
  const spread = SIZES.map((size) => sized(size, requestsFor(flatRules(size), POOL)));
  const few = requestsFor(flatRules(10), POOL);
  const same = SIZES.map((size) => sized(size, few));
  const all = [...spread, ...same];
  for (const { run } of all) run();
  for (let round = 0; round < ROUNDS; round++) {
    for (const { count, run, rates } of all) rates.push(rate(count, run));
  }
  for (const { size, share, rates } of spread) {
    const percent = Math.round(share * 100);
    report(
      `decide, ${size.toLocaleString('en')} L7 rules: ${millions(median(rates))} M/s (${percent} % allowed)`,
    );
  }
  report(`10,000 rules beside 10: ${slowdown(spread)} times slower with requests spread over all rules,`);
  report(`  ${slowdown(same)} times with the same requests`);
}

function sized(size: number, requests: readonly AccessRequest[]) {
  const set = compile([policyOf(flatRules(size))]);
  const allowed = requests.filter((request) => decide(set, request).allowed).length;
  const repeat = 128;
  const run = () => {
    for (let i = 0; i < repeat; i++) for (const request of requests) decide(set, request);
  };
  return {
    size,
    share: allowed / requests.length,
    count: repeat * requests.length,
    run,
    rates: [] as number[],
  };
}

function slowdown(cases: readonly { readonly rates: readonly number[] }[]): string {
  return (median(cases[0]?.rates ?? []) / median(cases.at(-1)?.rates ?? [])).toFixed(2);
}

async function besidePeers(report: (line: string) => void): Promise<void> {
  const flat = flatRules(1_000);
  const set = compile([policyOf(flat)]);
  const requests = requestsFor(flat, 256);
  const cedar = cedarFor(flat);
  const casbin = await casbinFor(flat);
  const disagree = requests.filter((request) => {
    const verdict = decide(set, request).allowed;
    return verdict !== cedar(request) || verdict !== casbin(request);
  });
  if (disagree.length > 0)
    throw new Error(`peers disagree on ${disagree.length} of ${requests.length} requests`);
  report(`the three agree on all ${requests.length} requests`);
  const contestants = [
    { name: 'decide', judge: (r: AccessRequest) => decide(set, r).allowed, count: 262_144 },
    { name: 'cedar-wasm (preparsePolicySet + statefulIsAuthorized)', judge: cedar, count: 256 },
    { name: 'casbin (enforceSync, keyMatch2)', judge: casbin, count: 128 },
  ].map((contestant) => ({ ...contestant, rates: [] as number[] }));
  for (let round = 0; round < ROUNDS; round++) {
    for (const { judge, count, rates } of contestants) {
      rates.push(
        rate(count, () => {
          for (let i = 0; i < count; i++) judge(requests[i & 255] as AccessRequest);
        }),
      );
    }
  }
  const [own = 0] = contestants.map(({ rates }) => median(rates));
  for (const { name, rates } of contestants) {
    const other = median(rates);
    const ratio =
      name === 'decide' ? '' : `; decide is ${Math.round(own / other).toLocaleString('en')} times as fast`;
    report(`${name}, 1,000 rules: ${Math.round(other).toLocaleString('en')}/s${ratio}`);
  }
}

type Judge = (request: AccessRequest) => boolean;

/**
 * Cedar: one permit a rule, parsed once; caller, method and callee in the scope, which is what Cedar compares
 * first; port and path in the context; no entities to be read at a call. Cedar's `like` has one wildcard that crosses slashes; what it
 * would take too much is excluded by a second `like`.
 */
function cedarFor(flat: readonly FlatRule[]): Judge {
  const policies = flat
    .map(({ from, method, path }) => {
      const pattern = path.replace(/\{path=\*\*\}|\{\w+\}/g, '*');
      const tooLong = path.includes('=**') ? '' : path.endsWith('}') ? `${pattern}/*` : '';
      const tooDeep = path.includes('{item}')
        ? path.replace(/\{\w+\}/g, '*').replace('/items/', '/*/items/')
        : '';
      const unless = [tooLong, tooDeep].filter((p) => p !== '').map((p) => ` && !(context.path like "${p}")`);
      return `permit(principal == Caller::"${from}", action == Action::"${method}", resource == Workload::"${SERVER}") when { context.port == ${PORT} && context.path like "${pattern}"${unless.join('')} };`;
    })
    .join('\n');
  const parsed = preparsePolicySet('bench', { staticPolicies: policies });
  if (parsed.type === 'failure') throw new Error(parsed.errors[0]?.message);
  return ({ from, to, action }) => {
    if (action.kind !== 'http' || from.kind !== 'workload') return false;
    const answer = statefulIsAuthorized({
      principal: { type: 'Caller', id: from.id },
      action: { type: 'Action', id: action.method },
      resource: { type: 'Workload', id: to },
      context: { port: action.port, path: action.path },
      preparsedPolicySetId: 'bench',
      entities: [],
    });
    if (answer.type === 'failure') throw new Error(answer.errors[0]?.message);
    return answer.response.decision === 'allow';
  };
}

/**
 * Casbin: one line a rule, exact comparisons before keyMatch2 so that its && ends early, verdict with the first
 * match, its synchronous call without its log.
 */
async function casbinFor(flat: readonly FlatRule[]): Promise<Judge> {
  const model = newModelFromString(`
[request_definition]
r = sub, obj, port, act, path
[policy_definition]
p = sub, obj, port, act, path
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = r.sub == p.sub && r.act == p.act && r.port == p.port && r.obj == p.obj && keyMatch2(r.path, p.path)
`);
  const enforcer: Enforcer = await newEnforcer(model);
  const lines = flat.map(({ from, method, path }) => {
    const pattern = path.replace('{path=**}', '*').replace(/\{(\w+)\}/g, ':$1');
    return [from, SERVER, String(PORT), method, pattern];
  });
  await enforcer.addPolicies(lines);
  return ({ from, to, action }) => {
    if (action.kind !== 'http' || from.kind !== 'workload') return false;
    return enforcer.enforceSync(from.id, to, String(action.port), action.method, action.path);
  };
}

function millions(perSecond: number): string {
  return (perSecond / 1e6).toFixed(2);
}

if (import.meta.main) await bench(console.log);
