import { afterEach, describe, expect, test } from 'vitest';
import { PROMOTION_CHECKS } from '../../rollout/index.ts';
import { LOCAL } from '../api/testing.test-helper.ts';
import { accessAt, cart, flipAt } from '../enforcement/evidence/evidence.test-helper.ts';
import {
  ANN,
  BEN,
  BOSS,
  HOUR,
  OLA,
  person,
  policy,
  PromotionPlane,
  SHADOW,
} from './promotion.test-helper.ts';

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

async function open(...options: Parameters<typeof PromotionPlane.open>) {
  const plane = await PromotionPlane.open(...options);
  undo.push(() => plane.api.close());
  return plane;
}

/** A standard workload of which every check is passed. */
async function ready(tier: 'standard' | 'critical' = 'standard') {
  const plane = await open();
  await plane.apply(policy('/a', tier));
  plane.drill();
  await plane.approve(ANN, ...(tier === 'critical' ? [BEN] : []));
  await plane.shadow();
  return plane;
}

/** Has an access be seen once: a doubt. */
async function seeOnce(plane: PromotionPlane) {
  const once = { action: { kind: 'http', port: 80, name: 'GET', text: '/once' } as const };
  await plane.report({ accesses: [accessAt(plane.timers.now(), once)] });
  await plane.pass(10_000);
}

/** The same, and somebody takes it into the target. */
async function takeIn(plane: PromotionPlane) {
  await seeOnce(plane);
  const { target, changes } = await plane.reviews.view(cart);
  await plane.reviews.approve(ANN.who, cart, { target, changes: changes.map(({ id }) => id) });
  await plane.pass(SHADOW * HOUR);
}

describe('a promotion', () => {
  test('is refused with every check by name, and made when each of them is passed: what it rests on is in the history', async () => {
    const plane = await open();
    await plane.apply(policy());
    await plane.move(OLA, 'shadow');
    const refused = await plane.move(OLA, 'canary').catch((error: unknown) => error);
    expect(refused).toMatchObject({
      status: 409,
      code: 'conflict',
      detail: `${cart} stays in shadow: for canary 3 checks are not passed (shadow, approvals, drill). Do what they say, or go on with a reason ("anyway")`,
    });
    const { checks } = refused as { checks: { name: string; whatToDo?: string }[] };
    expect(checks.map(({ name }) => name)).toEqual(PROMOTION_CHECKS);
    expect(checks.filter(({ whatToDo }) => whatToDo !== undefined)).toMatchObject([
      { name: 'shadow', passed: false, reason: '0 minutes; needs 1 minute without a flip' },
      { name: 'approvals', passed: false, reason: '0 of 1; needs one' },
      { name: 'drill', passed: false, reason: 'never passed; needs passed within 90 days' },
    ]);
    // What is shown before is what is refused for.
    expect((await plane.call(OLA, 'preflight.get')).gates).toEqual(checks);
    expect((await plane.call(OLA, 'readiness.get')).gates).toEqual(checks);
    plane.drill();
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['shadow', 'approvals']);
    await plane.approve(ANN);
    await plane.pass(SHADOW * HOUR - 1);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['shadow']);
    await plane.pass(1);
    expect((await plane.move(OLA, 'canary')).rollout.stage).toBe('canary');
    const { target } = plane.reviews.approvalState(cart);
    expect(await plane.entry('rollout.canary')).toMatchObject({
      who: OLA.who,
      details: {
        target,
        tier: 'standard',
        checks: { approvals: `1 of 1: ${ANN.who}`, shadow: '1 minute', flips: 'none', drill: 'today' },
      },
    });
  });

  test('of another version is a 412, and one that a check is missing for stays a 409', async () => {
    const plane = await open();
    await plane.apply(policy());
    await plane.move(OLA, 'shadow');
    const { version } = await plane.call(OLA, 'rollouts.get');
    const at = { 'if-match': `"${version}"` };
    await expect(plane.move(OLA, 'canary', {}, at)).rejects.toMatchObject({ status: 409, checks: {} });
    await plane.apply(policy('/b'));
    await expect(plane.move(OLA, 'canary', {}, at)).rejects.toMatchObject({ status: 412 });
  });

  test('goes on all the same with a reason, of an approver, and never of who has written of a critical target', async () => {
    const plane = await open();
    await plane.apply(policy('/a', 'critical'), BOSS.who);
    await plane.move(OLA, 'shadow');
    const go = (who: typeof OLA) => plane.move(who, 'canary', { anyway: 'a fire' });
    await expect(go(OLA)).rejects.toMatchObject({
      status: 403,
      detail: expect.stringContaining('role approver'),
    });
    await expect(go(BOSS)).rejects.toMatchObject({
      status: 403,
      detail: expect.stringContaining('written of its target'),
    });
    await expect(go(ANN)).rejects.toMatchObject({ status: 403 });
    expect(plane.rollouts.get(cart).stage).toBe('shadow');
    expect((await go(person('eve', 'operator', 'approver'))).rollout.stage).toBe('canary');
    expect(await plane.entry('rollout.canary')).toMatchObject({
      details: {
        anyway: 'a fire',
        missing: ['shadow', 'approvals', 'drill'],
        checks: { approvals: expect.stringMatching(/^0 of 2;/) },
      },
    });
    // Of another tier one's own reason will do.
    await plane.apply(policy('/a', 'standard', cart, 'other'), BOSS.who);
  });

  test('asks nothing of a step down, nor of a smaller share', async () => {
    const plane = await ready();
    await plane.move(OLA, 'canary');
    await plane.call(OLA, 'rollouts.move', { to: 'canary', share: 0.1 });
    await plane.report({
      flips: [
        flipAt(plane.timers.now(), { targetVersion: BigInt(plane.rollouts.get(cart).targetVersion ?? 0) }),
      ],
    });
    expect(await plane.missing(plane.move(OLA, 'enforced'))).toEqual(['flips', 'shadow']);
    expect(await plane.missing(plane.call(OLA, 'rollouts.move', { to: 'canary', share: 0.2 }))).toEqual([
      'flips',
      'shadow',
    ]);
    expect((await plane.move(OLA, 'shadow')).rollout).toMatchObject({
      stage: 'shadow',
      held: { by: OLA.who },
    });
  });
});

describe('approvals', () => {
  test('are of exactly one target: whoever applies another one after them needs new ones', async () => {
    const plane = await ready();
    await plane.apply(policy('/{rest=**}'));
    await plane.pass(SHADOW * HOUR);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['approvals']);
    // Back to what was approved: but one approval is of the newest review alone, so nothing is brought back by it.
    await plane.approve(ANN);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('cannot be gone around by calling a critical workload an experiment', async () => {
    const plane = await ready('critical');
    await plane.move(OLA, 'canary');
    await plane.move(OLA, 'enforced');
    await plane.apply(policy('/{rest=**}', 'experimental'));
    await plane.pass(SHADOW * HOUR);
    expect(plane.rollouts.get(cart)).toMatchObject({ tier: 'experimental', stage: 'shadow' });
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['approvals']);
    expect((await plane.call(OLA, 'reviews.get')).approvals.need).toBe(2);
  });

  test('of two people at once are two, of one person twice are one, and the own one is none where two are needed', async () => {
    const plane = await open();
    await plane.apply(policy('/a', 'critical'));
    plane.drill();
    await plane.shadow();
    const { target } = plane.reviews.approvalState(cart);
    const approve = (who: typeof ANN) => plane.call(who, 'reviews.approve', { target, changes: [] });
    const outcomes = await Promise.allSettled([approve(ANN), approve(ANN), approve(BOSS)]);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
    expect(
      (await plane.call(OLA, 'preflight.get')).gates.find(({ name }) => name === 'approvals'),
    ).toMatchObject({ passed: true });
    const refused = await plane.move(BOSS, 'canary').catch((error: { checks: object[] }) => error.checks);
    expect(refused).toContainEqual(
      expect.objectContaining({
        name: 'approvals',
        reason: `1 of 2: ${ANN.who} (not counted: ${BOSS.who} promotes it); needs 2 people, none the author`,
      }),
    );
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('and a move at the same moment: it is made with them, or refused for them, and nothing between', async () => {
    for (const first of ['approve', 'move'] as const) {
      const plane = await open();
      await plane.apply(policy());
      plane.drill();
      await plane.shadow();
      const steps = {
        approve: () => plane.approve(ANN),
        move: () => plane.missing(plane.move(OLA, 'canary')),
      };
      const second = first === 'approve' ? 'move' : 'approve';
      const both = [steps[first](), steps[second]()];
      const moved = (await Promise.all(both)).find((each) => each !== undefined);
      const { stage } = plane.rollouts.get(cart);
      expect([['moved'], ['approvals']]).toContainEqual(moved);
      expect(stage).toBe(moved?.[0] === 'moved' ? 'canary' : 'shadow');
    }
  });

  test('of changes that make another target while a move is under way leave it where it was', async () => {
    const plane = await ready();
    const applied = plane.apply(policy('/b'));
    await expect(plane.move(OLA, 'canary')).rejects.toMatchObject({ code: 'conflict' });
    await applied;
    expect(plane.rollouts.get(cart).stage).toBe('shadow');
  });
});

describe('what people have decided', () => {
  test('opens the gate: a flip that was rejected is meant, and takes no canary back', async () => {
    const plane = await ready();
    await plane.report({
      accesses: [
        accessAt(plane.timers.now() - HOUR, {
          action: { kind: 'http', port: 80, name: 'GET', text: '/old' },
          ok: 3n,
        }),
      ],
    });
    const targetVersion = BigInt(plane.rollouts.get(cart).targetVersion ?? 0);
    const old = { action: { kind: 'http', port: 80, name: 'GET', text: '/old' } as const, targetVersion };
    await plane.report({ flips: [flipAt(plane.timers.now(), old)] });
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['flips', 'shadow']);
    const { target, questions } = await plane.reviews.view(cart);
    await plane.reviews.reject(ANN.who, cart, {
      target,
      items: questions.map(({ id }) => id),
      reason: 'gone',
    });
    expect(await plane.missing(plane.move(OLA, 'canary', { share: 1 }))).toEqual(['moved']);
    const refused = { ...old, before: { allowed: false, decidedBy: 'no-rule' }, refused: true } as const;
    await plane.report({ flips: [flipAt(plane.timers.now() + 1, refused)] });
    await plane.pass(1000);
    expect(plane.rollouts.get(cart).stage).toBe('canary');
  });

  test('is asked where an access was seen once, and by an owner where the tier says so', async () => {
    const plane = await ready('critical');
    await seeOnce(plane);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
    // Written into the target and approved, it is decided by whoever approved it; here by nobody who owns the workload.
    const both = policy('/a')
      .replace("['/a']", "['/a', '/once']")
      .replace('tier: standard', 'tier: critical');
    await plane.apply(both);
    await plane.approve(ANN, BEN);
    await plane.pass(SHADOW * HOUR);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
    plane.reviews.ownersOf = () => ['ann'];
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('counts for what it was decided of: who took a doubt in, before the workload was critical, was no owner', async () => {
    const plane = await ready();
    await takeIn(plane);
    plane.reviews.markOf = () => 'critical';
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts', 'approvals']);
    await plane.approve(BEN);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
    // An owner among those who have approved the target has decided what it says.
    plane.reviews.ownersOf = () => ['ann'];
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
  });

  test('is asked again of a doubt whose rule was taken out of the target', async () => {
    const plane = await ready();
    await takeIn(plane);
    expect((await plane.call(OLA, 'preflight.get')).gates.every(({ passed }) => passed)).toBe(true);
    await plane.apply(policy());
    await plane.approve(ANN);
    await plane.pass(SHADOW * HOUR);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
  });
});

test('a blind spot is acknowledged by name, and a doubt is not decided by that', async () => {
  const plane = await ready();
  // A caller with neither an identity nor an address.
  const nobody = {
    from: { case: undefined },
    action: { kind: 'http', port: 80, name: 'GET', text: '/x' },
  } as never;
  await plane.report({ accesses: [accessAt(plane.timers.now(), { ...(nobody as object), mutual: 0n })] });
  await plane.pass(10_000);
  expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['blind-spots', 'doubts']);
  const { readiness } = await plane.call(OLA, 'readiness.get');
  const [spots, doubts] = [readiness.blindSpots, readiness.doubts].map((each) => each.map(({ id }) => id));
  const acknowledge = (ids: readonly string[] = []) =>
    plane.call(ANN, 'reviews.acknowledge', { ids, reason: 'a probe of the load balancer' });
  await expect(acknowledge(['nothing'])).rejects.toMatchObject({ status: 404 });
  await expect(
    plane.call(OLA, 'reviews.acknowledge', { ids: spots ?? [], reason: 'x' }),
  ).rejects.toMatchObject({ status: 403 });
  await acknowledge(spots);
  expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
  expect(await plane.entry('review.acknowledge')).toMatchObject({ who: ANN.who, details: { ids: spots } });
  // A doubt that a rule can be written for is decided in its review, and in no other way.
  await acknowledge(doubts);
  expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['doubts']);
  const { target, changes } = await plane.reviews.view(cart);
  const items = changes.map(({ id }) => id);
  await plane.reviews.reject(ANN.who, cart, { target, items, reason: 'a scanner' });
  expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['moved']);
});

describe('where the store is gone', () => {
  test('in the middle of a move nothing is half done, and it is made when it is back', async () => {
    const plane = await ready();
    const { store } = plane.api.serving.plane;
    const commit = store.commit.bind(store);
    store.commit = () => Promise.reject(new Error('gone'));
    const before = plane.rollouts.get(cart);
    await expect(plane.move(OLA, 'canary')).rejects.toMatchObject({ status: 500 });
    expect(plane.rollouts.get(cart)).toBe(before);
    store.commit = commit;
    expect(await plane.entry('rollout.canary')).toBeUndefined();
    expect(await plane.missing(plane.move(LOCAL, 'canary'))).toEqual(['moved']);
  });

  test('what a move rests on is not known: it is refused, a step down is not, and the button works', async () => {
    const plane = await ready();
    await plane.move(OLA, 'canary');
    const { store } = plane.api.serving.plane;
    store.issued = () => new Promise(() => {});
    const moved = plane.move(OLA, 'enforced').catch((error: unknown) => error);
    const down = await plane.move(OLA, 'shadow');
    expect(down.rollout.stage).toBe('shadow');
    await plane.timers.advance(5000);
    expect(await moved).toMatchObject({ status: 503, code: 'unavailable' });
    expect(plane.rollouts.get(cart).stage).toBe('shadow');
  });
});
