import { expect, test } from 'vitest';
import { ManualTimers } from '../manual-timers.test-helper.ts';
import { limitedLog } from './limited-log.ts';

function fixture() {
  const timers = new ManualTimers();
  const lines: string[] = [];
  const log = limitedLog(
    {
      info: (_, message) => lines.push(message),
      warn: ({ leftOut = 0 }, message) => lines.push(`${message} ${String(leftOut)}`),
    },
    timers,
  );
  return { timers, lines, log };
}

test('a message that is said too often is left out, and counted in the next line', async () => {
  const { timers, lines, log } = fixture();
  for (let i = 0; i < 100; i++) log.warn({}, 'refused');
  log.warn({}, 'another');
  expect(lines).toHaveLength(31);
  await timers.advance(1000);
  log.warn({}, 'refused');
  log.warn({}, 'refused');
  expect(lines.slice(30)).toEqual(['another 0', 'refused 70']);
});

test("messages made of a caller's words do not get around it, nor fill the memory", () => {
  const { lines, log } = fixture();
  for (let i = 0; i < 10_000; i++) log.info({}, `process ${i} has ended`);
  expect(lines).toHaveLength(530);
});
