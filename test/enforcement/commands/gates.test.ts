import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { HOUR_MS } from '../../../src/access/index.ts';
import { DEFAULT_GATES, gatesFileFrom } from '../../../src/rollout/index.ts';
import { accessAt, reportOf } from '../../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { CART, Commanded, POLICY } from './commanded.ts';

const EXAMPLE = new URL('../../../examples/gates.yaml', import.meta.url).pathname;
const OPEN = { ...DEFAULT_GATES.experimental, surprises: 1e9, days: 0 };
const at = Commanded.use({
  gates: { ...DEFAULT_GATES, experimental: OPEN },
  canary: { steps: [0.5, 1], stepMs: 1, requests: 7 },
});
const { run, json, file, proxy } = at;

/** The evidence of the cart: some calls in the hour before last. */
async function observed(): Promise<void> {
  await run('policy', 'apply', file('p.yaml', POLICY('cart')));
  const one = await proxy('a', { now: BigInt(Date.now()) });
  const earlier = Date.now() - 2 * HOUR_MS;
  const entries = [earlier, earlier + 60_000, Date.now()].map((time) => accessAt(time, { to: CART, ok: 5n }));
  one.send({ case: 'report', value: reportOf(1, { accesses: entries }) });
  await one.next('taken');
}

const missing = async (...args: string[]) => {
  const { value } = await json('readiness', '--to', CART, '--tier', 'experimental', ...args);
  const [one] = value['workloads'] as { tiers: { gates: { gate: string; state: string }[] }[] }[];
  return one?.tiers[0]?.gates.filter(({ state }) => state === 'missing').map(({ gate }) => gate);
};

describe('the gates of the control plane', () => {
  test('are what readiness and preflight judge by, until a file says others', async () => {
    await observed();
    expect(await missing()).toEqual([]);
    expect((await json('preflight', CART)).value['checks']).toContainEqual(
      expect.objectContaining({ name: 'surprises', passed: true }),
    );
    const stricter = file('gates.yaml', 'experimental: { days: 30 }');
    expect(await missing('--gates', stricter)).toContain('calendar');
    await at.plane.stop();
    // The defaults ask for a day.
    expect(await missing()).toContain('calendar');
    expect((await run('readiness', '--to', CART, '--json')).err.replaceAll(/\s+/g, ' ')).toContain(
      'The control plane of this state does not run: these are the default gates, not its own.',
    );
  });

  test('and its canary plan are told to whoever asks', async () => {
    expect(await at.plane.api.get('/v1/gates')).toEqual({
      gates: { ...DEFAULT_GATES, experimental: OPEN },
      canary: { steps: [0.5, 1], stepMs: 1, requests: 7 },
    });
  });
});

describe('a file of gates', () => {
  test('is in the examples, and says what it says', () => {
    expect(gatesFileFrom(parse(readFileSync(EXAMPLE, 'utf8')), EXAMPLE)).toEqual({
      gates: {
        ...DEFAULT_GATES,
        standard: { ...DEFAULT_GATES.standard, days: 14, surprises: 2 },
        experimental: { ...DEFAULT_GATES.experimental, lostShare: 0.1 },
      },
      canary: { steps: [0.05, 0.25, 1], stepMs: 1_800_000, requests: 1000 },
    });
  });

  test.each([
    ['standard: { days: 14', /gates\.yaml:\d+ is no YAML: /],
    ['canary: { steps: [10%, 50%] }', /gates\.yaml .*canary\.steps: the last step is 100%/],
    ['gold: {}', /gates\.yaml does not hold gates by tier/],
  ])('%s: is refused by the control plane before it serves, and by readiness', async (text, says) => {
    const bad = file('gates.yaml', text);
    for (const args of [
      ['authority', 'serve', '--listen', '127.0.0.1:0'],
      ['readiness', '--to', CART],
    ]) {
      const { code, out, err } = await run(...args, '--gates', bad);
      expect([code, out]).toEqual([1, '']);
      expect(err.replaceAll(/\s+/g, ' ')).toMatch(says);
    }
    const none = await run('authority', 'serve', '--listen', '127.0.0.1:0', '--gates', `${at.dir}/none.yaml`);
    expect(none.code).toBe(1);
  });
});
