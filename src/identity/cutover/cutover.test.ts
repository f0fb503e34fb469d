import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import {
  authorityFor,
  createCutover,
  type Cutover,
  finishCutover,
  pauseCutover,
  positionOf,
  progressOf,
  raiseShare,
  resumeCutover,
  startCutover,
  turnBack,
} from './index.ts';

const id = (n: number) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/w${n}`);
const fresh = (share = 0.1, name = 'region-b') =>
  createCutover({ id: name, from: 'a', to: 'b', share, publishedIn: 7 }, [], 1);
const running = (share = 0.1, name?: string) => startCutover(fresh(share, name), 7, 2);
const moved = (cutover: Cutover, n: number) => authorityFor(id(n), 'a', [cutover]) === 'b';
const shares = fc.double({ min: 0, max: 1, noNaN: true });
const names = fc.string({ minLength: 1, maxLength: 12 });

describe('a cutover', () => {
  test('moves nobody before every connected agent has the bundle of its target', () => {
    const waiting = fresh(1);
    expect(moved(waiting, 1)).toBe(false);
    expect(() => startCutover(waiting, 6, 2)).toThrow(/not every connected agent has confirmed/);
    expect(startCutover(waiting, 7, 2).state).toBe('running');
    expect(startCutover(waiting, undefined, 2).state).toBe('running');
    expect(() => resumeCutover(turnBack(running(1), 3), 6, 4)).toThrow(/not every connected agent/);
  });

  test('moves a share s of 10,000 workloads within binomial bounds, whatever its name', () => {
    fc.assert(
      fc.property(names, fc.constantFrom(0, 0.01, 0.1, 0.5, 0.9, 1), (name, share) => {
        const cutover = running(share, name);
        let count = 0;
        for (let n = 0; n < 10_000; n++) if (moved(cutover, n)) count++;
        // Six standard deviations: one run in 500 million fails by chance.
        expect(Math.abs(count - 10_000 * share)).toBeLessThanOrEqual(
          6 * Math.sqrt(10_000 * share * (1 - share)),
        );
      }),
      { numRuns: 12 },
    );
  });

  test('raising the share never moves anyone back, turning back never moves anyone on', () => {
    fc.assert(
      fc.property(names, shares, shares, fc.nat(100_000), (name, one, other, n) => {
        const [less, more] = one < other ? [one, other] : [other, one];
        const before = running(less, name);
        if (moved(before, n)) expect(moved(raiseShare(before, more, 3), n)).toBe(true);
        const forward = running(more, name);
        const back = turnBack(forward, 4, less);
        if (!moved(forward, n)) expect(moved(back, n)).toBe(false);
        // Back and forward by the same hash: where it stood at a share, it stands there again.
        expect(moved(back, n)).toBe(moved(before, n));
      }),
      { numRuns: 2000 },
    );
  });

  test('an ID has its own position in each cutover, from 0 to below 1, and keeps it', () => {
    fc.assert(
      fc.property(names, fc.nat(), (name, n) => {
        const position = positionOf(name, id(n));
        expect(position).toBeGreaterThanOrEqual(0);
        expect(position).toBeLessThan(1);
        expect(positionOf(name, id(n))).toBe(position);
      }),
    );
    expect(positionOf('a', id(1))).not.toBe(positionOf('b', id(1)));
    // SHA-256 of "region-b\nspiffe://example.org/ns/shop/sa/w1", its first 13 hex digits over 16^13.
    expect(positionOf('region-b', id(1))).toBe(0x32a0644cc572d / 2 ** 52);
  });

  test('in a pause everybody stays where they are, and newcomers follow the share', () => {
    const paused = pauseCutover(running(0.5), 3);
    for (let n = 0; n < 50; n++) {
      expect(authorityFor(id(n), 'a', [paused], { current: 'a' })).toBe('a');
      expect(authorityFor(id(n), 'a', [paused], { current: 'b' })).toBe('b');
      expect(authorityFor(id(n), 'a', [paused])).toBe(moved(running(0.5), n) ? 'b' : 'a');
    }
  });

  test('counts who has moved, and who will at the next renewal', () => {
    const live = Array.from({ length: 1000 }, (_, n) => ({
      spiffeId: id(n),
      authority: n < 500 ? 'a' : 'b',
    }));
    const others = [
      { spiffeId: id(1), authority: 'c' },
      { spiffeId: id(2), authority: 'b', given: 'b' },
    ];
    const all = running(1);
    expect(progressOf(all, [...live, ...others])).toEqual({
      atFrom: 500,
      atTo: 500,
      willMove: 500,
      willReturn: 0,
      staying: {},
    });
    expect(progressOf(turnBack(all, 3), live)).toEqual({
      atFrom: 500,
      atTo: 500,
      willMove: 0,
      willReturn: 500,
      staying: {},
    });
    expect(progressOf(pauseCutover(all, 3), live)).toMatchObject({ willMove: 0, willReturn: 0 });
    const half = progressOf(running(0.5), live);
    expect(half.willMove).toBe(
      live.filter(({ spiffeId, authority }) => authority === 'a' && positionOf('region-b', spiffeId) < 0.5)
        .length,
    );
  });

  test('leaves with the old authority, or returns there, who cannot be with the new one', () => {
    const fault = (authority: string) => (authority === 'b' ? ('target' as const) : undefined);
    const all = running(1);
    expect(authorityFor(id(1), 'a', [all])).toBe('b');
    expect(authorityFor(id(1), 'a', [all], { fault })).toBe('a');
    expect(authorityFor(id(1), 'a', [{ ...all, state: 'done' }], { fault })).toBe('a');
    expect(authorityFor(id(1), 'a', [pauseCutover(all, 3)], { current: 'b', fault })).toBe('a');
    const live = Array.from({ length: 20 }, (_, n) => ({
      spiffeId: id(n),
      authority: n < 10 ? 'a' : 'b',
      fault: n % 10 === 0 ? undefined : n < 10 ? ('prefixes' as const) : ('target' as const),
    }));
    expect(progressOf(all, live)).toEqual({
      atFrom: 10,
      atTo: 10,
      willMove: 1,
      willReturn: 9,
      staying: {
        prefixes: { count: 9, ids: [1, 2, 3, 4, 5].map(id) },
        target: { count: 9, ids: [11, 12, 13, 14, 15].map(id) },
      },
    });
    // Who is not to move yet is not said to stay.
    expect(progressOf(running(0), live).staying).toEqual({});
  });

  test('ends when everybody is on one side', () => {
    const none = { atFrom: 0, atTo: 10, willMove: 0, willReturn: 0, staying: {} };
    expect(() => finishCutover(running(0.9), none, 5)).toThrow(/share is 90 %/);
    expect(() => finishCutover(running(1), { ...none, atFrom: 3 }, 5)).toThrow(/3 SVIDs are still of a/);
    const done = finishCutover(running(1), none, 5);
    expect(done?.state).toBe('done');
    const back = turnBack(running(1), 3);
    expect(() => finishCutover(back, none, 5)).toThrow(/10 SVIDs are still of b/);
    expect(finishCutover(back, { ...none, atTo: 0 }, 5)).toBeUndefined();
  });

  test('follows one that is done, and never runs in a circle', () => {
    const first: Cutover = { ...fresh(1), state: 'done' };
    expect(() =>
      createCutover({ id: 'n', from: 'a', to: 'c', share: 1, publishedIn: 1 }, [first], 1),
    ).toThrow(/begin from b/);
    const second = startCutover(
      createCutover({ id: 'n', from: 'b', to: 'a', share: 1, publishedIn: 1 }, [first], 1),
      9,
      1,
    );
    expect(authorityFor(id(1), 'a', [first, second])).toBe('a');
    expect(authorityFor(id(1), 'b', [first, second])).toBe('a');
    expect(authorityFor(id(1), 'other', [first, second])).toBe('other');
    const later: Cutover = { ...second, from: 'b', to: 'c', state: 'done', changedAt: first.changedAt + 1 };
    for (const kept of [
      [first, later],
      [later, first],
    ])
      expect(authorityFor(id(1), 'a', kept)).toBe('c');
  });

  test.each<[string, () => unknown, RegExp]>([
    [
      'two at once for one authority',
      () => createCutover({ id: 'n', from: 'a', to: 'c', share: 1, publishedIn: 1 }, [running()], 1),
      /is not over/,
    ],
    [
      'one against another',
      () => createCutover({ id: 'n', from: 'b', to: 'a', share: 1, publishedIn: 1 }, [running()], 1),
      /is not over/,
    ],
    [
      'a name twice',
      () => createCutover({ id: 'region-b', from: 'x', to: 'y', share: 1, publishedIn: 1 }, [running()], 1),
      /of this name/,
    ],
    [
      'no move',
      () => createCutover({ id: 'n', from: 'a', to: 'a', share: 1, publishedIn: 1 }, [], 1),
      /both authorities are the same/,
    ],
    ['a share above 1', () => fresh(1.01), /from 0 to 1/],
    ['a share that is no number', () => fresh(Number.NaN), /from 0 to 1/],
    ['a smaller share', () => raiseShare(running(0.5), 0.4, 3), /turn it back/],
    ['turning back to more', () => turnBack(running(0.5), 3, 0.6), /only 50 % have moved/],
    ['starting twice', () => startCutover(running(), 9, 3), /it is running/],
    ['pausing what waits', () => pauseCutover(fresh(), 3), /it is waiting: it can pause only/],
    ['raising in a pause', () => raiseShare(pauseCutover(running(), 3), 1, 3), /it is paused/],
    ['turning back what is done', () => turnBack({ ...running(1), state: 'done' }, 3), /it is done/],
  ])('refuses %s', (_what, act, expected) => {
    expect(act).toThrow(expected);
  });
});
