import { afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { readPolicies } from '../../policy/index.ts';
import { DEFAULT_CANARY, DEFAULT_GATES, type PromotionCheck } from '../../rollout/index.ts';
import { newStore } from '../review/review.test-helper.ts';
import { Rollouts } from '../enforcement/rollouts.ts';
import { Recorder } from '../identity/recorder.ts';
import { ByItself } from './by-itself.ts';
import type { Looked } from './gatekeeper.ts';
import { HOUR, policy } from './promotion.test-helper.ts';

const OLA = 'user:ola';
const LOOK = 10_000;
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

/** A clock that can be set, while timers go on as they did. */
class SetClock extends ManualTimers {
  offset = 0;
  override now(): number {
    return super.now() + this.offset;
  }
}

/** Workloads that go through the real rollouts, with checks that a test decides. */
async function open() {
  const { store, remove } = await newStore();
  undo.push(remove);
  const timers = new SetClock();
  const faults: unknown[] = [];
  const rollouts = await Rollouts.open({
    store,
    recorder: new Recorder(store, timers),
    timers,
    onChange: () => {},
  });
  const passed: PromotionCheck = { name: 'flips', passed: true, reason: 'none' };
  const at = {
    store,
    timers,
    faults,
    rollouts,
    leads: true,
    tier: 'experimental' as 'experimental' | 'standard',
    checks: [passed],
    looked: [] as SpiffeId[],
    /** Done while a workload is looked at. */
    meanwhile: async () => {},
    moved: [] as SpiffeId[],
  };
  const byItself = new ByItself({
    enforcing: { rollouts, rules: { gates: DEFAULT_GATES, canary: DEFAULT_CANARY } },
    gatekeeper: {
      tierOf: () => at.tier,
      async look(workload): Promise<Looked> {
        at.looked.push(workload);
        await at.meanwhile();
        return {
          workload,
          rollout: rollouts.all.get(workload),
          readiness: undefined,
          svids: { live: 1, stale: 0 },
        };
      },
      checks: () => at.checks,
      guardOf: (looked) => (now) => {
        if (looked?.rollout !== now) throw new Error('changed meanwhile');
        return { note: { tier: at.tier }, judged: { tier: at.tier } };
      },
    },
    timers,
    isLeader: () => at.leads,
    onMoved: (workload) => at.moved.push(workload),
    onFault: (error) => faults.push(error),
  });
  undo.push(() => byItself.stop());
  return at;
}

async function shadowed(at: Awaited<ReturnType<typeof open>>, ...workloads: readonly SpiffeId[]) {
  const yaml = workloads.map((id) => policy('/a', 'experimental', id));
  await at.rollouts.apply(OLA, readPolicies(yaml.join('---\n')));
  for (const id of workloads) await at.rollouts.move(OLA, id, 'shadow');
}

/** Time goes by, and what was begun meanwhile has come to its end. */
async function pass(at: Awaited<ReturnType<typeof open>>, ms: number): Promise<void> {
  await at.timers.advance(ms);
  await at.rollouts.remove(OLA, cart, 'nothing').catch(() => {});
  await at.timers.advance(0);
}

describe('an experimental workload', () => {
  test('begins its canary by itself once an hour in shadow has gone by and every check is passed, and not before', async () => {
    const at = await open();
    await shadowed(at, cart);
    await pass(at, HOUR - LOOK);
    expect([at.looked, at.rollouts.get(cart).stage]).toEqual([[], 'shadow']);
    await pass(at, LOOK);
    expect(at.rollouts.get(cart)).toMatchObject({ stage: 'canary', share: 0.1, by: 'system' });
    expect(at.moved).toEqual([cart]);
    expect((await at.store.audit(1, 100)).at(-1)).toMatchObject({
      who: 'system',
      act: 'rollout.canary',
      details: { tier: 'experimental', share: 0.1 },
    });
    expect(at.faults).toEqual([]);
  });

  test('waits for a check that is not passed, and so do another tier and a replica that does not lead', async () => {
    const at = await open();
    await shadowed(at, cart);
    const passed = at.checks;
    at.checks = [{ name: 'flips', passed: false, reason: '1' }];
    await pass(at, 2 * HOUR);
    expect([at.looked.length > 0, at.rollouts.get(cart).stage]).toEqual([true, 'shadow']);
    at.checks = passed;
    at.tier = 'standard';
    await pass(at, LOOK);
    at.tier = 'experimental';
    at.leads = false;
    await pass(at, LOOK);
    expect(at.rollouts.get(cart).stage).toBe('shadow');
    at.leads = true;
    await pass(at, LOOK);
    expect(at.rollouts.get(cart).stage).toBe('canary');
  });

  test('stays where a person holds it or has moved it back, and where its canary fell back, until a person says so', async () => {
    const at = await open();
    await shadowed(at, cart);
    await at.rollouts.hold(OLA, cart, 'a sale');
    await pass(at, 2 * HOUR);
    expect(at.rollouts.get(cart)).toMatchObject({ stage: 'shadow', held: { by: OLA, why: 'a sale' } });
    await at.rollouts.hold(OLA, cart, undefined);
    await pass(at, LOOK);
    expect(at.rollouts.get(cart).stage).toBe('canary');
    await at.rollouts.move('system', cart, 'shadow', { why: 'a known-good access was refused' });
    await pass(at, 2 * HOUR);
    expect(at.rollouts.get(cart)).toMatchObject({
      stage: 'shadow',
      held: { by: 'system', why: 'a known-good access was refused' },
    });
    // A person that moves it forward says so; one that moves it back holds it.
    await at.rollouts.move(OLA, cart, 'canary', { share: 0.5 });
    expect(at.rollouts.get(cart).held).toBeUndefined();
    await at.rollouts.move(OLA, cart, 'shadow');
    await pass(at, 2 * HOUR);
    expect(at.rollouts.get(cart)).toMatchObject({ stage: 'shadow', held: { by: OLA } });
    // Another target does not say so either.
    await at.rollouts.apply(OLA, readPolicies(policy('/b', 'experimental')));
    await pass(at, 2 * HOUR);
    expect(at.rollouts.get(cart).stage).toBe('shadow');
  });

  test('is not moved by a clock that is set forward, and not kept for ever by one that is set back', async () => {
    const at = await open();
    await shadowed(at, cart);
    at.timers.offset += 400 * 24 * HOUR;
    await pass(at, HOUR - LOOK);
    expect(at.rollouts.get(cart).stage).toBe('shadow');
    at.timers.offset -= 400 * 24 * HOUR;
    await pass(at, LOOK);
    expect(at.rollouts.get(cart).stage).toBe('shadow');
    await pass(at, HOUR);
    expect(at.rollouts.get(cart).stage).toBe('canary');
  });

  test('that somebody moves or changes while it is looked at is left to them', async () => {
    const at = await open();
    await shadowed(at, cart);
    at.meanwhile = async () => {
      at.meanwhile = async () => {};
      await at.rollouts.apply(OLA, readPolicies(policy('/b', 'experimental')));
    };
    await pass(at, HOUR);
    await pass(at, 0);
    expect(at.rollouts.get(cart)).toMatchObject({ stage: 'shadow', by: OLA });
  });

  test('is one of twenty at most that are looked at in one look, and comes in turn', async () => {
    const at = await open();
    const all = Array.from({ length: 50 }, (_, i) =>
      parseSpiffeId(`spiffe://example.org/ns/shop/sa/w${i + 10}`),
    );
    await shadowed(at, ...all);
    at.checks = [{ name: 'flips', passed: false, reason: '1' }];
    await pass(at, HOUR);
    expect(at.looked).toEqual(all.slice(0, 20));
    await pass(at, LOOK);
    await pass(at, LOOK);
    expect(new Set(at.looked)).toEqual(new Set(all));
  });
});
