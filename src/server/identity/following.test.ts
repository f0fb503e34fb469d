import { beforeEach, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import type { IdentityStore } from '../../store/index.ts';
import { Following } from './following.ts';

let timers: ManualTimers;
let told: string[];
let fault: string | undefined;
let read: number;
let following: Following;
beforeEach(() => {
  timers = new ManualTimers();
  told = [];
  fault = undefined;
  read = 0;
  following = new Following(
    timers,
    (error) => void told.push(error instanceof Error ? error.message : String(error)),
    (message) => void told.push(message),
  );
  following.on(['rule'], async () => {
    read++;
    if (fault !== undefined) throw new Error(fault);
  });
});
/** Nobody commits anything: what follows is read once at the start, and again where that failed. */
const store = { watch: async () => () => {} } as unknown as IdentityStore;

test('what cannot be read is tried each second, and told at growing distances', async () => {
  fault = 'away';
  await following.start(store);
  await timers.advance(59_000);
  expect([read, told]).toEqual([60, ['away', 'away']]);
  await timers.advance(3_600_000);
  expect(read).toBe(3660);
  // After 60, 120, 240, 480, 960, 1,920 and 3,840 tries.
  expect(told).toHaveLength(7);
  await timers.advance(86_400_000);
  expect(told.length).toBeLessThan(35);
});

test('another fault is told at once, and so is that it can be read again; then the first one is new', async () => {
  fault = 'away';
  await following.start(store);
  await timers.advance(5000);
  fault = 'denied';
  await timers.advance(2000);
  fault = 'away';
  await timers.advance(2000);
  expect(told).toEqual(['away', 'denied']);
  fault = undefined;
  await timers.advance(1000);
  expect(told[2]).toBe('what others change can be read again (rule), after 10 tries in vain');
  await timers.advance(10_000);
  expect(read).toBe(11);
  following.stop();
  fault = 'away';
  await following.start(store);
  expect(told.at(-1)).toBe('away');
  expect(told).toHaveLength(4);
});

test('faults that are never the same are no line each', async () => {
  await following.start(store);
  for (let i = 0; i < 100; i++) {
    fault = `took ${i} ms`;
    if (i === 0) await following.start(store);
    await timers.advance(1000);
  }
  expect(told.length).toBeLessThan(13);
});
