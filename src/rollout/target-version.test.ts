import { expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import type { AccessPolicy } from '../policy/index.ts';
import { readEnforcement } from './enforcement-json.ts';
import { enforcementAt } from './plan.ts';
import { authenticate, moveTo, newRollout, retarget } from './stages.ts';
import { enforcementVersion, isOfTarget, targetVersionOf } from './target-version.ts';

const workload = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const at = (now: number) => ({ by: 'uid:0', now });
const point = { workload, instance: 'a' };
const policy: AccessPolicy = {
  apiVersion: 'interlock.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'p' },
  spec: { protects: { workload }, tier: 'standard', stage: 'shadow', rules: [], deny: [] },
};

test('the version grows with each other target, also where the clock stands still or goes back, and with nothing else', () => {
  const first = newRollout(workload, [policy], at(1000));
  const second = retarget(first, [], at(1000));
  const third = retarget(second, [policy], at(500));
  expect([first, second, third].map(({ targetVersion }) => targetVersion)).toEqual([1000, 1001, 1002]);
  expect(retarget(third, [], at(5000)).targetVersion).toBe(5000);
  const moved = moveTo(moveTo(third, 'shadow', at(6000)), 'canary', at(7000), 0.5);
  expect(authenticate(moved, 'strict', at(8000)).targetVersion).toBe(1002);
});

test('goes to the points with the target, and is read there', () => {
  const draft = newRollout(workload, [policy], at(1000));
  expect(enforcementAt(draft, point, [], 0)).not.toHaveProperty('targetVersion');
  const shadow = enforcementAt(moveTo(draft, 'shadow', at(2000)), point, [], 0);
  expect(shadow).toMatchObject({ target: [policy], targetVersion: 1000 });
  expect(readEnforcement(JSON.stringify(shadow), 'a test')).toEqual(shadow);
});

test('tells what the target of today judged: by its version, else by its time', () => {
  const rollout = newRollout(workload, [policy], at(1000));
  const cases: [boolean, Parameters<typeof isOfTarget>[0]][] = [
    [true, { targetVersion: 1000, lastSeen: 1 }],
    [false, { targetVersion: 999, lastSeen: 5000 }],
    [false, { targetVersion: 1001, lastSeen: 5000 }],
    [true, { lastSeen: 1000 }],
    [false, { lastSeen: 999 }],
  ];
  for (const [expected, seen] of cases)
    expect(isOfTarget(seen, rollout), JSON.stringify(seen)).toBe(expected);
  const { targetVersion: _, ...earlier } = rollout;
  for (const [, seen] of cases)
    expect([isOfTarget(seen, earlier), isOfTarget(seen, undefined)]).toEqual([true, true]);
});

test('comes back from the text that an Envoy is given, and from no other', () => {
  expect(targetVersionOf(enforcementVersion(1000, 'ab12'))).toBe(1000);
  for (const text of [
    enforcementVersion(undefined, 'ab12'),
    undefined,
    '',
    'ab12',
    '12',
    '12.',
    '.a',
    '1e9.a',
    '-1.a',
  ])
    expect(targetVersionOf(text), text).toBeUndefined();
});
