import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bundleWith, NOW } from '../bundle/authorities.test-helper.ts';
import {
  federationFailed,
  federationFetched,
  isStale,
  type PeerState,
  refreshOf,
  startPeer,
} from './index.ts';

const fault = (at: number) => ({ at, code: 'unavailable', message: 'no answer' }) as const;

describe('the schedule of one peer', () => {
  const start = startPeer('example.org', {}, NOW, () => 0);
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  test.each([
    [undefined, 300],
    [0, 300],
    [1, 60],
    [59, 60],
    [60, 60],
    [300, 300],
    [86_400, 86_400],
    [Number.MAX_SAFE_INTEGER, 86_400],
  ])('a hint of %s s is a look every %s s', (refreshHint, seconds) => {
    const state = federationFetched(start, bundleWith({ refreshHint }), NOW, () => 0);
    expect(state.nextAt).toBe(NOW + seconds * 1000);
    expect(refreshOf(state.bundle)).toBe(seconds);
  });

  test('a look is never later than the hint, nor sooner than nine tenths of it or a minute', () => {
    fc.assert(
      fc.property(fc.nat(100_000), random, (refreshHint, drawn) => {
        const { nextAt, bundle } = federationFetched(start, bundleWith({ refreshHint }), NOW, () => drawn);
        const wait = (nextAt - NOW) / 1000;
        expect(wait).toBeLessThanOrEqual(refreshOf(bundle));
        expect(wait).toBeGreaterThanOrEqual(Math.max(60, Math.floor(refreshOf(bundle) * 0.9)));
      }),
    );
  });

  test('failures wait twice as long each time, up to the refresh', () => {
    const waits = (first: PeerState): number[] => {
      let state = first;
      return Array.from({ length: 9 }, () => {
        state = federationFailed(state, fault(NOW), () => 0.999_999);
        return Math.round((state.nextAt - NOW) / 1000);
      });
    };
    expect(waits(start)).toEqual([5, 10, 20, 40, 80, 160, 300, 300, 300]);
    const held = federationFetched(start, bundleWith({ refreshHint: 600 }), NOW, () => 0);
    expect(waits(held)).toEqual([60, 120, 240, 480, 600, 600, 600, 600, 600]);
    const daily = federationFetched(start, bundleWith({ refreshHint: 86_400 }), NOW, () => 0);
    expect(waits(daily).at(-1)).toBe(3600);
  });

  test('the jitter of a failure is the upper half of its wait, however long the outage', () => {
    fc.assert(
      fc.property(fc.nat(5000), random, (failures, drawn) => {
        const state = federationFailed({ ...start, failures }, fault(NOW), () => drawn);
        const longest = Math.min(5 * 2 ** Math.min(failures, 20), 300) * 1000;
        expect(state.nextAt - NOW).toBeLessThanOrEqual(longest);
        expect(state.nextAt - NOW).toBeGreaterThanOrEqual(longest / 2 - 1);
      }),
    );
  });

  test('a failure keeps the bundle and the fault; a success ends the count and keeps the fault', () => {
    const held = federationFetched(start, bundleWith({ sequence: 1 }), NOW, () => 0);
    const broken = federationFailed(held, fault(NOW + 1), () => 0);
    expect(broken).toMatchObject({
      bundle: held.bundle,
      fetchedAt: NOW,
      failures: 1,
      lastFault: fault(NOW + 1),
    });
    const again = federationFetched(broken, bundleWith({ sequence: 2 }), NOW + 2, () => 0);
    expect(again).toMatchObject({ failures: 0, fetchedAt: NOW + 2, lastFault: fault(NOW + 1) });
    expect(again.bundle?.sequence).toBe(2);
  });

  test('a bundle from before the held one is a failure that names both sequences', () => {
    const held = federationFetched(start, bundleWith({ sequence: 7 }), NOW, () => 0);
    const state = federationFetched(held, bundleWith({ sequence: 5 }), NOW + 1, () => 0);
    expect(state).toMatchObject({ failures: 1, fetchedAt: NOW, lastFault: { code: 'conflict' } });
    expect(state.bundle?.sequence).toBe(7);
    expect(state.lastFault?.message).toContain('sequence 5 after 7');
  });

  test('a bundle is stale once it missed three refreshes, or was never fetched', () => {
    const held = federationFetched(start, bundleWith({ refreshHint: 100 }), NOW, () => 0);
    expect(isStale(held, NOW + 300_000)).toBe(false);
    expect(isStale(held, NOW + 300_001)).toBe(true);
    expect(isStale({ ...held, fetchedAt: undefined }, NOW)).toBe(true);
    expect(isStale(start, NOW + 1e9)).toBe(false);
  });
});
