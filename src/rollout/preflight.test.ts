import { describe, expect, test } from 'vitest';
import { preflight, PREFLIGHT_CHECKS, type PreflightCheck, type PreflightFacts } from './preflight.ts';

const DAY = 86_400_000;
const NOW = 1_000 * DAY;

/** All is well for a critical workload; each row below makes one thing worse. */
const GOOD: PreflightFacts = {
  now: NOW,
  tier: 'critical',
  policies: 1,
  svids: { live: 2, stale: 0 },
  agentsBehind: [],
  proxies: [{ key: 'cart#1', connected: true, isUpToDate: true, clockOffset: 5000 }],
  plaintextCallers: [],
  wouldDeny: [],
  readiness: { tier: 'critical', ready: true, gates: [] },
  widerLosses: [],
  lastDrill: NOW - 29 * DAY,
};
const proxy = { key: 'cart#1', connected: true, isUpToDate: true, clockOffset: 5000 };
const missing = {
  gate: 'calendar',
  tier: 'critical',
  state: 'missing',
  have: '3 days',
  need: '28 days',
  what: 'record',
} as const;
const { readiness: _, ...unread } = GOOD;
const { lastDrill: __, ...undrilled } = GOOD;

const failed = (facts: PreflightFacts, what: 'enforce' | 'strict' = 'enforce') =>
  preflight(facts, what).flatMap((result) => (result.state === 'failed' ? [result.check] : []));

describe('preflight', () => {
  test('lists every check in its order, and passes them where all is well', () => {
    expect(preflight(GOOD, 'enforce').map(({ check }) => check)).toEqual(PREFLIGHT_CHECKS);
    expect(failed(GOOD)).toEqual([]);
  });

  test.each<[PreflightCheck, string, PreflightFacts]>([
    ['policy', 'none protects it', { ...GOOD, policies: 0 }],
    ['identities', 'nobody has the identity', { ...GOOD, svids: { live: 0, stale: 0 } }],
    ['identities', 'an SVID is not renewed', { ...GOOD, svids: { live: 2, stale: 1 } }],
    ['bundles', 'an agent lacks the newest bundle', { ...GOOD, agentsBehind: ['node1'] }],
    ['clocks', 'a clock is ahead', { ...GOOD, proxies: [{ ...proxy, clockOffset: 5001 }] }],
    ['clocks', 'a clock is behind', { ...GOOD, proxies: [{ ...proxy, clockOffset: -5001 }] }],
    ['proxies', 'there is none', { ...GOOD, proxies: [] }],
    ['proxies', 'one is away', { ...GOOD, proxies: [proxy, { ...proxy, connected: false }] }],
    [
      'proxies',
      'one refused the newest state',
      { ...GOOD, proxies: [{ ...proxy, isUpToDate: false, fault: 'bad regex' }] },
    ],
    [
      'plaintext',
      'somebody calls in plain text',
      { ...GOOD, plaintextCallers: [{ from: '10.0.0.9', connections: 3, lastSeen: NOW }] },
    ],
    ['flips', 'something would be denied', { ...GOOD, wouldDeny: [{ what: 'web GET /a', count: 3 }] }],
    ['readiness', 'nothing is known', unread],
    [
      'readiness',
      'a gate is missing',
      { ...GOOD, readiness: { tier: 'critical', ready: false, gates: [missing] } },
    ],
    ['losses', 'the engine would allow more', { ...GOOD, widerLosses: ['person-in-deny'] }],
    ['drill', 'there was none', undrilled],
    ['drill', 'the last one is too old', { ...GOOD, lastDrill: NOW - 30 * DAY }],
  ])('fails at %s alone where %s, and says what to do', (check, _why, facts) => {
    const results = preflight(facts, 'enforce').filter(({ state }) => state === 'failed');
    expect(results).toEqual([
      { check, state: 'failed', have: expect.stringMatching(/\S/), what: expect.stringMatching(/\S{3}/) },
    ]);
  });

  test('asks for the drill as often as the tier does', () => {
    const old = { ...GOOD, lastDrill: NOW - 40 * DAY };
    expect([failed(old), failed({ ...old, tier: 'standard' })]).toEqual([['drill'], []]);
    expect(failed({ ...undrilled, tier: 'experimental' })).toEqual([]);
  });

  test('before plain text is refused asks only for what that needs', () => {
    const callers = [{ from: '10.0.0.9', connections: 3, lastSeen: NOW }];
    expect(
      failed({ ...unread, plaintextCallers: callers, wouldDeny: [{ what: 'x', count: 1 }] }, 'strict'),
    ).toEqual(['plaintext']);
    const result = preflight({ ...GOOD, plaintextCallers: callers }, 'strict').find(
      ({ state }) => state === 'failed',
    );
    expect(result).toMatchObject({ what: expect.stringContaining('10.0.0.9 (3)') });
  });
});
