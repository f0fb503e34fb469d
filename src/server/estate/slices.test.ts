import { describe, expect, test } from 'vitest';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { Slices } from './slices.ts';

/** Time that goes on by a millisecond with each step. */
class Clock extends ManualTimers {
  passed = 0;
  override now(): number {
    return this.passed;
  }
}

function* counted(clock: Clock, n: number, log: string[] = [], name = ''): Generator<void, number> {
  for (let i = 0; i < n; i++) {
    clock.passed++;
    log.push(name);
    yield;
  }
  return n;
}

describe('work in slices', () => {
  test('is done at once where it is short', async () => {
    const clock = new Clock();
    const log: string[] = [];
    const done = new Slices(clock).run(counted(clock, 4, log), () => true);
    expect(log).toHaveLength(4);
    expect(await done).toEqual({ value: 4, ms: 4 });
  });

  test('gives the event loop back every 5 ms, and tells how long it held it', async () => {
    const clock = new Clock();
    const log: string[] = [];
    const done = new Slices(clock).run(counted(clock, 100, log), () => true);
    let longest = log.length;
    for (let before = log.length; before < 100; before = log.length) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      // Time that others take is not counted.
      clock.passed += 1000;
      longest = Math.max(longest, log.length - before);
    }
    expect(longest).toBe(5);
    expect(await done).toEqual({ value: 100, ms: 100 });
  });

  test('is one after the other, and one that fails or is not wanted any more holds nothing up', async () => {
    const clock = new Clock();
    const slices = new Slices(clock);
    const log: string[] = [];
    let isWanted = true;
    const failing = function* (): Generator<void, number> {
      yield* counted(clock, 20, log, 'a');
      throw new Error('a step failed');
    };
    const first = slices.run(failing(), () => true);
    const second = slices.run(counted(clock, 20, log, 'b'), () => isWanted);
    const third = slices.run(counted(clock, 20, log, 'c'), () => true);
    isWanted = false;
    await expect(first).rejects.toThrow('a step failed');
    expect(await second).toBeUndefined();
    expect(await third).toEqual({ value: 20, ms: 20 });
    expect(log.join('')).toBe('a'.repeat(20) + 'c'.repeat(20));
  });
});
