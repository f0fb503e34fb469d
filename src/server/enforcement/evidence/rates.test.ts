import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Rates } from './rates.ts';

const NOW = Date.UTC(2026, 10, 21);

test('requests are counted from the moment asked for, never more than there were since', () => {
  const calls = fc.array(
    fc.record({ wait: fc.integer({ min: 0, max: 90_000 }), requests: fc.integer({ min: 1, max: 9 }) }),
    {
      minLength: 1,
      maxLength: 400,
    },
  );
  fc.assert(
    fc.property(calls, fc.nat(400), (list, pick) => {
      const rates = new Rates();
      let at = NOW;
      const all = list.map(({ wait, requests }) => {
        rates.add('k', (at += wait), { requests, lost: requests * 2 });
        return { at, requests };
      });
      const since = all[pick % all.length]?.at ?? NOW;
      const real = all.filter((each) => each.at >= since).reduce((sum, { requests }) => sum + requests, 0);
      const { requests, lost } = rates.since('k', since);
      expect(requests).toBeLessThanOrEqual(real);
      expect(lost).toBe(requests * 2);
      // Everything of the last three days is there, as far as its hour has wholly passed since.
      const whole = all.filter(
        (each) => each.at - (each.at % 3_600_000) >= since && each.at >= at - 2 * 86_400_000,
      );
      expect(requests).toBeGreaterThanOrEqual(whole.reduce((sum, each) => sum + each.requests, 0));
      expect(rates.since('other', 0)).toEqual({ requests: 0, lost: 0 });
    }),
  );
});

test('what was seen in one second is one cell, and keys that were silent for days are forgotten', () => {
  const rates = new Rates();
  for (let i = 0; i < 1000; i++) rates.add('a', NOW + i, { requests: 1, lost: 0 });
  rates.add('b', NOW + 3 * 86_400_000, { requests: 1, lost: 0 });
  expect(rates.since('a', NOW)).toEqual({ requests: 1000, lost: 0 });
  rates.prune(NOW + 3 * 86_400_000 + 5000);
  expect(rates.size).toBe(1);
});

test('keys that anyone may invent fill a bounded memory: those that nothing was added to for longest go first', () => {
  const rates = new Rates(100);
  rates.add('a', 0, { requests: 1, lost: 0 });
  for (let i = 0; i < 99; i++) rates.add(`x${i}`, 0, { requests: 1, lost: 0 });
  rates.add('a', 2000, { requests: 1, lost: 0 });
  for (let i = 0; i < 50; i++) rates.add(`y${i}`, 0, { requests: 1, lost: 0 });
  expect(rates.size).toBeLessThanOrEqual(100);
  expect(rates.since('a', 0).requests).toBe(2);
});
