import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Backoff } from './backoff.ts';

describe('the wait between attempts', () => {
  it('doubles from 1 s to 30 s', () => {
    const low = new Backoff(() => 0);
    expect(Array.from({ length: 7 }, () => low.next())).toEqual([
      1000, 2000, 4000, 8000, 15000, 15000, 15000,
    ]);
    const high = new Backoff(() => 0.999_999);
    expect(Array.from({ length: 7 }, () => high.next())).toEqual([
      2000, 4000, 8000, 16000, 30000, 30000, 30000,
    ]);
  });

  it('starts over when the other side has answered', () => {
    const backoff = new Backoff(() => 0);
    backoff.next();
    backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(1000);
  });

  it('is never shorter than 1 s or longer than 30 s', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: 0, max: 0.999_999_9, noNaN: true }), { minLength: 1 }),
        (draws) => {
          let at = 0;
          const backoff = new Backoff(() => draws[at++ % draws.length] ?? 0);
          for (const _ of draws) {
            const wait = backoff.next();
            expect(wait).toBeGreaterThanOrEqual(1_000);
            expect(wait).toBeLessThanOrEqual(30_000);
          }
        },
      ),
    );
  });
});
