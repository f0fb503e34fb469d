import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { poissonCdf, poissonPrediction, poissonUpper } from './poisson.ts';

/** chi2inv(0.95; 2(k+1)) for k = 0 to 10, from the printed tables of the chi-squared distribution. */
const CHI2 = [5.991, 9.488, 12.592, 15.507, 18.307, 21.026, 23.685, 26.296, 28.869, 31.41, 33.924];

/** Straight from the definition, with its own factorials. */
function cdf(k: number, mean: number): number {
  let sum = 0;
  let term = Math.exp(-mean);
  for (let i = 0; i <= k; i++) {
    sum += term;
    term *= mean / (i + 1);
  }
  return sum;
}

/** P(Bin(n, p) >= m), straight from the definition. */
function binomialTail(n: number, m: number, p: number): number {
  let sum = 0;
  // In logarithms: the first terms are too small for a double, and the later ones are made from them.
  let logTerm = n * Math.log1p(-p);
  for (let i = 0; i <= n; i++) {
    if (i >= m) sum += Math.exp(logTerm);
    logTerm += Math.log((n - i) / (i + 1)) + Math.log(p) - Math.log1p(-p);
  }
  return sum;
}

describe('the Poisson bound', () => {
  test('is half the chi-squared quantile of the tables', () => {
    for (const [k, chi2] of CHI2.entries()) expect(poissonUpper(k)).toBeCloseTo(chi2 / 2, 3);
  });

  test('is -ln 0.05 for nothing seen', () => {
    expect(poissonUpper(0)).toBeCloseTo(-Math.log(0.05), 12);
  });

  test('is the mean at which so few events have the probability 5 %', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 120 }), (k) => {
        expect(cdf(k, poissonUpper(k))).toBeCloseTo(0.05, 9);
      }),
    );
  });

  test('agrees with the normal approximation where that is good, and refuses what is no count', () => {
    const k = 100_000;
    expect(poissonUpper(k)).toBeCloseTo(k + 1.644854 * Math.sqrt(k) + (1.644854 ** 2 + 2) / 3, -1);
    for (const bad of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 1e9]) {
      expect(() => poissonUpper(bad)).toThrow(RangeError);
    }
  });

  test('rests on a distribution function that agrees with the plain sum', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 80 }),
        fc.double({ min: 0.01, max: 100, noNaN: true }),
        (k, mean) => {
          expect(poissonCdf(k, mean)).toBeCloseTo(cdf(k, mean), 10);
        },
      ),
    );
  });
});

describe('the limit on one week', () => {
  test('is the smallest count that the conditional binomial exceeds with at most 5 %', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 30 }),
        fc.double({ min: 1, max: 60, noNaN: true }),
        fc.double({ min: 1, max: 60, noNaN: true }),
        (k, behind, ahead) => {
          const limit = poissonPrediction(k, behind, ahead);
          fc.pre(limit < 200);
          const p = ahead / (ahead + behind);
          expect(binomialTail(k + limit + 1, limit + 1, p)).toBeLessThanOrEqual(0.05 + 1e-9);
          expect(limit === 0 || binomialTail(k + limit, limit, p) > 0.05 - 1e-9).toBe(true);
        },
      ),
    );
  });

  test('is known by hand for nothing seen: 0.5^5, (1/3)^3 and 0.2^2 are the first below 5 %', () => {
    expect(poissonPrediction(0, 7, 7)).toBe(4);
    expect(poissonPrediction(0, 14, 7)).toBe(2);
    expect(poissonPrediction(0, 28, 7)).toBe(1);
  });

  test('is not bounded without a past, and is 0 without a future', () => {
    expect(poissonPrediction(0, 0, 7)).toBe(Number.POSITIVE_INFINITY);
    expect(poissonPrediction(5, 1e-12, 7)).toBe(Number.POSITIVE_INFINITY);
    expect(poissonPrediction(5, 7, 0)).toBe(0);
  });
});
