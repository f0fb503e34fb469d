import { describe, expect, test } from 'vitest';
import { HOUR_MS } from '../access/index.ts';
import { access, cart, digest, http, policy, rule } from './review.test-helper.ts';
import { changesOf } from './review-changes.ts';
import { ruleKey, unusedRules } from './review-tightening.ts';

const END = Date.UTC(2026, 11, 31);
const until = '2026-12-31T00:00:00Z';
const web = rule('web', 'web', ['GET'], '/items');
const exception = { ...web, until };

describe('an exception in a review', () => {
  const changes = (now: number | undefined, ...rules: Parameters<typeof policy>[0]) =>
    changesOf({
      workload: cart,
      target: [policy(rules)],
      ...(now === undefined ? {} : { now }),
      proposed: { policies: [policy([rule('web', 'web', ['GET', 'POST'], '/items')])], doubts: [] },
      accesses: [],
      rejected: new Map(),
      digest,
    }).map(({ kind, of, rule: { to } }) => [
      kind,
      of?.rule,
      to.flatMap((each) => ('http' in each ? (each.http.methods ?? []) : [])).join(),
    ]);

  test('is not proposed to last while it holds, and is once it is over', () => {
    expect(changes(END - 1, exception)).toEqual([['added', undefined, 'POST']]);
    expect(changes(END, exception)).toEqual([['added', undefined, 'GET,POST']]);
    expect(changes(undefined, exception)).toEqual([['added', undefined, 'GET,POST']]);
  });

  test('is not widened: what is added would end with it', () => {
    expect(changes(END - 1, web)).toEqual([['widened', 'web', 'POST']]);
    expect(changes(END - 1, exception)).toEqual([['added', undefined, 'POST']]);
  });

  test('is unused where nobody uses it while it holds, and nothing is said of one that is over', () => {
    const unused = (now: number, hoursAgo: number | undefined) => {
      const last = Math.floor(now / HOUR_MS);
      const hours = Array.from({ length: 24 * 8 }, (_, i) => last - i);
      return unusedRules({
        workload: cart,
        target: [policy([exception])],
        accesses:
          hoursAgo === undefined ? [] : [access('web', http('GET', '/items'), { hours: [last - hoursAgo] })],
        since: new Map([[ruleKey('cart', exception), now - 8 * 24 * HOUR_MS]]),
        days: 7,
        covered: new Set(hours),
        now,
        rejected: new Map(),
        digest,
      }).map(({ of }) => of?.rule);
    };
    expect(unused(END - HOUR_MS, undefined)).toEqual(['web']);
    expect(unused(END - HOUR_MS, 5)).toEqual([]);
    expect(unused(END, undefined)).toEqual([]);
  });
});
