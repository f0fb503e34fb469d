import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { CART, Commanded, confirmAll, POLICY } from './commanded.ts';

const at = Commanded.use();
const { run, file, proxy } = at;

test('a release of a name that nothing has says that nothing was enforced there', async () => {
  await run('policy', 'apply', file('p.yaml', POLICY('cart')));
  await proxy('one').then(confirmAll);
  const press = async (...scope: string[]) => {
    const { code, out } = await run('release', ...scope, '--reason', 'a test');
    return { code, isNothing: out.includes('NOTHING WAS ENFORCED THERE') };
  };
  for (const [scope, name, wrong] of [
    ['--namespace', 'shop', 'shpo'],
    ['--policy', 'cart', 'crat'],
    ['--workload', CART, `${CART}x`],
  ] as const) {
    expect(await press(scope, wrong)).toEqual({ code: 0, isNothing: true });
    expect(await press(scope, name)).toEqual({ code: 0, isNothing: false });
  }
  expect(await press('--all')).toEqual({ code: 0, isNothing: false });
});

test('without a control plane the button is named that works without one', async () => {
  const { code, err } = await run('release', '--all', '--reason', 'a test', '--state', at.dir);
  expect(code).toBe(1);
  expect(err.replaceAll(/\s+/g, ' ')).toContain('press at each proxy: interlock release --local --state');
});

test('of several policy files the one with the mistake is named, with the line', async () => {
  const dir = join(at.dir, 'policies');
  mkdirSync(dir);
  writeFileSync(join(dir, 'good.yaml'), POLICY('cart'));
  writeFileSync(join(dir, 'wrong.yaml'), `${POLICY('other')}  rulez: []\n`);
  const { code, err } = await run('policy', 'apply', dir);
  expect(code).toBe(1);
  expect(err.replaceAll(/\s+/g, ' ')).toMatch(/policies\/wrong\.yaml:\d+: unknown key "rulez"/);
  expect((await run('policy', 'list')).out).toContain('No policy yet');
});

test('the audit log shows the reason that was given', async () => {
  await run('release', '--all', '--reason', 'checkout is failing');
  const { out } = await run('authority', 'audit');
  expect(out.replaceAll(/\s+/g, ' ')).toContain('release everything checkout is failing');
});
