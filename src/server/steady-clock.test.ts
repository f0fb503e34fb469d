import { expect, test } from 'vitest';
import { SteadyClock } from './steady-clock.ts';

test('a clock is steady since it was set last; a look that comes late on a busy machine is none', () => {
  let now = 1_000_000;
  const clock = new SteadyClock({ now: () => now }, 1000);
  const look = (ms: number) => {
    now += ms;
    return [clock.look(), clock.since];
  };
  expect(look(1000)).toEqual([false, 1_000_000]);
  expect(look(0)).toEqual([false, 1_000_000]);
  expect(look(61_000)).toEqual([false, 1_000_000]);
  expect(look(61_001)).toEqual([true, 1_123_001]);
  expect(look(-1)).toEqual([true, 1_123_000]);
  expect(look(1000)).toEqual([false, 1_123_000]);
});
