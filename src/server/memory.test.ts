import { expect, test } from 'vitest';
import { ManualTimers } from '../node/manual-timers.test-helper.ts';
import { returnMemory } from './memory.ts';

const MB = 2 ** 20;

test('memory is given back after the start and when the process has grown, and a collection waits for a moment to spare', async () => {
  const timers = new ManualTimers();
  const process = { resident: 200 * MB, busy: 0, freed: 220 * MB };
  let done: string[] = [];
  const stop = returnMemory({
    timers,
    resident: () => process.resident,
    busy: () => process.busy,
    collect: () => void done.push('collect'),
    giveBack() {
      done.push('give back');
      process.resident = Math.min(process.resident, process.freed);
      return true;
    },
  });
  const look = async () => {
    done = [];
    await timers.advance(5000);
    return done;
  };
  expect(await look()).toEqual(['collect', 'give back']);
  expect(await look()).toEqual([]);
  process.resident = 300 * MB;
  expect(await look()).toEqual(['collect', 'give back']);
  // What could not be given back is not tried again at every look.
  expect(await look()).toEqual([]);
  process.resident = 240 * MB;
  expect(await look()).toEqual([]);
  // A thread that is busy stops only for much.
  process.resident = 340 * MB;
  process.busy = 0.2;
  process.freed = 255 * MB;
  expect(await look()).toEqual([]);
  process.resident = 360 * MB;
  expect(await look()).toEqual(['give back']);
  process.busy = 0;
  expect(await look()).toEqual(['collect', 'give back']);
  expect(await look()).toEqual([]);
  // One that always has a little to do makes itself a moment for much, once a minute.
  const times: number[] = [];
  process.busy = 0.1;
  for (let i = 0; i < 25; i++) {
    process.resident = 400 * MB;
    if ((await look()).includes('collect')) times.push(i);
  }
  expect(times).toEqual([0, 12, 24]);
  stop();
  process.resident = 900 * MB;
  expect(await look()).toEqual([]);
});

test('what is there by default collects and asks the system', async () => {
  const timers = new ManualTimers();
  let resident = 0;
  const garbage = new WeakRef({ of: 'this test' });
  const stop = returnMemory({ timers, resident: () => (resident += 64 * MB), busy: () => 0 });
  await timers.advance(5000);
  expect(garbage.deref()).toBeUndefined();
  stop();
});
