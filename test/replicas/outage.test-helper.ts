import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathOf, ROUTE_NAMES, type RouteName, ROUTES } from '../../src/api/index.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import { idOf, interlock, Program, type RunningProxy, startProxy } from '../enforcement/processes.ts';
import { eventually, policyOf, RULES, type Service, USERS } from '../enforcement/shop.ts';
import { type Opened, tokenOf } from '../identity/harness.ts';
import { newKeyFile } from './planes.test-helper.ts';
import { type Answered, UpPlane } from './up-plane.test-helper.ts';

const ITEMS = '{ http: { methods: [GET], paths: [/items] } }';

/** Who stands in which stage when the database goes, and which control plane its proxy is connected to. */
export const STAGED = {
  catalogue: { stage: 'shadow', at: 0 },
  cart: { stage: 'canary', at: 1 },
  store: { stage: 'enforced', at: 0 },
  /** In the middle of a move to canary. */
  payment: { stage: 'shadow', at: 1 },
} as const;
export type Staged = keyof typeof STAGED;
const NAMES = Object.keys(STAGED) as Staged[]; // Its keys are these.

interface Point {
  readonly key: string;
  readonly connected: boolean;
  readonly applied: number;
  readonly wanted: number;
  readonly since: number;
}

/** Two control planes of one database, an agent, and four workloads with traffic through real proxies. */
export class OutageEstate {
  readonly planes: readonly [UpPlane, UpPlane];
  readonly web: Program;
  readonly caller: RunningProxy;
  readonly proxies: readonly RunningProxy[];

  private constructor(
    planes: readonly [UpPlane, UpPlane],
    web: Program,
    caller: RunningProxy,
    proxies: readonly RunningProxy[],
  ) {
    this.planes = planes;
    this.web = web;
    this.caller = caller;
    this.proxies = proxies;
  }

  static async start(opened: Opened, url: string): Promise<OutageEstate> {
    const dir = opened.dir();
    const gates = join(dir, 'gates.yaml');
    // No canary moves by itself here.
    writeFileSync(gates, 'canary: { steps: [100%], leastTime: 24h, leastRequests: 1000000 }\n');
    const args = ['--database', url, '--key-file', newKeyFile(), '--trust-domain', 'example.org'];
    const plane = () => new UpPlane(opened, ...args, '--gates', gates);
    const planes = [plane(), plane()] as const;
    await Promise.all(planes.map((each) => each.start()));
    const [{ api }] = planes;
    await api.post('/v1/rules', { rules: readIdentityRules(RULES) });
    const addresses = planes.map(({ port }) => `127.0.0.1:${port}`);
    const socket = join(dir, 'agent.sock');
    const token = await tokenOf(api, 'node-1');
    const own = ['--state', join(dir, 'agent'), '--socket', socket, '--join-token', token];
    const agent = interlock(opened, 'agent', '--server', addresses.join(), ...own);
    await agent.log.line('connected to the control plane');
    const endpoint = `unix://${socket}`;
    const backend = await Program.start(opened, USERS.catalogue, 'http');
    const order = (name: Service, at: number) => ({
      name,
      uid: USERS[name],
      endpoint,
      address: addresses[at] ?? '',
    });
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${backend.port}`, port: 8080 }];
    const proxies = await Promise.all(
      NAMES.map((name) => startProxy(opened, { ...order(name, STAGED[name].at), inbound })),
    );
    const outbound = NAMES.map((name, i) => ({
      listen: '127.0.0.1:0',
      to: `127.0.0.1:${proxies[i]?.inbound[0]}`,
      peer: idOf(name),
    }));
    const caller = await startProxy(opened, { ...order('web', 1), outbound });
    const { program } = await Program.start(opened, USERS.web, 'none');
    const estate = new OutageEstate(planes, program, caller, proxies);
    await estate.#stage();
    return estate;
  }

  /** Brings each workload into its stage, with traffic. */
  async #stage(): Promise<void> {
    const [{ api }] = this.planes;
    const yaml = NAMES.map((name) => policyOf(name, { web: { from: ['web'], to: ITEMS } })).join('---');
    await api.post('/v1/policies', { yaml });
    for (const name of NAMES)
      for (const to of ['shadow', 'canary', 'enforced'] as const) {
        const share = to === 'canary' ? { share: 1 } : {};
        const path = pathOf('rollouts.move', { workload: idOf(name) });
        await api.post(path, { to, anyway: 'a test', ...share });
        if (to === STAGED[name].stage) break;
      }
    const load = NAMES.map((name) => ({
      name,
      port: this.#portOf(name),
      method: 'GET',
      path: '/items',
      every: 50,
    }));
    this.web.tell({ load });
    await eventually(async () => {
      const counts = await this.web.counts();
      return NAMES.every((name) => (counts[name]?.ok ?? 0) > 0);
    }, 'calls to all of them');
    await this.settled();
  }

  #portOf(name: Staged): number {
    return this.caller.outbound[NAMES.indexOf(name)] ?? 0;
  }

  /** Calls a workload once: the status. */
  async call(name: Staged, path = '/closed'): Promise<number> {
    return (await fetch(`http://127.0.0.1:${this.#portOf(name)}${path}`)).status;
  }

  async pointsAt({ api }: UpPlane): Promise<Point[]> {
    return (await api.get<{ points: Point[] }>('/v1/points')).points;
  }

  /** Every proxy is connected, has the newest state, and both control planes know it. */
  async settled(): Promise<void> {
    for (const plane of this.planes)
      await eventually(
        async () => {
          const points = await this.pointsAt(plane);
          const isThere = ({ connected, applied, wanted }: Point) => connected && applied >= wanted;
          return points.length === NAMES.length + 1 && points.every(isThere);
        },
        'all proxies have the newest state',
        () => this.pointsAt(plane),
      );
  }

  async stageAt({ api }: UpPlane, name: Staged): Promise<string> {
    const path = pathOf('rollouts.get', { workload: idOf(name) });
    return (await api.get<{ stage: string }>(path)).stage;
  }

  /** How often an act stands in the audit log. */
  async audited({ api }: UpPlane, act: string, name?: Staged): Promise<number> {
    const { entries } = await api.call('audit.list', { query: { limit: 10_000, act } });
    return entries.filter(({ what }) => name === undefined || what === idOf(name)).length;
  }

  async lastEntry({ api }: UpPlane): Promise<number> {
    const { entries } = await api.call('audit.list', { query: { limit: 1, order: 'newest' } });
    return entries[0]?.seq ?? 0;
  }

  /** What people have done behind an entry of the audit log. */
  async actsSince({ api }: UpPlane, after: number): Promise<string[]> {
    const { entries } = await api.call('audit.list', { query: { limit: 10_000, after } });
    return entries.filter(({ who }) => who.startsWith('local:')).map(({ act }) => act);
  }

  /** Calls that went well, as a control plane has counted them. */
  async countedAt({ api }: UpPlane, name: Staged): Promise<number> {
    const { accesses } = await api.call('accesses.list', { query: { to: idOf(name), limit: 10_000 } });
    return accesses
      .filter(({ action }) => action.kind === 'http' && action.path === '/items')
      .reduce((sum, { outcomes }) => sum + outcomes.ok, 0);
  }
}

/** Every route that only reads and answers one document, by its path. */
export const READS: readonly string[] = ROUTE_NAMES.filter(
  (name) => ROUTES[name].method === 'GET' && name !== 'events.stream',
).map(pathTo);

function pathTo(name: RouteName): string {
  const params = [...ROUTES[name].path.matchAll(/:(\w+)/g)].map(([, param = '']) => [
    param,
    param === 'workload' ? idOf('store') : 'none',
  ]);
  return pathOf(name, Object.fromEntries(params) as Record<string, string>); // Of texts.
}

const workload = idOf('catalogue');
/** Changes, each of which would be made if somebody kept it. */
export const CHANGES: readonly (readonly [method: string, path: string, body?: object])[] = [
  ['POST', '/v1/policies', { yaml: policyOf('mail', { web: { from: ['web'], to: ITEMS } }) }],
  ['POST', pathOf('rollouts.move', { workload }), { to: 'enforced', anyway: 'a test' }],
  ['PUT', pathOf('rollouts.hold', { workload }), { why: 'a test' }],
  ['POST', '/v1/join-tokens', { agent: 'never', ttlMs: 600_000 }],
  ['POST', '/v1/revocations', { spiffeId: idOf('nightly'), reason: 'keyCompromise' }],
  ['POST', pathOf('reviews.ask', { workload }), { text: 'who are you?' }],
  ['POST', '/v1/authorities/prepare', {}],
  ['POST', '/v1/sign-in-links', {}],
];

/** Whether an answer is one that a caller can go on by: with its code, and when to come back. */
export function isHonest({ status, body, retryAfter }: Answered): boolean {
  if (status === 503) return body['code'] === 'unavailable' && (retryAfter ?? 0) > 0;
  return status === 200 || ((status === 404 || status === 400) && typeof body['code'] === 'string');
}
