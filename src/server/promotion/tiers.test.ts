import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { pathOf } from '../../api/index.ts';
import type { Tier } from '../../policy/index.ts';
import { versionOf } from '../api/versions.ts';
import { cart } from '../enforcement/evidence/evidence.test-helper.ts';
import { ANN, BEN, HOUR, OLA, policy, PromotionPlane, SHADOW } from './promotion.test-helper.ts';

/** How often the control plane looks at what moves by itself, and at marks; milliseconds. */
const LOOK = 10_000;
const PATIENT = { timeout: 60_000 };

let plane: PromotionPlane;
beforeEach(async () => {
  plane = await PromotionPlane.open();
  plane.drill();
});
afterEach(() => plane.api.close());

/** What the workload is marked with from now on. */
function mark(tier: Tier | undefined): void {
  plane.reviews.markOf = () => tier;
}

/** What was begun when the clock went on has come to its end. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await plane.rollouts.remove(OLA.who, cart, 'nothing').catch(() => {});
}

/** Into force, by all gates of critical. */
async function enforce(): Promise<void> {
  await plane.approve(ANN, BEN);
  await plane.pass(SHADOW * HOUR);
  await plane.move(OLA, 'canary');
  await plane.move(OLA, 'enforced');
}

async function asked(): Promise<{ need: number; reason: string | undefined }> {
  const { gates } = await plane.call(OLA, 'preflight.get');
  const { approvals } = await plane.call(OLA, 'reviews.get');
  return { need: approvals.need, reason: gates.find(({ name }) => name === 'approvals')?.reason };
}

async function ask(name: 'policies.sync' | 'policies.remove', body: object | undefined, params: object = {}) {
  const path = pathOf(name, { workload: cart, ...params });
  const method = name === 'policies.sync' ? 'PUT' : 'DELETE';
  const text = body === undefined ? {} : { body: JSON.stringify(body) };
  expect((await plane.api.ask(OLA, method, path, text)).status).toBe(200);
}

describe('a critical workload is no experiment', () => {
  test('by anything that an operator can write, until a target has come into force by its gates', async () => {
    await plane.apply(policy('/a', 'critical'));
    await plane.rollouts.move(OLA.who, cart, 'shadow');
    await enforce();
    // Taken back, nothing of it is in force any more: and that it was is not forgotten.
    await plane.move(OLA, 'shadow');
    await plane.rollouts.hold(OLA.who, cart, undefined);
    const yaml = policy('/a', 'experimental');
    const ways: readonly (() => Promise<unknown>)[] = [
      () => plane.apply(yaml),
      async () => {
        await ask('policies.remove', undefined, { policy: 'own' });
        await plane.apply(yaml);
      },
      async () => {
        const version = versionOf(plane.rollouts.get(cart));
        const text = policy('/b', 'experimental');
        await ask('policies.sync', { yaml: text, source: { name: 'acme//' }, version, remove: [] });
      },
      async () => {
        const { target } = await plane.call(OLA, 'reviews.get');
        await plane.call(OLA, 'reviews.edit', { target, yaml: policy('/c', 'experimental') });
      },
      // A policy beside it, and taken away again, and all of it from the beginning.
      async () => {
        await plane.apply(`${policy('/d', 'experimental')}---\n${policy('/e', 'standard', cart, 'other')}`);
        await ask('policies.remove', undefined, { policy: 'other' });
        await plane.move(OLA, 'draft');
        await plane.move(OLA, 'shadow');
      },
    ];
    for (const way of ways) {
      await way();
      expect(plane.rollouts.get(cart).tier).toBe('experimental');
      // Nor does it move by itself, as experiments do.
      await plane.pass(2 * SHADOW * HOUR);
      await settle();
      expect(plane.rollouts.get(cart).stage).toBe('shadow');
      expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['approvals']);
      expect(await asked()).toEqual({
        need: 2,
        reason: expect.stringMatching(
          /^0 of 2.*judged as critical, though its policies say experimental: it was critical before/,
        ),
      });
      expect((await plane.call(OLA, 'rollouts.get')).floor).toBe('critical');
    }
    // Going on all the same is no way to make it lower.
    await plane.move({ ...ANN, roles: new Set(['viewer', 'operator', 'approver'] as const) }, 'canary', {
      anyway: 'a fire',
    });
    await plane.move({ ...ANN, roles: new Set(['viewer', 'operator', 'approver'] as const) }, 'enforced', {
      anyway: 'a fire',
    });
    expect((await asked()).need).toBe(2);
    // By all of its gates it is what the people who approved it have read.
    await plane.apply(policy('/f', 'experimental'));
    await enforce();
    await plane.apply(policy('/g', 'experimental'));
    expect((await asked()).need).toBe(0);
    expect(await plane.call(OLA, 'rollouts.get')).not.toHaveProperty('floor');
  });

  test('by a mark that goes: what was marked stays so, and the log says since when', async () => {
    await plane.apply(policy('/a', 'experimental'));
    await plane.rollouts.hold(OLA.who, cart, 'a test');
    await plane.rollouts.move(OLA.who, cart, 'shadow');
    mark('critical');
    await plane.pass(LOOK);
    await expect.poll(() => plane.rollouts.get(cart).floor, PATIENT).toBe('critical');
    mark(undefined);
    await plane.pass(SHADOW * HOUR);
    expect(await plane.missing(plane.move(OLA, 'canary'))).toEqual(['approvals']);
    expect(await plane.entry('rollout.tier')).toMatchObject({
      who: 'system',
      what: cart,
      details: { tier: 'critical', mark: 'critical' },
    });
  });
});

test('a canary that began as an experiment goes no further by itself once its workload is critical, and says so', async () => {
  await plane.apply(policy('/a', 'experimental'));
  await plane.rollouts.move(OLA.who, cart, 'shadow');
  const { canaries } = plane.api.serving.enforcing;
  // It begins by itself: in the next look after its time in shadow.
  for (let ms = 0; ms < SHADOW * HOUR; ms += LOOK) await plane.pass(LOOK);
  await expect
    .poll(() => plane.rollouts.get(cart), PATIENT)
    .toMatchObject({ stage: 'canary', share: 0.1, by: 'system', judged: { tier: 'experimental' } });
  mark('critical');
  // Its share holds no proxy, so it would be passed over at once.
  for (let i = 0; i < 5; i++) {
    await plane.pass(1000);
    await settle();
  }
  expect(plane.rollouts.get(cart)).toMatchObject({ stage: 'canary', share: 0.1 });
  const why = expect.stringMatching(/begun by the gates of experimental, and judged as critical now/);
  expect(canaries.next(plane.rollouts.get(cart))).toEqual({ kind: 'wait', why });
  // A person goes on by the gates of now.
  expect(await plane.missing(plane.move(OLA, 'canary', { share: 0.6 }))).toEqual(['approvals']);
  await plane.approve(ANN, BEN);
  await plane.move(OLA, 'canary', { share: 0.6 });
  expect(plane.rollouts.get(cart).judged).toEqual({ tier: 'critical' });
  expect(canaries.next(plane.rollouts.get(cart))).not.toEqual({ kind: 'wait', why });
});
