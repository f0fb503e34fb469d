import { HOUR_MS } from '../src/access/index.ts';
import { calendarOf, surprisesOf } from '../src/learning/readiness/index.ts';
import { type Family, type SimulatedWorkload, simulateWorkload } from './simulate-estate.ts';

/** How the bound did against what came, over many simulated workloads of one family after one recording. */
export interface Calibration {
  readonly workloads: number;
  /** Shares of the workloads in which the week's new accesses were at most the bound, and at most its week limit. */
  readonly held: number;
  readonly heldWeek: number;
  /** Share in which the expected number, which a simulation knows, was at most the bound. */
  readonly heldExpected: number;
  /** The same as `held` with the accesses counted that deployments of the week brought. */
  readonly heldWithNew: number;
  readonly medianBound: number;
  readonly medianActual: number;
  /** What the week's number was at most in 95 % of the workloads: the best constant bound with hindsight. */
  readonly actual95: number;
  /** Share of the workloads without any new access in the week: what a bound of 0 would have held. */
  readonly none: number;
}

export interface CalibrationOptions {
  readonly workloads: number;
  readonly seed: number;
  readonly window?: (recordedHours: number) => number;
  /** Leaves a workload out, by the hours of the coming week whose kind was never recorded. */
  readonly keep?: (unrecordedMonthEndHours: number) => boolean;
}

const DAY_MS = 24 * HOUR_MS;

/** Learns on `days` days of every simulated workload, and counts the first sightings of the seven days after. */
export function calibrate(family: Family, days: number, options: CalibrationOptions): Calibration {
  const bounds: number[] = [];
  const actuals: number[] = [];
  const held = { bound: 0, week: 0, expected: 0, withNew: 0, none: 0 };
  for (let i = 0; i < options.workloads; i++) {
    const workload = simulateWorkload(family, options.seed + i * 7919);
    const end = workload.start + days * DAY_MS;
    const { bound, weekLimit, unrecordedMonthEndHours } = judgedAt(family, workload, end, options);
    if (options.keep !== undefined && !options.keep(unrecordedMonthEndHours)) continue;
    const coming = workload.accesses.filter(({ at }) => at >= end && at < end + 7 * DAY_MS);
    const actual = coming.filter(({ bornAt }) => bornAt < end).length;
    bounds.push(bound);
    actuals.push(actual);
    if (actual <= bound) held.bound++;
    if (actual <= weekLimit) held.week++;
    if (expectedAfter(workload, end) <= bound) held.expected++;
    if (coming.length <= bound) held.withNew++;
    if (actual === 0) held.none++;
  }
  const n = bounds.length;
  return {
    workloads: n,
    held: held.bound / n,
    heldWeek: held.week / n,
    heldExpected: held.expected / n,
    heldWithNew: held.withNew / n,
    medianBound: quantile(bounds, 0.5),
    medianActual: quantile(actuals, 0.5),
    actual95: quantile(actuals, 0.95),
    none: held.none / n,
  };
}

function judgedAt(family: Family, workload: SimulatedWorkload, end: number, options: CalibrationOptions) {
  const first = workload.start / HOUR_MS;
  const hours = Array.from({ length: (end - workload.start) / HOUR_MS }, (_, i) => first + i);
  const span = { firstSeen: workload.start, lastSeen: end, hours };
  const sightings = workload.accesses
    .filter(({ at }) => at < end)
    .map(({ at }) => ({ firstSeen: at, hours: [] }));
  const deployedAt = family.deploymentsKnown ? workload.deployments.findLast((at) => at < end) : undefined;
  return surprisesOf(sightings, span, { now: end, deployedAt, window: options.window }, calendarOf(span));
}

/** Expected first sightings in the week after `end`, given what was seen before and when jobs are due. */
function expectedAfter({ accesses }: SimulatedWorkload, end: number): number {
  let sum = 0;
  for (const { at, bornAt, rate } of accesses) {
    if (at < end || bornAt >= end) continue;
    if (rate === undefined) sum += at < end + 7 * DAY_MS ? 1 : 0;
    else sum += 1 - Math.exp(-rate);
  }
  return sum;
}

/** The smallest value that at least this share of the values do not exceed. Sorts `values`. */
export function quantile(values: number[], share: number): number {
  values.sort((a, b) => a - b);
  return values[Math.max(0, Math.ceil(values.length * share) - 1)] ?? Number.NaN;
}

/** Wilson's 95 % interval of a share out of `n` (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927). */
export function wilson(share: number, n: number): [number, number] {
  const z = 1.959963985;
  const middle = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}
