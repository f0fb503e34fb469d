import { afterEach, describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import type { CanaryPlan } from '../../rollout/index.ts';
import type { BoardReader, Json } from '../../store/index.ts';
import type { Actor } from '../identity/recorder.ts';
import { EnforcementPlane } from './enforcement.test-helper.ts';
import { accessAt, cart, flipAt, reportOf, web } from './evidence/evidence.test-helper.ts';
import { lastDrillOf, preflightFacts } from './preflight-facts.ts';

const WHO: Actor = 'uid:0';
const PLAN: CanaryPlan = { steps: [0.5, 1], stepMs: 10_000, requests: 1 };

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const rule = (path: string, from: SpiffeId = web) =>
  `{ name: r${path.length}, from: [ { workload: ${from} } ], to: [ { http: { methods: [GET], paths: [${path}] } } ] }`;
const document = (allowed: readonly string[], denied: readonly string[] = []) => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: own }
spec:
  protects: { workload: ${cart} }
  tier: experimental
  rules: [ ${allowed.map((path) => rule(path)).join(', ')} ]
  deny: [ ${denied.map((path) => rule(path)).join(', ')} ]
`;
const action = (path: string) => ({ kind: 'http', port: 80, name: 'GET', text: path }) as const;

/** A control plane with one proxy of the cart, whose reports a test writes. */
async function open(options: Parameters<typeof EnforcementPlane.make>[0] = {}) {
  const plane = await EnforcementPlane.make({ canary: PLAN, ...options });
  undo.push(() => plane.remove());
  const { enforcing, timers } = plane;
  const { rollouts, evidence, hub } = enforcing;
  const link = { push: () => {} };
  const made = { kind: 'proxy', identity: cart, instance: 'a', workloads: [cart], version: 'test' } as const;
  const point = hub.attach(made, 0, link);
  const confirm = () => hub.confirm(point.key, hub.version, link);
  const leave = () => hub.detach(point, link);
  confirm();
  let sequence = 0;
  const told = async (over: Parameters<typeof reportOf>[1]) =>
    evidence.take(point, reportOf(++sequence, over));
  /** One call of the web, as the proxy tells of it. */
  const called = (path: string, outcome: 'ok' | 'error' = 'ok') =>
    told({ accesses: [accessAt(timers.now(), { action: action(path), ok: 0n, [outcome]: 1n })] });
  /** One call that the canary has refused. */
  const refused = (path: string, decidedBy: 'no-rule' | 'deny' = 'no-rule') => {
    const verdict = {
      allowed: false,
      decidedBy,
      ...(decidedBy === 'deny' ? { policy: 'own', rule: 'r' } : {}),
    };
    const { targetVersion = 0 } = rollouts.get(cart);
    return told({
      flips: [
        flipAt(timers.now(), {
          action: action(path),
          before: verdict,
          after: verdict,
          refused: true,
          targetVersion: BigInt(targetVersion),
        }),
      ],
    });
  };
  const apply = (...policy: Parameters<typeof document>) =>
    rollouts.apply(WHO, readPolicies(document(...policy)));
  const canary = async (share = 1) => {
    if (rollouts.get(cart).stage === 'draft') await rollouts.move(WHO, cart, 'shadow');
    await rollouts.move(WHO, cart, 'canary', { share });
    confirm();
  };
  const stage = async () => {
    await timers.advance(0);
    await rollouts.remove(WHO, cart, 'none').catch(() => {});
    return rollouts.get(cart).stage;
  };
  return {
    plane,
    ...plane.enforcing,
    enforcing,
    timers,
    told,
    called,
    refused,
    apply,
    canary,
    confirm,
    leave,
    stage,
  };
}

test('a drill is not passed while a control plane is silent, whatever its proxies do', async () => {
  const told = Promise.withResolvers<BoardReader>();
  const board = {
    replica: 'A',
    say: () => {},
    follow: async (reader: BoardReader) => told.resolve(reader),
    close: async () => {},
  };
  const { enforcing, timers, confirm } = await open({ board });
  const reader = await told.promise;
  const [here] = enforcing.own.all;
  const key = `${cart}#b`;
  const data = { ...here, key, instance: 'b' } as unknown as Json;
  reader.said('B', [{ kind: 'point', name: key, data }], true);
  reader.left('B', 'silent');
  const seen = { isOver: false };
  const drill = enforcing.drill(WHO, 1000).finally(() => (seen.isOver = true));
  confirm();
  while (!seen.isOver) await timers.advance(250);
  expect((await drill).confirmed).toMatchObject([{ point: { instance: 'a' } }]);
  expect(enforcing.releases.drills).toMatchObject([{ points: 2, confirmed: 1 }]);
  expect(lastDrillOf(enforcing)).toBeUndefined();
});

test('a proxy that has been away for a day is forgotten by the checks', async () => {
  const { plane, enforcing, timers, leave } = await open();
  leave();
  const proxies = () =>
    preflightFacts(enforcing, plane.test.plane, timers, cart, {
      svids: { live: 1, stale: 0 },
      tier: 'standard',
      rejected: new Map(),
    }).proxies;
  const now = timers.now();
  expect(proxies()).toMatchObject([{ connected: false }]);
  timers.now = () => now + 86_400_000;
  expect(proxies()).toEqual([]);
});

describe('a canary is taken back', () => {
  test('by the refusal of a call that went well before, and not by that of one that a scanner was answered with 404', async () => {
    const { apply, called, refused, canary, stage, timers } = await open();
    await apply(['/a']);
    await called('/admin', 'error');
    await called('/real');
    await canary();
    await timers.advance(1);
    await refused('/admin');
    expect(await stage()).toBe('canary');
    await refused('/real');
    expect(await stage()).toBe('shadow');
  });

  test('by the refusal of what a rule in force allows, though nobody has called it yet', async () => {
    const { apply, refused, canary, stage, rollouts } = await open();
    await apply(['/a', '/monthly']);
    await canary();
    await rollouts.move(WHO, cart, 'enforced');
    await apply(['/a']);
    await canary();
    await refused('/other');
    expect(await stage()).toBe('canary');
    await refused('/monthly');
    expect(await stage()).toBe('shadow');
  });

  test('not by what a deny rule of the target denies: somebody has decided so', async () => {
    const { apply, called, refused, canary, stage } = await open();
    await apply(['/a'], ['/admin']);
    await called('/admin');
    await canary();
    await refused('/admin', 'deny');
    expect(await stage()).toBe('canary');
    await refused('/admin');
    expect(await stage()).toBe('shadow');
  });
});

test('a flip that is denied on purpose is shown, and no check waits for its decision', async () => {
  const { plane, apply, told, timers, evidence, enforcing, rollouts } = await open();
  await apply(['/a'], ['/admin']);
  await rollouts.move(WHO, cart, 'shadow');
  const denied = { allowed: false, policy: 'own', rule: 'r6' };
  const targetVersion = BigInt(rollouts.get(cart).targetVersion ?? 0);
  const flip = (path: string, after: object) =>
    flipAt(timers.now(), { action: action(path), after, targetVersion });
  await told({
    flips: [
      flip('/admin', { ...denied, decidedBy: 'deny' }),
      flip('/b', { allowed: false, decidedBy: 'no-rule' }),
    ],
  });
  expect(evidence.flips({ to: cart })).toHaveLength(2);
  const facts = { svids: { live: 1, stale: 0 }, tier: 'experimental', rejected: new Map() } as const;
  const { wouldDeny } = preflightFacts(enforcing, plane.test.plane, timers, cart, facts);
  expect(wouldDeny).toEqual([{ what: `${web} GET /b :80`, count: 1 }]);
});

describe('a canary', () => {
  /** A clock that is set while timers go on. */
  const settable = ({ timers }: Awaited<ReturnType<typeof open>>) => {
    const real = timers.now.bind(timers);
    let offset = 0;
    timers.now = () => real() + offset;
    return (ms: number) => (offset += ms);
  };

  test('takes no step because a clock is set forward, and goes on where it is set back', async () => {
    const opened = await open();
    const { apply, called, canary, stage, timers, canaries, rollouts } = opened;
    const set = settable(opened);
    await apply(['/a']);
    await canary();
    await called('/a');
    set(3_600_000);
    await timers.advance(2000);
    await called('/a');
    expect(canaries.next(rollouts.get(cart))).toMatchObject({
      kind: 'wait',
      why: expect.stringContaining('left'),
    });
    set(-7_200_000);
    await timers.advance(2000);
    await called('/a');
    expect(await stage()).toBe('canary');
    await timers.advance(12_000);
    expect(await stage()).toBe('enforced');
  });

  test('falls back for a refusal that comes after the clock was set back', async () => {
    const opened = await open();
    const { apply, called, refused, canary, stage, timers } = opened;
    const set = settable(opened);
    await apply(['/a']);
    await called('/real');
    await canary();
    set(-3_600_000);
    await timers.advance(1000);
    await refused('/real');
    expect(await stage()).toBe('shadow');
  });

  test('that is held does not widen, falls back all the same, and is held from then on', async () => {
    const { apply, called, refused, canary, stage, timers, rollouts, canaries } = await open();
    await apply(['/a']);
    await called('/real');
    await canary();
    await rollouts.hold(WHO, cart, 'a sale');
    await called('/a');
    await timers.advance(20_000);
    expect(canaries.next(rollouts.get(cart))).toEqual({ kind: 'wait', why: `held by ${WHO}: a sale` });
    await refused('/real');
    expect(await stage()).toBe('shadow');
    expect(rollouts.get(cart).held).toMatchObject({ by: 'system', why: expect.stringContaining('/real') });
  });

  test('is not widened by a replica that does not lead, which takes it back all the same', async () => {
    const { apply, called, refused, canary, stage, timers } = await open({ isLeader: () => false });
    await apply(['/a']);
    await called('/real');
    await canary();
    await called('/a');
    await timers.advance(20_000);
    expect(await stage()).toBe('canary');
    await refused('/real');
    expect(await stage()).toBe('shadow');
  });
});

describe('a canary widens', () => {
  /** In half of the proxies of the cart is "a", and this one is not. */
  const beside = ({ hub }: Awaited<ReturnType<typeof open>>) =>
    hub.attach({ kind: 'proxy', identity: cart, instance: 'b', workloads: [cart], version: 'test' }, 0, {
      push: () => {},
    });

  test('not because the proxies of its share have left, which may be its own fault: not before they had time to come back', async () => {
    const opened = await open();
    const { apply, canary, stage, timers, leave, rollouts } = opened;
    await apply(['/a']);
    beside(opened);
    await canary(0.5);
    await timers.advance(2000);
    leave();
    await timers.advance(PLAN.stepMs - 1000);
    expect([await stage(), rollouts.get(cart).share]).toEqual(['canary', 0.5]);
    await timers.advance(2000);
    expect([await stage(), rollouts.get(cart).share]).toEqual(['canary', 1]);
  });

  test('not after a restart because the proxies of its share are not back yet', async () => {
    const opened = await open();
    const { plane, apply, canary, timers } = opened;
    await apply(['/a']);
    beside(opened);
    await canary(0.5);
    await plane.stop();
    await timers.advance(1000);
    await plane.start();
    const { rollouts, hub, canaries } = plane.enforcing;
    beside({ ...opened, hub });
    await timers.advance(1000);
    expect(canaries.next(rollouts.get(cart))).toMatchObject({ kind: 'wait' });
  });

  test('and is taken back for what was refused while that was being written', async () => {
    const { plane, apply, called, refused, canary, stage, timers, rollouts } = await open();
    await apply(['/a']);
    await called('/real');
    await canary(0.5);
    await timers.advance(1000);
    await called('/a');
    const { store } = plane.test.plane;
    const commit = store.commit.bind(store);
    const asked = Promise.withResolvers<void>();
    const answered = Promise.withResolvers<void>();
    store.commit = async (...order) => {
      asked.resolve();
      await answered.promise;
      return commit(...order);
    };
    await timers.advance(PLAN.stepMs);
    await asked.promise;
    store.commit = commit;
    await refused('/real');
    answered.resolve();
    expect([await stage(), rollouts.get(cart).share]).toEqual(['canary', 1]);
    await timers.advance(1000);
    expect(await stage()).toBe('shadow');
  });

  test('not while a release concerns its workload, and what was judged meanwhile proves nothing', async () => {
    const { apply, called, canary, stage, timers, releases, canaries, rollouts, confirm } = await open();
    await apply(['/a']);
    await canary();
    const release = releases.press(WHO, { scope: { kind: 'workload', workload: cart }, reason: 'a try' });
    confirm();
    await timers.advance(1000);
    await called('/a');
    await timers.advance(20_000);
    expect(canaries.next(rollouts.get(cart))).toEqual({ kind: 'wait', why: `released: ${release.id}` });
    expect(await stage()).toBe('canary');
    releases.arm(WHO, release.id);
    confirm();
    await timers.advance(1000);
    expect(canaries.next(rollouts.get(cart))).toMatchObject({ kind: 'wait' });
    await timers.advance(10_000);
    expect(canaries.next(rollouts.get(cart))).toEqual({
      kind: 'wait',
      why: '0 of 1 requests judged in this step',
    });
    await called('/a');
    await timers.advance(2000);
    expect(await stage()).toBe('enforced');
  });

  test('while one concerns another workload', async () => {
    const { apply, called, canary, stage, timers, releases, confirm } = await open();
    await apply(['/a']);
    await canary();
    releases.press(WHO, { scope: { kind: 'workload', workload: web }, reason: 'a try' });
    confirm();
    await timers.advance(1000);
    await called('/a');
    await timers.advance(12_000);
    expect(await stage()).toBe('enforced');
  });
});
