import { existsSync, readFileSync } from 'node:fs';
import { windowHours } from '../src/learning/readiness/index.ts';
import { type Calibration, calibrate, wilson } from './calibrate.ts';
import type { Family } from './simulate-estate.ts';

const NOTHING: Family = {
  name: '',
  requests: [100, 100_000],
  accesses: [5, 500],
  dailyJobs: 0,
  weeklyJobs: 0,
  monthEndJobs: 0,
  failovers: 0,
  failoverDays: [20, 365],
  deployments: 0,
  deploymentsKnown: true,
};
/** Human traffic on few accesses that are all seen soon: what else a family has stands out. */
const FEW = { accesses: [3, 10], requests: [10_000, 100_000] } as const;

/** The families whose accesses do not change. What the numbers mean is said where {@link Family} is. */
export const FAMILIES: readonly Family[] = [
  { ...NOTHING, name: 'long tail' },
  { ...NOTHING, name: 'seldom called', accesses: [3, 40], requests: [20, 2000] },
  { ...NOTHING, ...FEW, name: 'daily and weekly jobs', dailyJobs: 1, weeklyJobs: 2 },
  { ...NOTHING, ...FEW, name: 'month-end jobs', monthEndJobs: 1 },
  { ...NOTHING, ...FEW, name: 'failovers', failovers: 1 },
  { ...NOTHING, name: 'all of these', dailyJobs: 1, weeklyJobs: 1, monthEndJobs: 0.5, failovers: 0.5 },
];

/** Callers are deployed every ten days, and every second deployment brings new accesses. */
const CHANGING: readonly Family[] = [
  { ...NOTHING, name: 'deployments, times known', dailyJobs: 1, weeklyJobs: 1, deployments: 1 },
  {
    ...NOTHING,
    name: 'deployments, times unknown',
    dailyJobs: 1,
    weeklyJobs: 1,
    deployments: 1,
    deploymentsKnown: false,
  },
];

/** One batch at the rate at which it is most likely to come just after 28 quiet days: once in 31 days. */
const WORST: Family = {
  ...NOTHING,
  ...FEW,
  name: 'one batch, once in 31 days',
  failovers: 1,
  failoverDays: [31, 31],
};

const WINDOWS: readonly { readonly name: string; readonly window: (recorded: number) => number }[] = [
  { name: 'all but the first week (chosen)', window: windowHours },
  { name: 'last half, at most 28 days', window: (recorded) => Math.min(672, recorded / 2) },
  { name: 'last half, at most 7 days', window: (recorded) => Math.min(168, recorded / 2) },
  {
    name: 'all but the first day',
    window: (recorded) => Math.min(672, Math.max(recorded / 2, recorded - 24)),
  },
];

/** The families in which the choice of the window makes a difference. */
const SHOWN_BY_WINDOW = new Set(['long tail', 'failovers', 'all of these']);

const DAYS = [1, 3, 7, 14, 28, 35, 56];
const OPTIONS = { workloads: 2000, seed: 20_270_101 };
const DOCUMENT = new URL('../docs/readiness.md', import.meta.url);

/** Prints the calibration of the bound on first-week surprises as the tables that docs/readiness.md publishes. */
export async function bench(report: (line: string) => void): Promise<void> {
  const published = existsSync(DOCUMENT) ? readFileSync(DOCUMENT, 'utf8') : '';
  let differing = 0;
  const print = (line: string) => {
    if (line.startsWith('|') && !published.includes(`${line}\n`)) differing++;
    report(line);
  };
  const began = performance.now();
  for (const table of [heldTable, windowTable, unpromisedTable]) for (const line of table()) print(line);
  report(
    `${((performance.now() - began) / 1000).toFixed(0)} s; ${
      differing === 0
        ? 'docs/readiness.md has these numbers'
        : `${differing} rows differ from docs/readiness.md`
    }`,
  );
}

function* heldTable(): Generator<string> {
  yield* header([
    'family',
    'days recorded',
    'week at most the bound',
    '95 % interval',
    'expected number at most the bound',
    'week at most its limit',
    'median bound',
    'median week',
    '95 % of weeks at most',
    'weeks without a surprise',
  ]);
  for (const family of [...FAMILIES, ...CHANGING]) {
    for (const days of DAYS) {
      const c = calibrate(family, days, OPTIONS);
      yield row([
        family.name,
        days,
        percent(c.held),
        interval(c.held, c.workloads),
        percent(c.heldExpected),
        percent(c.heldWeek),
        c.medianBound.toFixed(2),
        c.medianActual,
        c.actual95,
        percent(c.none),
      ]);
    }
  }
  yield '';
}

function* windowTable(): Generator<string> {
  const shown = DAYS.filter((days) => days >= 7);
  yield* header(['family', 'window', ...shown.map((days) => `${days} days: held, median bound`)]);
  for (const family of FAMILIES.filter(({ name }) => SHOWN_BY_WINDOW.has(name))) {
    for (const { name, window } of WINDOWS) {
      const cells = shown.map((days) => {
        const c = calibrate(family, days, { ...OPTIONS, window });
        return `${percent(c.held)}, ${c.medianBound.toFixed(2)}`;
      });
      yield row([family.name, name, ...cells]);
    }
  }
  yield '';
}

function* unpromisedTable(): Generator<string> {
  yield* header([
    'outside of the promise',
    'days recorded',
    'week at most the bound',
    '95 % interval',
    'median bound',
  ]);
  const line = (name: string, days: number, c: Calibration, held: number) =>
    row([name, days, percent(held), interval(held, c.workloads), c.medianBound.toFixed(2)]);
  const monthEnd = FAMILIES.filter(({ monthEndJobs }) => monthEndJobs > 0);
  for (const family of monthEnd) {
    for (const days of [14, 28]) {
      const c = calibrate(family, days, { ...OPTIONS, keep: (unrecorded) => unrecorded > 0 });
      yield line(`${family.name}: only weeks with a month's end that was not recorded`, days, c, c.held);
    }
  }
  for (const days of [28, 35, 56]) {
    const c = calibrate(WORST, days, OPTIONS);
    yield line(WORST.name, days, c, c.held);
  }
  for (const family of CHANGING) {
    for (const days of [14, 28, 56]) {
      const c = calibrate(family, days, OPTIONS);
      yield line(`${family.name}: with what the week's own deployments brought`, days, c, c.heldWithNew);
    }
  }
}

function* header(names: readonly string[]): Generator<string> {
  yield row(names);
  yield `|${names.map((_, i) => (i === 0 ? '---' : '--:')).join('|')}|`;
}

function row(cells: readonly (string | number)[]): string {
  return `| ${cells.join(' | ')} |`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function interval(share: number, n: number): string {
  const [low, high] = wilson(share, n);
  return `${(low * 100).toFixed(1)} - ${(high * 100).toFixed(1)}`;
}

if (import.meta.main) await bench(console.log);
