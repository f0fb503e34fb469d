import { expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { newRollout } from '../../rollout/index.ts';
import { exceptionsStanding } from './exceptions.ts';

const DAY = 86_400_000;
const END = Date.UTC(2026, 11, 31);
const CART = parseSpiffeId('spiffe://example.org/cart');

const policies = (until: string) =>
  readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: ${CART} }
  rules:
    - { name: moving, from: [ { trustDomain: example.org } ], to: [ { tcp: {} } ], until: "${until}", reason: ticket 7 }
    - { name: lasting, from: [ { trustDomain: example.org } ], to: [ { tcp: {} } ] }
`);

test('an exception is told of a week and a day before its end, once each, from both sets, and renewed it is another', () => {
  const target = policies('2026-12-31T00:00:00Z');
  const rollout = { ...newRollout(CART, target, { by: 'user:a', now: 0 }), enforced: target };
  const standing = (now: number, of = rollout) => exceptionsStanding(new Map([[CART, of]]), now);
  expect(standing(END - 7 * DAY - 1)).toEqual([]);
  const [week, ...more] = standing(END - 7 * DAY);
  expect(more).toEqual([]);
  expect(standing(END - DAY - 1).map(({ key }) => key)).toEqual([week?.key]);
  const [last] = standing(END - DAY);
  expect(last?.key).not.toBe(week?.key);
  expect(last?.notice).toMatchObject({
    type: 'exception-ending',
    subject: CART,
    summary: `the exception cart/moving (ticket 7) on ${CART} ends within a day, 2026-12-31T00:00:00Z: renew it, or replace it`,
    details: { policy: 'cart', rule: 'moving', reason: 'ticket 7' },
  });
  expect(standing(END)).toEqual([]);
  const renewed = { ...rollout, target: policies('2026-12-31T06:00:00Z') };
  expect(standing(END - 1, renewed).map(({ notice }) => notice.details['until'])).toEqual([
    '2026-12-31T00:00:00Z',
    '2026-12-31T06:00:00Z',
  ]);
});
