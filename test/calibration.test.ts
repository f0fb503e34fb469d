import { describe, expect, test } from 'vitest';
import { calibrate, quantile, wilson } from '../bench/calibrate.ts';
import { FAMILIES } from '../bench/calibration.ts';
import { randomFrom, simulateWorkload } from '../bench/simulate-estate.ts';
import { HOUR_MS, parseSpiffeId } from '../src/access/index.ts';
import { poissonUpper, readiness, windowHours } from '../src/learning/index.ts';
import type { Tier } from '../src/policy/index.ts';
import { judge } from '../src/rollout/index.ts';

const SEED = 41;
const family = FAMILIES.find(({ name }) => name === 'all of these');

describe('the bound on first-week surprises, calibrated', () => {
  test.each([3, 14, 35])('holds for at least 95 %% of simulated workloads after %i days', (days) => {
    for (const one of FAMILIES) {
      const { held, heldWeek, workloads } = calibrate(one, days, { workloads: 200, seed: SEED });
      expect(workloads).toBe(200);
      // A smaller sample than the published one: its interval reaches 95 % where the true share does.
      expect(wilson(held, workloads)[1], `${one.name}: bound`).toBeGreaterThan(0.95);
      expect(wilson(heldWeek, workloads)[1], `${one.name}: week limit`).toBeGreaterThan(0.95);
    }
    const all = FAMILIES.map((one) => calibrate(one, days, { workloads: 200, seed: SEED }).held);
    expect(all.reduce((a, b) => a + b) / all.length).toBeGreaterThanOrEqual(0.95);
  });

  test('is not held by being wide: it narrows with the days recorded, to the least bound there is', () => {
    const medians = [1, 3, 7, 14, 28, 35].map(
      (days) => calibrate(FAMILIES[0] ?? never(), days, { workloads: 200, seed: SEED }).medianBound,
    );
    expect(medians).toEqual(medians.toSorted((a, b) => b - a));
    expect(medians.at(-1)).toBeCloseTo(0.749, 2);
  });

  test('says more than that nothing comes: after 3 days with jobs, most weeks bring something', () => {
    const jobs = FAMILIES.find(({ name }) => name === 'daily and weekly jobs') ?? never();
    const { held, none } = calibrate(jobs, 3, { workloads: 200, seed: SEED });
    expect(none).toBeLessThan(0.5);
    expect(held).toBeGreaterThan(0.95);
  });
});

describe('a simulated workload', () => {
  test('is the same for the same seed, and another for another', () => {
    const simulated = (seed: number) => simulateWorkload(family ?? never(), seed);
    expect(simulated(7)).toEqual(simulated(7));
    expect(simulated(7).accesses).not.toEqual(simulated(8).accesses);
  });

  test('has every first call at or after its beginning, and jobs and failovers among them', () => {
    const kinds = { random: 0, scheduled: 0 };
    for (let seed = 0; seed < 50; seed++) {
      const { start, accesses } = simulateWorkload(family ?? never(), seed);
      expect(start % HOUR_MS).toBe(0);
      for (const { at, rate } of accesses) {
        expect(at).toBeGreaterThanOrEqual(start);
        kinds[rate === undefined ? 'scheduled' : 'random']++;
      }
    }
    expect(Math.min(kinds.random, kinds.scheduled)).toBeGreaterThan(50);
  });

  test('rests on numbers that are spread evenly', () => {
    const random = randomFrom(3);
    const values = Array.from({ length: 10_000 }, random);
    expect(Math.max(...values)).toBeLessThan(1);
    expect(values.reduce((a, b) => a + b) / 10_000).toBeCloseTo(0.5, 1);
    expect(quantile(values, 0.9)).toBeCloseTo(0.9, 1);
  });
});

test("Wilson's interval is the one of the textbook", () => {
  const [low, high] = wilson(0.5, 100);
  expect([low, high]).toEqual([expect.closeTo(0.4038, 3), expect.closeTo(0.5962, 3)]);
});

test('what the learning room judges is what the gates are judged on', () => {
  const id = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
  const workload = {
    id,
    namespace: 'shop',
    name: 'cart',
    identifiedBy: 'service-account',
    labels: {},
    ports: [],
    hostNetwork: false,
    marks: {},
    inventoried: true,
    recorded: true,
  } as const;
  const judged = readiness(
    {
      trustDomain: 'example.org',
      workloads: new Map([[id, workload]]),
      accesses: [],
      blindSpots: [],
      sharedAccounts: [],
      coverage: { firstSeen: Infinity, lastSeen: -Infinity, hours: [], events: 0, lost: 0 },
    },
    id,
    { now: 0 },
  );
  const missing = judge(judged, 'standard').gates.filter(({ state }) => state === 'missing');
  expect(missing.map(({ gate }) => gate)).toEqual(['surprises', 'calendar']);
});

test.each<[Tier, number]>([
  ['experimental', 5],
  ['standard', 14],
  ['critical', 35],
])('the recording that the gate of %s asks for, %i days, is the least that meets it', (tier, days) => {
  const facts = {
    calendar: { days: 0, hoursOfWeek: 0, missing: '', monthEnd: false },
    blindSpots: [],
    doubts: [],
    events: { lostShare: 0 },
  };
  const quiet = (recorded: number) => (poissonUpper(0) * 168) / windowHours(recorded * 24);
  const gate = (bound: number) => judge({ ...facts, surprises: { bound } }, tier).gates[0];
  expect(gate(quiet(days))).toMatchObject({ state: 'passed' });
  expect(gate(quiet(days - 1))).toMatchObject({
    state: 'missing',
    what: expect.stringMatching(`^keep recording: ${days} days`),
  });
});

function never(): never {
  throw new Error('the family is not there');
}
