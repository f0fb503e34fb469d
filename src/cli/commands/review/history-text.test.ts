import { expect, test } from 'vitest';
import { historyText } from './history-text.ts';

test.each<[string, unknown, string]>([
  ['rollout.shadow', { stage: 'shadow', share: 0, why: 'looks good' }, 'why looks good'],
  [
    'rollout.canary',
    {
      target: 'abc',
      tier: 'standard',
      checks: { policy: '1 policy', approvals: '1 of 1: ann', shadow: '2 days' },
      anyway: 'a fire',
      missing: ['drill', 'clocks'],
    },
    'on: shadow 2 days, approvals 1 of 1: ann; anyway a fire; not passed: drill, clocks',
  ],
  [
    'rollout.enforced',
    { canary: { share: 1, points: 2, allPoints: 2, requests: 120, deniedGood: 0, since: 1 } },
    '2 of 2 proxies, 120 requests judged, 0 known-good refused',
  ],
  ['review.approve', { target: 'abc', changes: [{ id: 'x' }] }, 'target abc; changes [{"id":"x"}]'],
  ['review.ask', null, ''],
  ['rollout.canary', { checks: 'odd', missing: 'odd', canary: 1 }, 'checks odd; missing odd; canary 1'],
])('%s with %j is told as "%s"', (act, details, expected) => {
  expect(historyText(act, details)).toBe(expected);
});
