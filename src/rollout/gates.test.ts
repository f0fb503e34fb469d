import { describe, expect, test } from 'vitest';
import type { Tier } from '../policy/index.ts';
import { DEFAULT_CANARY } from './canary.ts';
import { DEFAULT_GATES, gatesFileFrom, gatesFrom } from './gates.ts';
import { GATES, type GateFacts, type GateName, judge } from './judge.ts';

/** Good enough for every tier; each row below makes one thing worse. */
const BEST: GateFacts = {
  surprises: { bound: 0.7489 },
  calendar: { days: 35, hoursOfWeek: 168, missing: '', monthEnd: true },
  blindSpots: [],
  doubts: [],
  events: { lostShare: 0 },
};
const open = { acknowledged: false };
const acknowledged = { acknowledged: true };
const calendar = (days: number, hoursOfWeek = 168, monthEnd = true) => ({
  calendar: { days, hoursOfWeek, monthEnd, missing: hoursOfWeek === 168 ? '' : 'Sat-Sun' },
});
const lost = (lostShare: number) => ({ events: { lostShare } });
const bound = (value: number) => ({ surprises: { bound: value } });

/** Gate, facts, and the tiers that pass: the table of the design, each limit from both sides. */
const TABLE: readonly [GateName, Partial<GateFacts>, string][] = [
  ['surprises', bound(0.75), 'experimental standard critical'],
  ['surprises', bound(0.76), 'experimental standard'],
  ['surprises', bound(3), 'experimental standard'],
  ['surprises', bound(3.01), 'experimental'],
  ['surprises', bound(10), 'experimental'],
  ['surprises', bound(10.01), ''],
  ['surprises', bound(Number.POSITIVE_INFINITY), ''],
  ['calendar', calendar(0.9), ''],
  ['calendar', calendar(1), 'experimental'],
  ['calendar', calendar(6.9), 'experimental'],
  ['calendar', calendar(7, 100, false), 'experimental standard'],
  ['calendar', calendar(27.9), 'experimental standard'],
  ['calendar', calendar(28, 167), 'experimental standard'],
  ['calendar', calendar(28, 168, false), 'experimental standard'],
  ['calendar', calendar(28), 'experimental standard critical'],
  ['blind-spots', { blindSpots: [] }, 'experimental standard critical'],
  ['blind-spots', { blindSpots: [acknowledged] }, 'experimental standard'],
  ['blind-spots', { blindSpots: [acknowledged, open] }, 'experimental'],
  ['doubts', { doubts: [] }, 'experimental standard critical'],
  ['doubts', { doubts: [{ decidedBy: 'owner' }] }, 'experimental standard critical'],
  ['doubts', { doubts: [{ decidedBy: 'owner' }, { decidedBy: 'other' }] }, 'experimental standard'],
  ['doubts', { doubts: [{ decidedBy: 'owner' }, {}] }, 'experimental'],
  ['events-lost', lost(0.001), 'experimental standard critical'],
  ['events-lost', lost(0.0011), 'experimental standard'],
  ['events-lost', lost(0.01), 'experimental standard'],
  ['events-lost', lost(0.011), 'experimental'],
  ['events-lost', lost(0.05), 'experimental'],
  ['events-lost', lost(0.051), ''],
];
const ORDER: readonly Tier[] = ['experimental', 'standard', 'critical'];

describe('the gates', () => {
  test.each(TABLE)('%s with %o is passed for: %s', (gate, facts, expected) => {
    const passed = ORDER.filter((tier) => {
      const verdict = judge({ ...BEST, ...facts }, tier);
      const result = verdict.gates.find((one) => one.gate === gate);
      expect(verdict.ready).toBe(result?.state === 'passed');
      expect(result?.state).not.toBe('later');
      return result?.state === 'passed';
    });
    expect(passed.join(' ')).toBe(expected);
  });

  test.each(ORDER)(
    'are all listed for %s, in their order, each with what there is and what is needed',
    (tier) => {
      const { gates } = judge(BEST, tier);
      expect(gates.map(({ gate }) => gate)).toEqual(GATES);
      for (const result of gates) {
        expect(result).toMatchObject({
          tier,
          have: expect.stringMatching(/\S/),
          need: expect.stringMatching(/\S/),
        });
      }
    },
  );

  test('that only the control plane can open come later, and are neither passed nor in the way', () => {
    const later = (tier: Tier) => judge(BEST, tier).gates.filter(({ state }) => state === 'later');
    expect(later('critical')).toMatchObject([
      { gate: 'shadow', have: 'not started', need: '7 days without a flip' },
      { gate: 'approvals', have: 'not started', need: '2 people, none the author' },
      { gate: 'drill', have: 'not started', need: 'passed within 30 days' },
    ]);
    expect(later('standard').map(({ need }) => need)).toEqual([
      '24 hours without a flip',
      'one',
      'passed within 90 days',
    ]);
    expect(later('experimental').map(({ need }) => need)).toEqual(['1 hour without a flip']);
    expect(judge(BEST, 'critical').ready).toBe(true);
  });

  test('say what to do in words that a person can act on', () => {
    const worst: GateFacts = {
      surprises: { bound: 12.345 },
      ...calendar(6.5, 120, false),
      blindSpots: [open, acknowledged],
      doubts: [{}, { decidedBy: 'other' }],
      events: { lostShare: 0.0234 },
    };
    expect(judge(worst, 'critical').gates.slice(0, 5)).toMatchObject([
      {
        have: 'at most 12.4',
        need: 'at most 0.75',
        what: 'keep recording: 35 days of which the last 28 bring no new access meet it',
      },
      {
        have: '6.5 days, 120 of 168 hours of the week',
        need: "28 days, 168 of 168 hours of the week, a month's end",
        what: "record 21.5 more days, and the hours Sat-Sun (UTC), and a month's end (its last day and the next one)",
      },
      { have: '2 open, 1 acknowledged', need: 'none open', what: 'close 2 blind spots: each says how' },
      {
        have: '2, 1 decided',
        need: 'each decided by the owner',
        what: 'have 2 doubts accepted or refused by the owner',
      },
      { have: '2.4 %', need: 'at most 0.1 %' },
    ]);
    expect(judge(worst, 'standard').gates[0]).toMatchObject({
      what: 'keep recording: 14 days of which the last 7 bring no new access meet it',
    });
  });
});

test('a limit that no recording can meet is said to be one', () => {
  const gates = gatesFrom({ critical: { surprises: 0.5 } }, 'gates.yaml');
  expect(judge(BEST, 'critical', gates).gates[0]).toMatchObject({
    what: expect.stringMatching(/^raise the limit/),
  });
});

describe('gates from a document', () => {
  test('are the defaults where it says nothing, and change only what it says', () => {
    expect(gatesFrom({}, 'gates.yaml')).toEqual(DEFAULT_GATES);
    const gates = gatesFrom(
      { standard: { surprises: 5, monthEnd: true }, critical: { drillDays: 0 } },
      'gates.yaml',
    );
    expect(gates).toEqual({
      ...DEFAULT_GATES,
      standard: { ...DEFAULT_GATES.standard, surprises: 5, monthEnd: true },
      critical: { ...DEFAULT_GATES.critical, drillDays: 0 },
    });
    expect(judge({ ...BEST, ...bound(4) }, 'standard', gates).ready).toBe(true);
    expect(judge(BEST, 'critical', gates).gates.at(-1)).toMatchObject({
      gate: 'drill',
      state: 'passed',
      need: 'none',
    });
  });

  test('may ask for no bound on surprises: what is recorded too shortly for one passes as well', () => {
    const gates = gatesFrom({ experimental: { surprises: 'any' } }, 'gates.yaml');
    const short = { ...BEST, ...bound(Number.POSITIVE_INFINITY) };
    expect(judge(short, 'experimental', gates).gates[0]).toMatchObject({
      state: 'passed',
      need: 'any number',
    });
    expect(judge(short, 'standard', gates).gates[0]).toMatchObject({ state: 'missing' });
  });

  test.each<[string, unknown]>([
    ['no object', 7],
    ['an unknown tier', { gold: {} }],
    ['an unknown gate', { standard: { surprise: 5 } }],
    ['a number as text', { standard: { surprises: '5' } }],
    ['a share above 1', { standard: { lostShare: 5 } }],
    ['a number that is none', { standard: { surprises: Number.NaN } }],
    ['169 hours of the week', { critical: { hoursOfWeek: 169 } }],
    ['a key of every object', JSON.parse('{"__proto__": {"surprises": 100}}')],
  ])('are refused for %s', (_, document) => {
    expect(() => gatesFrom(document, 'gates.yaml')).toThrow('gates.yaml does not hold gates by tier');
  });

  test('say how canaries widen, in part or as a whole', () => {
    expect(gatesFileFrom(null, 'gates.yaml')).toEqual({ gates: DEFAULT_GATES, canary: DEFAULT_CANARY });
    expect(gatesFileFrom({ canary: { leastRequests: 0 } }, 'gates.yaml').canary).toEqual({
      ...DEFAULT_CANARY,
      requests: 0,
    });
    const canary = { steps: ['5 %', 0.25, '62.5%', 1], leastTime: '1h30m', leastRequests: 1000 };
    expect(gatesFileFrom({ canary, standard: { days: 14 } }, 'gates.yaml')).toEqual({
      gates: { ...DEFAULT_GATES, standard: { ...DEFAULT_GATES.standard, days: 14 } },
      canary: { steps: [0.05, 0.25, 0.625, 1], stepMs: 5_400_000, requests: 1000 },
    });
  });

  test.each<[string, object, string]>([
    ['steps that do not ascend', { steps: ['50%', '10%', '100%'] }, 'canary.steps: steps ascend'],
    ['a step twice', { steps: ['50%', 0.5, 1] }, 'canary.steps: steps ascend'],
    ['no end', { steps: ['10%', '50%'] }, 'canary.steps: the last step is 100%'],
    ['no step', { steps: [] }, 'canary.steps: '],
    ['a step of nothing', { steps: [0, 1] }, 'canary.steps.0: a share is written like 10% or 0.1'],
    ['a step of more than all', { steps: ['10%', '101%'] }, 'canary.steps.1: a share is written'],
    ['a percentage as a number', { steps: [10, 100] }, 'canary.steps.0: a share is written'],
    ['a time as a number', { leastTime: 10 }, 'canary.leastTime: '],
    ['a time in words', { leastTime: 'ten minutes' }, 'canary.leastTime: a duration is written like'],
    ['a time without end', { leastTime: '999999d' }, 'canary.leastTime: a duration is written like'],
    ['half a request', { leastRequests: 0.5 }, 'canary.leastRequests: '],
    ['an unknown key', { stepMs: 10 }, 'canary: '],
  ])('are refused for a canary with %s, and say where', (_, canary, says) => {
    expect(() => gatesFileFrom({ canary }, 'gates.yaml')).toThrow(
      `gates.yaml does not hold gates by tier (critical, standard, experimental) or a canary: ${says}`,
    );
  });
});
