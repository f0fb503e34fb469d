import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SETTLE_MS } from '../../src/identity/index.ts';
import { isInShare } from '../../src/rollout/index.ts';
import { realTimers } from '../../src/server/index.ts';
import { Opened } from '../identity/harness.ts';
import { idOf } from './processes.ts';
import { Estate, eventually, noShop, type Service, type Shop, startShop } from './shop.ts';

const opened = new Opened();
afterAll(() => opened.close());
const alone = noShop('the stages of enforcement under load');

const PROTECTED = ['catalogue', 'cart', 'store', 'payment'] as const;

/** Two names of proxies of the cart: half of them is the first one alone. */
const names = Array.from({ length: 100 }, (_, i) => `cart-${i}`);
const inHalf = (instance: string) => isInShare({ workload: idOf('cart'), instance }, 0.5);
const INSIDE = names.find(inHalf) ?? '';
const OUTSIDE = names.find((name) => !inHalf(name)) ?? '';

/** How many rules the policy of each service comes to: one for each caller and path. */
const RULES_OF = [
  ['catalogue', 3],
  ['cart', 2],
  ['store', 1],
  ['payment', 1],
] as const;
/** Nobody asks for it while the policies are learned. */
const FORBIDDEN = '/admin';

interface Rollout {
  readonly workload: string;
  readonly stage: string;
  readonly share: number;
}

describe.skipIf(alone !== undefined)('five services and a nightly job under load', () => {
  let estate: Estate;
  let shop: Shop;
  /** How many calls were through when the last step was done. */
  let before = 0;

  /** What web is answered where it asks for what no rule allows. */
  async function forbidden(): Promise<number> {
    const port = shop.proxies.get('web')?.outbound[0] ?? 0;
    return (await fetch(`http://127.0.0.1:${port}${FORBIDDEN}`)).status;
  }

  /** Waits until every caller has had answers since the last step, and sees to it that none has failed. */
  async function goesOn(): Promise<void> {
    const start = await shop.counts();
    const counts = await eventually(async () => {
      const now = await shop.counts();
      const isMore = [...now].every(
        ([name, { ok, failed }]) => ok > (start.get(name)?.ok ?? 0) + 2 || failed > 0,
      );
      return isMore && now;
    }, 'calls of everybody');
    expect([...counts].filter(([, { failed }]) => failed > 0)).toEqual([]);
    const calls = [...counts.values()].reduce((sum, { ok }) => sum + ok, 0);
    expect(calls).toBeGreaterThan(before);
    before = calls;
  }

  const rollouts = async () => (await estate.plane.api.get<{ rollouts: Rollout[] }>('/v1/rollouts')).rollouts;
  const stageOf = async (service: Service) =>
    (await rollouts()).find(({ workload }) => workload === idOf(service))?.stage;
  const promote = (service: Service, to: string, ...more: string[]) =>
    estate.run(0, 'promote', idOf(service), '--to', to, ...more, '--anyway', 'a test');
  /** The state in force, as the proxy itself says it. */
  const everyone = async () => {
    const { points } = await estate.plane.api.get<{
      points: { connected: boolean; applied: number; wanted: number }[];
    }>('/v1/points');
    return points.every(({ connected, applied, wanted }) => connected && applied >= wanted) && points.length;
  };

  beforeAll(async () => {
    // Started long enough ago for a rotation: agents had their time to come back.
    let behind = SETTLE_MS;
    const timers = { ...realTimers, now: () => Date.now() - behind };
    const canary = { steps: [0.5, 1], stepMs: 300, requests: 20 };
    estate = await Estate.start(opened, { timers, canary });
    behind = 0;
    shop = await startShop(estate, { cartInstances: [INSIDE, OUTSIDE] });
    await goesOn();
  });

  test('is learned: policies are proposed from what the proxies reported, and break nothing of it', async () => {
    const policies = join(opened.dir(), 'policies');
    // Everything has been called more than once; the proxies report it within a second.
    const proposed = await eventually(
      async () => {
        const out = await estate.run(0, 'propose', '--out', policies);
        return (
          RULES_OF.every(([service, rules]) => new RegExp(`shop/${service} +\\w+ +${rules} `).test(out)) &&
          out
        );
      },
      'proposals for all that is called',
      () => estate.run(0, 'propose'),
    );
    expect(proposed).toContain('Wrote 4 policies');
    expect(proposed).not.toContain('DOUBTS');
    await estate.run(0, 'rehearse', policies);
    const applied = await estate.run(0, 'policy', 'apply', policies);
    expect(applied).toContain('4 workloads with a new target');
    await goesOn();
  });

  test('goes to shadow: everything is judged by the target, and nothing would be denied', async () => {
    for (const service of PROTECTED) await promote(service, 'shadow');
    await goesOn();
    const enforcing = estate.plane.serving.enforcing;
    const since = Date.now();
    await eventually(
      () =>
        PROTECTED.every((service) =>
          [...enforcing.points.of(idOf(service))].some(
            ({ key }) => enforcing.evidence.seen(key, idOf(service), since).requests > 5,
          ),
        ),
      'reports of requests that were judged in shadow',
    );
    expect(await estate.flips()).toEqual([]);
  });

  test('goes to a canary, which widens by itself until it is enforced', async () => {
    await promote('cart', 'canary', '--share', '50%');
    const shares: string[] = [];
    await eventually(async () => {
      const cart = (await rollouts()).find(({ workload }) => workload === idOf('cart'));
      const seen = `${cart?.stage} ${cart?.share}`;
      if (shares.at(-1) !== seen) shares.push(seen);
      return cart?.stage === 'enforced';
    }, 'the end of the canary');
    expect(shares).toEqual(['canary 0.5', 'canary 1', 'enforced 1']);
    await goesOn();
    expect(await estate.flips()).toEqual([]);
  });

  test('is enforced', async () => {
    const others = PROTECTED.filter((name) => name !== 'cart');
    for (const service of others) await promote(service, 'canary', '--share', '100%');
    for (const service of others)
      await eventually(async () => (await stageOf(service)) === 'enforced', `${service} is enforced`);
    await goesOn();
    expect(await estate.flips()).toEqual([]);
  });

  test('refuses plain text from now on', async () => {
    for (const service of PROTECTED) await estate.run(0, 'authentication', idOf(service), 'strict');
    await expect(goesOn()).resolves.toBeUndefined();
  });

  test('is released and armed again: only then what no rule allows is let through', async () => {
    expect(await forbidden()).toBe(403);
    const released = await estate.run(0, 'release', '--all', '--reason', 'a try');
    expect(released).toMatch(/8 of 8 proxies confirmed, the last after \d+ ms\./);
    expect(await forbidden()).toBe(200);
    await goesOn();
    await estate.run(0, 'arm', '--all');
    expect(await forbidden()).toBe(403);
    await goesOn();
  });

  test('goes through a rotation of the authority, and its taint, to the end of the old one', async () => {
    interface Shown {
      readonly id: string;
      readonly state: string;
      readonly live: Readonly<Record<string, number>>;
    }
    const { api } = estate.plane;
    const authorities = async () => (await api.get<{ authorities: Shown[] }>('/v1/authorities')).authorities;
    const [old] = await authorities();
    const next = await api.post<Shown>('/v1/authorities/rotate', { name: 'default' });
    await eventually(
      async () => (await authorities()).some(({ id, state }) => id === next.id && state === 'active'),
      'the next authority signs',
      authorities,
    );
    await goesOn();
    await api.post(`/v1/authorities/${old?.id}/taint`, { overMs: 0 });
    await eventually(
      async () =>
        Object.keys((await authorities()).find(({ id }) => id === old?.id)?.live ?? {}).length === 0,
      'nothing of the old authority is left',
      authorities,
    );
    await goesOn();
    await api.post(`/v1/authorities/${old?.id}/revoke`);
    await eventually(everyone, 'every proxy is connected');
    await expect(goesOn()).resolves.toBeUndefined();
  });

  test('goes on while the control plane is away, and when it comes back', async () => {
    await estate.plane.stop();
    await goesOn();
    await estate.plane.start();
    await eventually(async () => (await everyone()) === 8, 'every proxy is back');
    for (const service of PROTECTED) expect(await stageOf(service)).toBe('enforced');
    await goesOn();
  });

  test('and not one request of anybody has failed', async () => {
    const counts = await shop.rest();
    expect([...counts.values()].reduce((sum, { failed }) => sum + failed, 0)).toBe(0);
    const calls = [...counts.values()].reduce((sum, { ok }) => sum + ok, 0);
    console.log(`${calls} requests over 8 ways, none of which has failed.`);
    expect(counts.size).toBe(8);
    expect((await estate.flips()).filter(({ action }) => action.path !== FORBIDDEN)).toEqual([]);
    expect(await estate.plane.api.get('/v1/audit/verify')).toEqual({ isWhole: true });
    for (const { log } of shop.proxies.values())
      expect(log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });
});
