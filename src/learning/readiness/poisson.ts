/** The confidence of every bound in this room. */
export const CONFIDENCE = 0.95;

/** Past this many events the recurrences below would lose their range; nobody promotes a workload that has them. */
export const MAX_EVENTS = 1_000_000;

/**
 * The exact upper bound on the mean of a Poisson variable of which `k` events were seen:
 * 0.5 * chi2inv(confidence; 2(k+1)), the mean at which seeing k or fewer has the probability 1 - confidence.
 * (F. Garwood, Fiducial limits for the Poisson distribution, Biometrika 28, 1936; 0 events: -ln 0.05 = 2.996.)
 * Found by bisection on the distribution function, so no quantile approximation enters. `RangeError` for a `k`
 * that is not a count.
 */
export function poissonUpper(k: number, confidence = CONFIDENCE): number {
  checkCount(k);
  const miss = 1 - confidence;
  let low = k;
  let high = k + 12 * Math.sqrt(k + 1) + 12;
  // 60 halvings of an interval below 2e4 end below the spacing of doubles at any mean in range.
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (poissonCdf(k, middle) > miss) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** P(X <= k) of a Poisson variable with this mean: the regularised upper incomplete gamma function Q(k+1, mean). */
export function poissonCdf(k: number, mean: number): number {
  if (mean <= 0) return 1;
  let term = Math.exp(k * Math.log(mean) - mean - logFactorial(k));
  let sum = 0;
  // From the largest term of the tail downwards; what is left is below the last bit once a term is.
  for (let i = k; i >= 0; i--) {
    sum += term;
    term *= i / mean;
    if (i < mean && term < sum * 1e-17) break;
  }
  return Math.min(1, sum);
}

/**
 * The upper limit on how many events one future span of `ahead` brings, when `k` came in a past span of `behind`
 * at a rate that does not grow: the smallest y that the count exceeds with at most 1 - confidence. Given how many
 * fall into both spans together, each falls into the future one with ahead / (ahead + behind), so y is the
 * quantile of a negative binomial. (A. R. Thatcher, Relationships between Bayesian and confidence limits for
 * predictions, J. R. Stat. Soc. B 26, 1964.) Infinity where nothing lies behind, and beyond {@link MAX_EVENTS}.
 */
export function poissonPrediction(k: number, behind: number, ahead: number, confidence = CONFIDENCE): number {
  checkCount(k);
  if (ahead <= 0) return 0;
  if (!(behind > 0)) return Number.POSITIVE_INFINITY;
  const share = ahead / (ahead + behind);
  // In logarithms until the sum matters: (1 - share)^(k+1) alone underflows from a few hundred events on.
  const logShare = Math.log(share);
  let logTerm = (k + 1) * Math.log1p(-share);
  let sum = Math.exp(logTerm);
  let y = 0;
  while (sum < confidence) {
    if (y >= MAX_EVENTS) return Number.POSITIVE_INFINITY;
    logTerm += Math.log((k + 1 + y) / (y + 1)) + logShare;
    sum += Math.exp(logTerm);
    y++;
  }
  return y;
}

/** ln k!, exact to double precision: a sum for small k, Stirling's series beyond. */
function logFactorial(k: number): number {
  if (k < 32) {
    let sum = 0;
    for (let i = 2; i <= k; i++) sum += Math.log(i);
    return sum;
  }
  const x = k + 1;
  const inverse = 1 / (x * x);
  return (
    (x - 0.5) * Math.log(x) -
    x +
    0.5 * Math.log(2 * Math.PI) +
    (1 / 12 - inverse / 360 + (inverse * inverse) / 1260) / x
  );
}

function checkCount(k: number): void {
  if (!Number.isInteger(k) || k < 0 || k > MAX_EVENTS) throw new RangeError(`not a count of events: ${k}`);
}
