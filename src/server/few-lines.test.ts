import { expect, test } from 'vitest';
import { ManualTimers } from '../node/manual-timers.test-helper.ts';
import { fewLines, type LeftOut, MOST_LINES } from './few-lines.ts';

test('of what comes without end so many lines a minute are told, and how many were not', async () => {
  const timers = new ManualTimers();
  const lines: (LeftOut & { readonly address: string })[] = [];
  const tell = fewLines(timers, (more, address: string) => void lines.push({ ...more, address }));
  for (let i = 0; i < 1000; i++) tell(`a${i}`);
  expect(lines).toHaveLength(MOST_LINES);
  expect(lines[0]).toEqual({ address: 'a0' });
  expect(lines.at(-1)?.note).toContain('not told');
  await timers.advance(59_999);
  tell('b');
  expect(lines).toHaveLength(MOST_LINES);
  await timers.advance(1);
  tell('c');
  tell('d');
  expect(lines.slice(MOST_LINES)).toEqual([{ address: 'c', leftOut: 1001 - MOST_LINES }, { address: 'd' }]);
});
