import { HOUR_MS } from '../src/access/index.ts';

/** What a simulated protected workload is called by. Counts are means of Poisson variables. */
export interface Family {
  readonly name: string;
  /** Requests a week, drawn log-uniformly; few requests make a long unseen tail. */
  readonly requests: readonly [number, number];
  /** Distinct accesses of human traffic, drawn log-uniformly. */
  readonly accesses: readonly [number, number];
  readonly dailyJobs: number;
  readonly weeklyJobs: number;
  readonly monthEndJobs: number;
  /** Failover modes: each is a batch of accesses that appears together, at random. */
  readonly failovers: number;
  /** Mean days between two failovers of one mode, drawn log-uniformly for each. */
  readonly failoverDays: readonly [number, number];
  /** Deployments of callers in 10 days; half of them add accesses. */
  readonly deployments: number;
  /** Whether the recording knows when callers were deployed. */
  readonly deploymentsKnown: boolean;
}

/** An access of a simulated workload. Times are milliseconds since 1970 UTC. */
export interface SimulatedAccess {
  /** Its first call since the recording began or it was deployed. */
  readonly at: number;
  /** When it came to be: the recording's beginning, or the deployment that brought it. */
  readonly bornAt: number;
  /** How often it happens in a week on average, for an access that happens at random; absent for a job's. */
  readonly rate?: number;
}

export interface SimulatedWorkload {
  /** When the recording begins, milliseconds since 1970 UTC, on a whole hour. */
  readonly start: number;
  readonly accesses: readonly SimulatedAccess[];
  /** Deployments of callers, ascending, from before `start` on. */
  readonly deployments: readonly number[];
}

/** A small deterministic generator of numbers in [0, 1) (mulberry32, public domain). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const YEAR_START = Date.UTC(2027, 0, 1);
const DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;

/** The human week: how busy each hour is, from Monday 00:00, and its running sum with mean 1 an hour. */
const RHYTHM = (() => {
  const weights = Array.from({ length: 168 }, (_, h) => {
    const hour = h % 24;
    const awake = hour >= 7 && hour < 20 ? 1 : hour >= 20 ? 0.5 : 0.1;
    return h >= 120 ? awake * 0.35 : awake;
  });
  const mean = weights.reduce((a, b) => a + b, 0) / 168;
  const sums = [0];
  for (const weight of weights) sums.push((sums.at(-1) ?? 0) + weight / mean);
  return sums;
})();

/** One protected workload with its callers, from `start` until nine weeks later. */
export function simulateWorkload(family: Family, seed: number): SimulatedWorkload {
  const random = randomFrom(seed);
  const start = YEAR_START + Math.floor(random() * 365 * 24) * HOUR_MS;
  const accesses: SimulatedAccess[] = [];
  humanTraffic(family, random, start, accesses);
  jobs(family, random, start, accesses);
  const deployments = deploymentsOf(family, random, start, accesses);
  return { start, accesses, deployments };
}

/** Accesses whose request rates follow Zipf's law, spread over the human week. */
function humanTraffic(
  family: Family,
  random: () => number,
  start: number,
  accesses: SimulatedAccess[],
): void {
  const count = Math.round(logUniform(random, family.accesses));
  if (count === 0) return;
  const exponent = 0.8 + 0.8 * random();
  const requests = logUniform(random, family.requests);
  let sum = 0;
  for (let i = 1; i <= count; i++) sum += i ** -exponent;
  for (let i = 1; i <= count; i++) {
    const rate = (requests * i ** -exponent) / sum;
    accesses.push({ at: firstCall(random, start, rate), bornAt: start, rate });
  }
}

/** The first call after `from` of an access called `rate` times a week in the human rhythm. */
function firstCall(random: () => number, from: number, rate: number): number {
  const week = mondayBefore(from);
  const begun = busyUntil((from - week) / HOUR_MS);
  const busy = begun + (-Math.log(1 - random()) / rate) * 168;
  const weeks = Math.floor(busy / 168);
  return week + weeks * WEEK_MS + hourOfBusy(busy - weeks * 168) * HOUR_MS;
}

function busyUntil(hour: number): number {
  const whole = Math.floor(hour);
  const low = RHYTHM[whole] ?? 0;
  return low + ((RHYTHM[whole + 1] ?? low) - low) * (hour - whole);
}

function hourOfBusy(busy: number): number {
  let low = 0;
  let high = 168;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((RHYTHM[middle] ?? 0) <= busy) low = middle;
    else high = middle;
  }
  const base = RHYTHM[low] ?? 0;
  return low + (busy - base) / ((RHYTHM[low + 1] ?? base + 1) - base);
}

/** Daily, weekly and month-end jobs, each with accesses of its own, and failovers. */
function jobs(family: Family, random: () => number, start: number, accesses: SimulatedAccess[]): void {
  const batch = (at: number, mean: number, rate?: number) => {
    for (let n = 1 + geometric(random, mean - 1); n > 0; n--) {
      const access = { at: at + random() * 0.5 * HOUR_MS, bornAt: start };
      accesses.push(rate === undefined ? access : { ...access, rate });
    }
  };
  const midnight = Math.ceil(start / DAY_MS) * DAY_MS;
  for (let n = poisson(random, family.dailyJobs); n > 0; n--) {
    const at = midnight + Math.floor(random() * 24) * HOUR_MS;
    batch(at - DAY_MS >= start ? at - DAY_MS : at, 3);
  }
  for (let n = poisson(random, family.weeklyJobs); n > 0; n--) {
    // Half of the weekly jobs run at the weekend.
    const day = random() < 0.5 ? 5 + Math.floor(random() * 2) : Math.floor(random() * 5);
    const at = mondayBefore(start) + day * DAY_MS + Math.floor(random() * 24) * HOUR_MS;
    batch(at >= start ? at : at + WEEK_MS, 3);
  }
  for (let n = poisson(random, family.monthEndJobs); n > 0; n--) batch(nextMonthEnd(random, start), 3);
  for (let n = poisson(random, family.failovers); n > 0; n--) {
    const days = logUniform(random, family.failoverDays);
    batch(start - Math.log(1 - random()) * days * DAY_MS, 4, 7 / days);
  }
}

/** Deployments of callers; the accesses that one adds are born with it and follow their own rates. */
function deploymentsOf(
  family: Family,
  random: () => number,
  start: number,
  accesses: SimulatedAccess[],
): number[] {
  const at: number[] = [];
  if (family.deployments === 0) return at;
  for (let t = start - 60 * DAY_MS; t < start + 9 * WEEK_MS; ) {
    t += (-Math.log(1 - random()) * 10 * DAY_MS) / family.deployments;
    at.push(t);
    if (t < start || random() < 0.5) continue;
    for (let n = 1 + geometric(random, 1); n > 0; n--) {
      const rate = logUniform(random, [0.5, 1000]);
      accesses.push({ at: firstCall(random, t, rate), bornAt: t, rate });
    }
  }
  return at;
}

/** The first run of a month-end job at or after `start`: a fixed hour of the last day or of the first. */
function nextMonthEnd(random: () => number, start: number): number {
  const date = new Date(start);
  const hour = Math.floor(random() * 24);
  const lastDay = random() < 0.5;
  for (let month = date.getUTCMonth(); ; month++) {
    const first = Date.UTC(date.getUTCFullYear(), month, 1, hour);
    const at = lastDay ? first - DAY_MS : first;
    if (at >= start) return at;
  }
}

function mondayBefore(at: number): number {
  // 1970-01-05 was a Monday.
  return Math.floor((at - 4 * DAY_MS) / WEEK_MS) * WEEK_MS + 4 * DAY_MS;
}

function logUniform(random: () => number, [low, high]: readonly [number, number]): number {
  return low === 0 ? 0 : low * (high / low) ** random();
}

function poisson(random: () => number, mean: number): number {
  let count = 0;
  for (let left = Math.exp(-mean), product = random(); product > left; product *= random()) count++;
  return count;
}

function geometric(random: () => number, mean: number): number {
  return Math.floor(Math.log(1 - random()) / Math.log(mean / (1 + mean)));
}
