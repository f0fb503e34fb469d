import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pathOf } from '../../src/api/index.ts';
import { PathApi } from '../path-api.ts';
import { readIdentityRules } from '../../src/identity/index.ts';
import { initialise, realTimers } from '../../src/server/index.ts';
import { DOMAIN, Node, Opened, tokenOf } from '../identity/harness.ts';
import { controlPlane, type Running } from '../identity/processes.ts';
import { idOf, Program, type RunningProxy, startProxy } from './processes.ts';
import { eventually, noShop, policyOf, RULES, USERS } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('a control plane that is killed at each stage change');

const ITEMS = '{ http: { methods: [GET], paths: [/items] } }';
const FIRST = policyOf('catalogue', { web: { from: ['web'], to: ITEMS } });
const workload = idOf('catalogue');

interface Point {
  readonly connected: boolean;
  readonly applied: number;
  readonly wanted: number;
}
/** What is in force, as the control plane says it. */
interface Facts {
  readonly stage: string;
  readonly authentication: string;
  readonly target: number;
  readonly isEnforced: boolean;
  readonly releases: number;
}

describe.skipIf(alone !== undefined)('a control plane that is killed at each change of a stage', () => {
  let api: PathApi;
  let server: Running & { readonly address: string; readonly port: number };
  let state: string;
  let web: Program;
  let catalogue: RunningProxy;
  let caller: RunningProxy;

  async function facts(): Promise<Facts> {
    const { rollouts } = await api.get<{
      rollouts: { stage: string; authentication: string; target: string[]; enforced?: string[] }[];
    }>('/v1/rollouts');
    const { releases } = await api.get<{ releases: object[] }>('/v1/releases');
    const { stage = 'none', authentication = 'permissive', target = [], enforced } = rollouts[0] ?? {};
    return {
      stage,
      authentication,
      target: target.length,
      isEnforced: enforced !== undefined || stage === 'enforced' || stage === 'canary',
      releases: releases.length,
    };
  }

  async function restart(): Promise<void> {
    await server.kill();
    server = await controlPlane(opened, state, server.port);
  }

  /** Every proxy has what the control plane wants. */
  const settled = () =>
    eventually(
      async () => {
        const { points } = await api.get<{ points: Point[] }>('/v1/points');
        return (
          points.length === 2 && points.every((point) => point.connected && point.applied >= point.wanted)
        );
      },
      'both proxies have the newest state',
      () => api.get('/v1/points'),
    );

  const ask = async (path: string) => (await fetch(`http://127.0.0.1:${caller.outbound[0]}${path}`)).status;

  /** What the proxy does is what the control plane says; it never fails whom the rules allow. */
  async function agrees(now: Facts): Promise<void> {
    await settled();
    // What was let through once is known to be good, and a canary that refuses it falls back: so never the same path.
    const isOpen = !now.isEnforced || now.releases > 0;
    expect(await ask(isOpen ? '/open' : '/closed')).toBe(isOpen ? 200 : 403);
    expect(await web.counts()).toMatchObject({ items: { failed: 0 } });
    expect(await api.get('/v1/audit/verify')).toEqual({ isWhole: true });
  }

  beforeAll(async () => {
    state = join(opened.dir(), 'plane');
    await initialise(state, DOMAIN, 'uid:0', realTimers);
    server = await controlPlane(opened, state);
    api = new PathApi(state);
    await api.post('/v1/rules', { rules: readIdentityRules(RULES) });
    const { address } = server;
    const node = await Node.online(opened, { address, token: await tokenOf(api, 'node-1') });
    const { endpoint } = node;
    const { port } = await Program.start(opened, USERS.catalogue, 'http');
    const inbound = [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, port: 8080 }];
    const uid = USERS.catalogue;
    catalogue = await startProxy(opened, { name: 'catalogue', uid, endpoint, address, inbound });
    const to = `127.0.0.1:${catalogue.inbound[0]}`;
    const outbound = [{ listen: '127.0.0.1:0', to, peer: workload }];
    caller = await startProxy(opened, { name: 'web', uid: USERS.web, endpoint, address, outbound });
    web = (await Program.start(opened, USERS.web, 'none')).program;
    web.tell({ load: [{ name: 'items', port: caller.outbound[0] ?? 0, method: 'GET', path: '/items' }] });
    await eventually(async () => ((await web.counts())['items']?.ok ?? 0) > 0, 'a call');
  });

  const move = (to: string, share?: number) => ({
    path: pathOf('rollouts.move', { workload }),
    body: { to, anyway: 'a test', ...(share === undefined ? {} : { share }) },
  });
  const CHANGES: readonly {
    readonly what: string;
    /** POST where absent. */
    readonly method?: 'put';
    readonly path: string;
    readonly body: object;
    readonly after: Partial<Facts>;
  }[] = [
    {
      what: 'a new policy',
      path: '/v1/policies',
      body: { yaml: FIRST },
      after: { stage: 'draft', target: 1 },
    },
    { what: 'shadow', ...move('shadow'), after: { stage: 'shadow', isEnforced: false } },
    { what: 'a canary', ...move('canary', 1), after: { stage: 'canary', isEnforced: true } },
    { what: 'enforced', ...move('enforced'), after: { stage: 'enforced', isEnforced: true } },
    {
      what: 'strict',
      method: 'put',
      path: pathOf('rollouts.authenticate', { workload }),
      body: { stage: 'strict' },
      after: { authentication: 'strict' },
    },
    {
      what: 'a release',
      path: '/v1/releases',
      body: { scope: { kind: 'all' }, reason: 'a try' },
      after: { releases: 1 },
    },
    { what: 'arm', path: '/v1/releases/arm', body: {}, after: { releases: 0, isEnforced: true } },
    { what: 'back in shadow', ...move('shadow'), after: { stage: 'shadow', isEnforced: false } },
  ];

  const send = ({ method, path, body }: Pick<(typeof CHANGES)[number], 'method' | 'path' | 'body'>) =>
    method === 'put' ? api.put(path, body) : api.post(path, body);
  const isDone = (now: Facts, after: Partial<Facts>) =>
    Object.entries(after).every(([field, value]) => Reflect.get(now, field) === value);

  test.each(CHANGES.map((change, i) => ({ ...change, next: CHANGES[i + 1] })))(
    '$what: kept once it was answered; the next one, on its way, whole or not at all',
    async ({ after, next, ...change }) => {
      // The one before may have been killed after this one was kept.
      if (!isDone(await facts(), after)) await send(change);
      const done = await facts();
      expect(done).toMatchObject(after);
      const onItsWay = next && send(next).catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
      await restart();
      await onItsWay;
      const now = await facts();
      expect([done, { ...done, ...next?.after }]).toContainEqual(now);
      // Where what is denied may be another thing now, the proxies are asked as well.
      if ('isEnforced' in after || 'releases' in after) await agrees(now);
    },
  );

  test('and whoever the rules allow has not noticed', async () => {
    const { items } = await web.rest();
    expect(items).toMatchObject({ failed: 0, reasons: [] });
    console.log(
      `${items?.ok} requests while the control plane was killed again and again, none of which has failed.`,
    );
    for (const { log } of [catalogue, caller])
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
