import { expect, test } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { ReviewWork } from './work.ts';

const [a, b] = ['a', 'b'].map((name) => parseSpiffeId(`spiffe://example.org/${name}`)) as [
  SpiffeId,
  SpiffeId,
];

function start() {
  const timers = new ManualTimers(1_000_000);
  const looked: [SpiffeId, number][] = [];
  const faults: unknown[] = [];
  const fault = { next: false };
  const work = new ReviewWork({
    timers,
    look: async (workload) => {
      looked.push([workload, timers.now() - 1_000_000]);
      if (fault.next) throw new Error('away');
    },
    onFault: (error) => faults.push(error),
  });
  return { timers, looked, work, faults, fault };
}

test('what happens to a workload is looked at together, and again ten seconds later at the earliest', async () => {
  const { timers, looked, work } = start();
  for (let i = 0; i < 5; i++) work.mark(a);
  await timers.advance(1999);
  expect(looked).toEqual([]);
  await timers.advance(1);
  expect(looked).toEqual([[a, 2000]]);
  work.mark(a);
  work.mark(b);
  await timers.advance(9000);
  expect(looked.map(([workload]) => workload)).toEqual([a, b]);
  await timers.advance(2000);
  expect(looked.map(([workload]) => workload)).toEqual([a, b, a]);
  expect(looked[2]?.[1]).toBeGreaterThanOrEqual(12_000);
});

test('a clock that jumps back makes nobody wait for the time that it has lost', async () => {
  const { timers, looked, work } = start();
  work.mark(a);
  await timers.advance(2000);
  let back = 0;
  const now = timers.now.bind(timers);
  timers.now = () => now() - back;
  work.mark(a);
  back = 3_600_000;
  work.mark(b);
  await timers.advance(30_000);
  expect(looked.map(([workload]) => workload).toSorted()).toEqual([a, a, b]);
  work.mark(a);
  await timers.advance(30_000);
  expect(looked).toHaveLength(4);
});

test('a workload that cannot be looked at keeps none of the others waiting, and nothing is done once it is closed', async () => {
  const { timers, looked, work, faults, fault } = start();
  fault.next = true;
  work.mark(a);
  work.mark(b);
  await timers.advance(5000);
  expect([looked.length, faults.length]).toEqual([2, 2]);
  work.mark(a);
  work.close();
  work.mark(b);
  await timers.advance(60_000);
  expect([looked.length, timers.waiting]).toEqual([2, 0]);
});
