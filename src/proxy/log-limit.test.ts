import { expect, test } from 'vitest';
import { TestClock } from '../workload/testing.ts';
import type { LogLine } from './inbound/connection.ts';
import { limitedLog } from './log-limit.ts';

test('a caller that is refused again and again fills no log, and hides nobody else; what is left out is said', () => {
  const clock = new TestClock();
  const lines: LogLine[] = [];
  const log = limitedLog((line) => void lines.push(line), clock);
  for (let i = 0; i < 10_000; i++) log({ event: 'refused', from: `[2001:db8::1]:${i}`, reason: 'no' });
  log({ event: 'refused', from: '10.0.0.2:1', reason: 'other' });
  log({ event: 'cut', from: '[2001:db8::1]:9', reason: 'policy' });
  expect(lines.map(({ event, reason }) => `${event} ${reason}`)).toEqual([
    ...Array.from({ length: 5 }, () => 'refused no'),
    'refused other',
    'cut policy',
  ]);
  lines.length = 0;
  clock.advance(1000);
  expect(lines).toEqual([{ event: 'refused', reason: '9995 more lines of this kind were left out' }]);
  for (let i = 0; i < 10_000; i++) log({ event: 'busy', from: `10.0.${i >> 8}.${i & 255}`, reason: 'x' });
  expect(lines).toHaveLength(51);
  clock.advance(1000);
  clock.advance(1000);
  log({ event: 'busy', from: '10.0.0.1', reason: 'x' });
  expect(lines).toHaveLength(53);
});
