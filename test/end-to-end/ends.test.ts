import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { shopLines } from '../../examples/generate-shop.ts';
import { interlock, json, NOW, scratch } from './run.ts';

const dir = scratch();
const state = ['--state', join(dir, 'state')];
const id = (name: string) => `spiffe://shop.example/ns/shop/sa/${name}`;
const DAY = 86_400_000;

/** A set with one rule for whoever calls the cart, which ends so many days from now. */
function policiesEnding(name: string, days: number | undefined): string {
  const out = join(dir, name);
  mkdirSync(out, { recursive: true });
  const until = days === undefined ? '' : `, until: ${new Date(NOW + days * DAY).toISOString()}`;
  writeFileSync(
    join(out, 'cart.yaml'),
    `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart, namespace: shop }
spec:
  protects: { workload: ${id('cart')} }
  rules: [ { name: moving, from: [ { trustDomain: shop.example } ], to: [ { tcp: {} } ]${until} } ]
`,
  );
  return out;
}

beforeAll(async () => {
  const log = join(dir, 'log.jsonl');
  writeFileSync(log, shopLines().join('\n'));
  expect((await interlock('observe', log, '--trust-domain', 'shop.example', ...state)).code).toBe(0);
});

describe('a rule that ends', () => {
  const [soon, later, over] = [3, 30, -1].map((days) => policiesEnding(`in${days}`, days)) as [
    string,
    string,
    string,
  ];

  test('counts in a rehearsal as long as it is not over, and is named where it ends within a week', async () => {
    const { code, out } = await interlock('rehearse', soon, ...state);
    expect(code).toBe(0);
    expect(out).toMatch(/No flips/);
    expect(out).toMatch(/ENDS WITHIN A WEEK: \d+ accesses that only an exception allows/);
    expect(out).toMatch(/cart\/moving +2026-11-24/);
    const [{ ending } = { ending: [] }] = await json<{ ending: unknown[] }>('rehearse', soon, ...state);
    expect(ending[0]).toMatchObject({
      to: id('cart'),
      policy: 'cart',
      rule: 'moving',
      until: expect.any(String),
    });
    expect((await interlock('rehearse', later, ...state)).out).not.toContain('ENDS WITHIN');
    const ended = await interlock('rehearse', over, ...state);
    expect(ended.code).toBe(3);
    expect(ended.out).toMatch(/WOULD BE DENIED/);
  });

  test('is decided by the time of now, or the one that is asked about', async () => {
    const ask = (...more: string[]) =>
      interlock('decide', soon, '--from', id('web'), '--to', id('cart'), '--port', '8080', ...more);
    expect(await ask()).toMatchObject({ code: 0, out: expect.stringContaining('until 2026-11-24') });
    const after = await ask('--at', '2026-11-24T00:00:00Z');
    expect(after.code).toBe(3);
    expect(after.out.replaceAll(/\s+/g, ' ')).toContain('but it ended 2026-11-24T00:00:00.000Z');
  });

  test('is another set when it is renewed, and says so', async () => {
    const { code, out } = await interlock('diff', soon, later);
    expect(code).toBe(3);
    expect(out).toMatch(/newly authorized/);
    expect(out).toMatch(/until 2026-12-21T/);
    expect(out).toContain('(in part)');
  });

  test('is refused by an engine that knows no time, unless that is named', async () => {
    const refused = await interlock('render', soon, '--engine', 'istio', '--shadow', ...state);
    expect(refused.code).toBe(1);
    expect(refused.err.replaceAll(/\s+/g, ' ')).toMatch(/--allow-wider \S*end/);
    const taken = await interlock('render', soon, '--engine', 'istio', '--allow-wider', 'end', ...state);
    expect(taken).toMatchObject({ code: 0, out: expect.stringContaining('kind: AuthorizationPolicy') });
    const envoy = await interlock('render', soon, '--engine', 'envoy', ...state);
    expect(envoy).toMatchObject({ code: 0, out: expect.stringContaining('timestamp') });
  });
});
