import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import {
  accessAt,
  cart as cartOfReports,
  reporterOf,
  reportOf,
  web as webOfReports,
} from '../enforcement/evidence/evidence.test-helper.ts';
import { Metrics } from '../telemetry/metrics.ts';
import { realTimers, type Timers } from '../timers.ts';
import { LOCAL, type TestApi, testApi, VIEWER } from './testing.test-helper.ts';

const DAY = 86_400_000;
const idOf = (name: string) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);
const timers = new ManualTimers();
const clockOf = (now: () => number): Timers => ({ now, random: () => 0, after: () => () => {} });
const inDays = (days: number) => new Date(timers.now() + days * DAY).toISOString();

function policy(name: string, rules: readonly string[]): string {
  return `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${idOf(name)} }
  tier: experimental
  rules:
${rules.map((rule, i) => `    - { name: r${i}, from: [ { workload: ${idOf('web')} } ], to: [ { tcp: {}, ports: [${i + 1}] } ]${rule} }`).join('\n')}
`;
}

let api: TestApi;
beforeAll(async () => {
  api = await testApi({ timers });
});
afterAll(() => api.close());

async function list(query = ''): Promise<Answer<'exceptions.list'>> {
  const answer = await api.ask(VIEWER, 'GET', `/v1/exceptions${query}`);
  expect([answer.status, api.faults]).toEqual([200, []]);
  return (await answer.json()) as Answer<'exceptions.list'>;
}

test('exceptions are listed by their end, with whom they are about, why, whose, and whether they are over', async () => {
  expect(await list()).toEqual({ exceptions: [] });
  const until = inDays(3);
  const yaml = [
    policy('cart', [`, until: "${inDays(30)}"`, '', `, until: "${until}", reason: the new one comes`]),
    policy('stock', [`, until: "${inDays(-1)}"`]),
  ].join('---');
  const applied = await api.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml }) });
  expect(applied.status).toBe(200);
  const { exceptions } = await list();
  expect(exceptions.map(({ policy, rule, over }) => `${policy}/${rule} ${over}`)).toEqual([
    'stock/r0 true',
    'cart/r2 false',
    'cart/r0 false',
  ]);
  expect(exceptions[1]).toEqual({
    workload: idOf('cart'),
    policy: 'cart',
    rule: 'r2',
    from: [idOf('web')],
    until,
    ends: Date.parse(until),
    over: false,
    reason: 'the new one comes',
    owners: [],
    sets: ['target'],
  });
  const first = await list('?limit=2');
  const second = await list(`?limit=2&after=${first.next}`);
  expect([...first.exceptions, ...second.exceptions]).toEqual(exceptions);
  expect(second.next).toBeUndefined();
});

test('what is measured counts those that end within a week', async () => {
  const measuredIn = async (days: number) => {
    const metrics = new Metrics();
    const now = () => timers.now() + days * DAY;
    const stop = metrics.follow({ ...api.serving.api, timers: clockOf(now) });
    const text = await metrics.registry.metrics();
    stop();
    return /^interlock_exceptions_ending (\d+)$/m.exec(text)?.[1];
  };
  expect([await measuredIn(0), await measuredIn(3), await measuredIn(25)]).toEqual(['1', '0', '1']);
});

test('an access is shown as it stands now: allowed while its exception holds, denied once that is over', async () => {
  let ahead = 0;
  const clock: Timers = { ...realTimers, now: () => realTimers.now() + ahead };
  const own = await testApi({ timers: clock });
  try {
    const changed = new Promise<void>((resolve) => own.serving.api.estate.onChange(resolve));
    const access = accessAt(clock.now() - 1000, { action: { kind: 'tcp', port: 1, name: '', text: '' } });
    await own.serving.enforcing.evidence.take(reporterOf(), reportOf(1, { accesses: [access] }));
    await changed;
    const apply = async (name: string, workload: string, more: string) => {
      const yaml = policy(name, [more])
        .replaceAll(idOf(name), workload)
        .replaceAll(idOf('web'), webOfReports);
      const done = await own.ask(LOCAL, 'POST', '/v1/policies', { body: JSON.stringify({ yaml }) });
      expect(done.status).toBe(200);
    };
    const state = async () => {
      const answer = await own.ask(VIEWER, 'GET', `/v1/accesses?to=${encodeURIComponent(cartOfReports)}`);
      const { accesses } = (await answer.json()) as Answer<'accesses.list'>;
      return accesses.map((each) => each.state);
    };
    await apply('cart', cartOfReports, `, until: "${new Date(clock.now() + DAY).toISOString()}"`);
    expect(await state()).toEqual(['allowed']);
    ahead = DAY;
    // Any change is a look at the clock; without one it is looked at by a timer.
    await apply('other', `${cartOfReports}-2`, `, until: "${new Date(clock.now() + DAY).toISOString()}"`);
    expect(await state()).toEqual(['would-deny']);
  } finally {
    await own.close();
  }
});
