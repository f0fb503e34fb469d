import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  activated,
  type AuthoritySlot,
  type Confirmations,
  nextSteps,
  revoked,
  SETTLE_MS,
  tainted,
  trusted,
} from './lifecycle.ts';

const DAY = 86_400_000;
const LIFE = 30 * DAY;
const ALL: Confirmations = { oldest: 100, behind: [], since: -DAY };
const NONE: Confirmations = { oldest: 1, behind: ['agent-1', 'agent-2'], since: -DAY };

const slot = (id: string, more: Partial<AuthoritySlot> = {}): AuthoritySlot => ({
  id,
  name: 'default',
  state: 'active',
  notBefore: 0,
  notAfter: LIFE,
  publishedIn: 1,
  ...more,
});
const next = slot('b', { state: 'prepared', notBefore: 15 * DAY, notAfter: 45 * DAY, publishedIn: 5 });
/** The steps as short text. */
const steps = (slots: readonly AuthoritySlot[], now: number, confirmations = ALL) =>
  nextSteps(slots, now, confirmations).map((step) =>
    step.step === 'prepare'
      ? `prepare ${step.name}`
      : step.step === 'warn'
        ? `warn ${step.warning}`
        : `${step.step} ${step.id}${'unconfirmed' in step ? ' without' : ''}`,
  );

describe('nextSteps', () => {
  test('goes on without agents after the time that was set, and never later than the end of the old one', () => {
    const at = (now: number, patience: number) =>
      nextSteps([slot('a'), next], now, NONE, patience).map(({ step }) => step);
    expect(at(26 * DAY - 1, DAY)).toEqual(['warn']);
    expect(at(26 * DAY, DAY)).toEqual(['activate']);
    expect(at(30 * DAY - 1, 90 * DAY)).toEqual(['warn']);
    expect(at(30 * DAY, 90 * DAY)).toEqual(['activate']);
    expect(at(25 * DAY, 0)).toEqual(['warn']);
  });

  test.each<[string, readonly AuthoritySlot[], number, Confirmations, string[]]>([
    ['before half of its life, nothing', [slot('a')], 15 * DAY - 1, ALL, []],
    ['at half of its life, prepare another', [slot('a')], 15 * DAY, ALL, ['prepare default']],
    ['another is prepared: wait', [slot('a'), next], 20 * DAY, ALL, []],
    ['with a sixth left, and confirmed: activate', [slot('a'), next], 25 * DAY, ALL, ['activate b']],
    ['with a sixth left, unconfirmed: only warn', [slot('a'), next], 25 * DAY, NONE, ['warn unconfirmed']],
    [
      'a moment before half of that sixth, unconfirmed: only warn',
      [slot('a'), next],
      27.5 * DAY - 1,
      NONE,
      ['warn unconfirmed'],
    ],
    [
      'with half of that sixth left: go on without them',
      [slot('a'), next],
      27.5 * DAY,
      NONE,
      ['activate b without'],
    ],
    [
      'ended, and the control plane has just come back: agents have their time',
      [slot('a'), next],
      30 * DAY,
      { ...NONE, since: 30 * DAY - 1 },
      ['warn expired'],
    ],
    [
      'no agent connected: activate',
      [slot('a'), next],
      25 * DAY,
      { ...ALL, oldest: undefined },
      ['activate b'],
    ],
    [
      'just started: agents have not come back',
      [slot('a'), next],
      25 * DAY,
      { oldest: undefined, behind: [], since: 25 * DAY },
      ['warn unconfirmed'],
    ],
    [
      'a while after the start',
      [slot('a'), next],
      25 * DAY + SETTLE_MS,
      { oldest: undefined, behind: [], since: 25 * DAY },
      ['activate b'],
    ],
    [
      'none prepared near the end: prepare, and say so',
      [slot('a')],
      26 * DAY,
      ALL,
      ['prepare default', 'warn not prepared'],
    ],
    ['ended with none prepared', [slot('a')], 31 * DAY, ALL, ['prepare default', 'warn expired']],
    [
      'a tainted prepared one does not count',
      [slot('a'), { ...next, taintedAt: 1 }],
      25 * DAY,
      ALL,
      ['prepare default', 'warn not prepared'],
    ],
    ['no active one, one prepared', [next], 16 * DAY, ALL, ['activate b']],
    ['no active one, one prepared, unconfirmed', [next], 16 * DAY, NONE, []],
    [
      'an old one whose SVIDs live',
      [slot('a', { state: 'old', lastSignedEnds: 10 * DAY }), slot('b', { notAfter: 99 * DAY })],
      10 * DAY,
      ALL,
      [],
    ],
    [
      'an old one whose last SVID ended',
      [slot('a', { state: 'old', lastSignedEnds: 10 * DAY }), slot('b', { notAfter: 99 * DAY })],
      10 * DAY + 1,
      ALL,
      ['prune a'],
    ],
    [
      'an old one of which nothing is known',
      [slot('a', { state: 'old' }), slot('b', { notAfter: 99 * DAY })],
      30 * DAY,
      ALL,
      [],
    ],
    [
      'an old one that has ended itself',
      [slot('a', { state: 'old' }), slot('b', { notAfter: 99 * DAY })],
      30 * DAY + 1,
      ALL,
      ['prune a'],
    ],
    [
      'each name for itself',
      [slot('a'), slot('c', { name: 'east', notAfter: 99 * DAY })],
      15 * DAY,
      ALL,
      ['prepare default'],
    ],
    ['nothing at all', [], 0, ALL, []],
  ])('%s', (_what, slots, now, confirmations, expected) => {
    expect(steps(slots, now, confirmations)).toEqual(expected);
  });

  test('a warning names the agents that hold it up', () => {
    const behind = Array.from({ length: 7 }, (_, i) => `agent-${i}`);
    const [step] = nextSteps([slot('a'), next], 26 * DAY, { ...NONE, behind });
    expect(step).toMatchObject({
      step: 'warn',
      message: expect.stringContaining('7 agents have not confirmed b: agent-0, agent-1'),
    });
  });

  test('followed over 200 days with agents that come and go, one signs at every time, confirmed, and it never ends', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 8, maxLength: 8 }), (delays) => {
        let slots: AuthoritySlot[] = [slot('s0')];
        let made = 0;
        const confirmedAt = new Map<number, number>([[1, 0]]);
        for (let now = 0; now < 200 * DAY; now += DAY / 4) {
          const versions = [...confirmedAt].filter(([, at]) => at <= now).map(([version]) => version);
          const confirmations: Confirmations = { oldest: Math.max(...versions), behind: [], since: -DAY };
          for (const step of nextSteps(slots, now, confirmations)) {
            if (step.step === 'prepare') {
              made++;
              const publishedIn = made + 1;
              confirmedAt.set(publishedIn, now + (delays[made % delays.length] ?? 0) * DAY);
              slots.push(
                slot(`s${made}`, { state: 'prepared', notBefore: now, notAfter: now + LIFE, publishedIn }),
              );
            } else if (step.step === 'activate') slots = activated(slots, step.id, { now, confirmations });
            else if (step.step === 'prune') slots = slots.filter(({ id }) => id !== step.id);
          }
          const active = slots.filter(({ state }) => state === 'active');
          expect(active).toHaveLength(1);
          expect(active[0]?.notAfter).toBeGreaterThan(now);
          expect(confirmations.oldest).toBeGreaterThanOrEqual(
            active[0]?.publishedIn ?? Number.POSITIVE_INFINITY,
          );
          expect(slots.length).toBeLessThanOrEqual(3);
        }
        expect(made).toBeGreaterThan(5);
      }),
      { numRuns: 50 },
    );
  });
});

describe('by hand', () => {
  const options = { now: 16 * DAY, confirmations: ALL };
  const states = (slots: readonly AuthoritySlot[]) =>
    slots.map(({ id, state, taintedAt }) => `${id} ${state}${taintedAt === undefined ? '' : ' tainted'}`);

  test('activating makes the one before OLD, and leaves other names alone', () => {
    const other = slot('c', { name: 'east' });
    expect(states(activated([slot('a'), next, other], 'b', options))).toEqual([
      'a old',
      'b active',
      'c active',
    ]);
  });

  test('tainting the active one lets the prepared one take over first', () => {
    expect(states(tainted([slot('a'), next], 'a', options))).toEqual(['a old tainted', 'b active']);
    expect(states(tainted([slot('a', { state: 'old' }), slot('b')], 'a', options))).toEqual([
      'a old tainted',
      'b active',
    ]);
    const once = tainted([slot('a', { state: 'old' })], 'a', options);
    expect(tainted(once, 'a', { ...options, now: 20 * DAY })).toEqual(once);
  });

  test('revoking takes it out of the bundle, and an ended one is not in it either', () => {
    const slots = revoked(
      [slot('a', { state: 'old', taintedAt: 1 }), slot('b', { notAfter: 99 * DAY })],
      'a',
      5,
    );
    expect(trusted(slots, 6).map(({ id }) => id)).toEqual(['b']);
    expect(trusted([slot('a', { notAfter: 5 })], 5)).toEqual([]);
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      'an unconfirmed one',
      () => activated([slot('a'), next], 'b', { ...options, confirmations: NONE }),
      /2 agents have not confirmed it/,
    ],
    ['an active one again', () => activated([slot('a')], 'a', options), /it is active, not prepared/],
    ['a tainted one', () => activated([{ ...next, taintedAt: 1 }], 'b', options), /tainted/],
    ['one that has ended', () => activated([next], 'b', { ...options, now: 45 * DAY }), /expired/],
    ['one that is not there', () => activated([next], 'x', options), /there is no authority x/],
  ])('activating %s is refused', (_what, act, expected) => {
    expect(act).toThrow(expected);
  });

  test('a person can force an unconfirmed one', () => {
    expect(states(activated([next], 'b', { now: 1, confirmations: NONE, force: true }))).toEqual([
      'b active',
    ]);
  });

  test('the active one is not tainted while nothing confirmed can take over', () => {
    expect(() => tainted([slot('a')], 'a', options)).toThrow(/no other one is prepared/);
    expect(() => tainted([slot('a'), next], 'a', { ...options, confirmations: NONE })).toThrow(
      /have not confirmed/,
    );
    expect(() => tainted([slot('a'), { ...next, taintedAt: 1 }], 'a', options)).toThrow(/no other one/);
  });

  test('only a tainted one is revoked', () => {
    expect(() => revoked([slot('a', { state: 'old' })], 'a', 1)).toThrow(/taint it first/);
  });
});
