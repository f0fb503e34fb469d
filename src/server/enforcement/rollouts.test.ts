import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import type { Actor } from '../identity/recorder.ts';
import { TestPlane } from '../testing.test-helper.ts';
import { Rollouts } from './rollouts.ts';

const WHO: Actor = 'uid:0';
const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const document = (workload: SpiffeId, path: string, name = 'own') => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${workload} }
  tier: experimental
  rules: [ { name: r, from: [ { workload: ${web} } ], to: [ { http: { methods: [GET], paths: [${path}] } } ] } ]
`;
const policies = (...documents: string[]) => readPolicies(documents.join('---\n'));

async function open() {
  const test = await TestPlane.make();
  undo.push(() => test.remove());
  const changes: [SpiffeId, boolean][] = [];
  const reopen = () =>
    Rollouts.open({
      store: test.plane.store,
      recorder: test.plane.recorder,
      timers: test.timers,
      onChange: (workload, hasNewTarget) => changes.push([workload, hasNewTarget]),
    });
  return { test, rollouts: await reopen(), changes, reopen };
}

describe('rollouts', () => {
  test('are kept with their audit entry before anybody is told, and are the same after a restart', async () => {
    const { test, rollouts, changes, reopen } = await open();
    expect(await rollouts.apply(WHO, policies(document(cart, '/a'), document(web, '/b')))).toEqual({
      workloads: [cart, web],
      created: ['own', 'own'],
      changed: [],
      unchanged: [],
    });
    await rollouts.move(WHO, cart, 'shadow', { why: 'looks good' });
    expect(changes).toEqual([
      [cart, true],
      [web, true],
      [cart, false],
    ]);
    const later = await reopen();
    expect([...later.all]).toEqual([...rollouts.all]);
    const log = await test.plane.store.audit(1, 100);
    expect(log.slice(-2)).toMatchObject([
      { act: 'policy.apply', what: '2 workloads' },
      { act: 'rollout.shadow', what: cart, details: { why: 'looks good' } },
    ]);
  });

  test('change nothing where the disk does not take them: neither here nor at the proxies', async () => {
    const { test, rollouts, changes } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    const before = rollouts.get(cart);
    const { store } = test.plane;
    const commit = store.commit.bind(store);
    store.commit = () => Promise.reject(new Error('no space'));
    await expect(rollouts.move(WHO, cart, 'shadow')).rejects.toThrow('no space');
    expect([rollouts.get(cart), changes.length]).toEqual([before, 1]);
    store.commit = commit;
    await rollouts.move(WHO, cart, 'shadow');
    expect(rollouts.get(cart).stage).toBe('shadow');
  });

  test('that the database is slow to take are in force when it has taken them, though the caller was told to come back', async () => {
    const { test, rollouts, changes } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    const { store } = test.plane;
    const commit = store.commit.bind(store);
    const hang = Promise.withResolvers<void>();
    store.commit = async (...args) => {
      await hang.promise;
      await commit(...args);
    };
    const moved = rollouts.move(WHO, cart, 'shadow');
    const next = rollouts.move(WHO, cart, 'canary', { share: 0.5 });
    const outcomes = Promise.allSettled([moved, next]);
    await test.timers.advance(5000);
    expect(await outcomes).toMatchObject([
      { reason: { code: 'unavailable' } },
      { reason: { code: 'unavailable' } },
    ]);
    expect([rollouts.get(cart).stage, changes.length]).toEqual(['draft', 1]);
    hang.resolve();
    await rollouts.remove(WHO, cart, 'nothing').catch(() => {});
    expect([rollouts.get(cart).stage, changes.length]).toEqual(['canary', 3]);
  });

  test('are moved one step after the other, each seeing what the one before has kept', async () => {
    const { rollouts } = await open();
    const steps = [
      rollouts.apply(WHO, policies(document(cart, '/a'))),
      rollouts.move(WHO, cart, 'shadow'),
      rollouts.move(WHO, cart, 'canary', { share: 0.5 }),
      rollouts.move(WHO, cart, 'enforced'),
      rollouts.move(WHO, cart, 'enforced'),
    ];
    const outcomes = await Promise.allSettled(steps);
    expect(outcomes.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'fulfilled',
      'rejected',
    ]);
    expect(rollouts.get(cart)).toMatchObject({
      stage: 'enforced',
      enforced: [{ metadata: { name: 'own' } }],
    });
  });

  test('are not moved by a decision on what they no longer are', async () => {
    const { rollouts } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    const decidedOn = rollouts.get(cart);
    await rollouts.move(WHO, cart, 'shadow');
    await expect(rollouts.move(WHO, cart, 'canary', { share: 0.1, decidedOn })).rejects.toMatchObject({
      code: 'conflict',
    });
    expect(rollouts.get(cart).stage).toBe('shadow');
  });

  test('take all documents or none, tell what is new, and keep what is in force until it is promoted', async () => {
    const { rollouts, changes } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    for (const step of ['shadow', 'canary', 'enforced'] as const)
      await rollouts.move(WHO, cart, step, step === 'canary' ? { share: 1 } : {});
    changes.length = 0;
    const again = policies(document(cart, '/a'), document(cart, '/b', 'second'));
    expect(await rollouts.apply(WHO, again)).toMatchObject({
      created: ['second'],
      unchanged: ['own'],
      changed: [],
    });
    expect(rollouts.get(cart)).toMatchObject({
      stage: 'shadow',
      target: [{}, {}],
      enforced: [{ metadata: { name: 'own' } }],
    });
    expect(await rollouts.apply(WHO, again)).toMatchObject({ workloads: [], unchanged: ['own', 'second'] });
    expect(changes).toEqual([[cart, true]]);
    await rollouts.remove(WHO, cart, 'second');
    await expect(rollouts.remove(WHO, cart, 'second')).rejects.toMatchObject({ code: 'not_found' });
    expect(rollouts.get(cart).target).toHaveLength(1);
  });

  test('whose document cannot be read enforce nothing, and are named', async () => {
    const { test, reopen } = await open();
    await test.plane.store.commit([
      { change: 'put', kind: 'rollout', name: cart, data: { workload: cart, stage: 'enforced' } },
      { change: 'put', kind: 'rollout', name: web, data: null },
    ]);
    const rollouts = await reopen();
    expect([rollouts.all.size, [...rollouts.unreadable.keys()].toSorted()]).toEqual([
      0,
      [cart, web].toSorted(),
    ]);
  });
});

const modules = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
/** Enforces a policy, and is killed when that is durable but before anybody was told. */
const DIES_BEFORE_PUBLISHING = `
  import { writeSync } from 'node:fs';
  import { readPolicies } from ${modules('../../policy/index.ts')};
  import { DEFAULT_AUTHORITY_TTL, initialise, realTimers } from ${modules('../index.ts')};
  import { openControlPlane } from ${modules('../identity/control-plane.ts')};
  import { Rollouts } from ${modules('./rollouts.ts')};
  const [dir, workload, yaml] = process.argv.slice(1);
  const domain = { trustDomain: 'example.org', algorithm: 'ec-p256', authorityTtl: DEFAULT_AUTHORITY_TTL, root: 'self' };
  await initialise(dir, domain, 'uid:0', realTimers);
  const plane = await openControlPlane({ state: dir, timers: realTimers });
  let told = 0;
  const rollouts = await Rollouts.open({
    store: plane.store, recorder: plane.recorder, timers: realTimers,
    onChange(changed) {
      if (++told < 4) return;
      writeSync(1, changed);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
  });
  await rollouts.apply('uid:0', readPolicies(yaml));
  await rollouts.move('uid:0', workload, 'shadow');
  await rollouts.move('uid:0', workload, 'canary', { share: 1 });
  await rollouts.move('uid:0', workload, 'enforced');
`;

test('a step whose process was killed between the commit and the first proxy is in force after the restart', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-rollouts-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const child = spawn(
    process.execPath,
    ['--input-type=module', '-e', DIES_BEFORE_PUBLISHING, join(dir, 's'), cart, document(cart, '/a')],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [said] = await once(child.stdout, 'data');
  expect(String(said)).toBe(cart);
  child.kill('SIGKILL');
  await once(child, 'close');
  const { openControlPlane } = await import('../identity/control-plane.ts');
  const { realTimers } = await import('../timers.ts');
  const plane = await openControlPlane({ state: join(dir, 's'), timers: realTimers });
  const rollouts = await Rollouts.open({
    store: plane.store,
    recorder: plane.recorder,
    timers: realTimers,
    onChange: () => {},
  });
  expect(rollouts.get(cart)).toMatchObject({ stage: 'enforced', enforced: [{ metadata: { name: 'own' } }] });
  expect((await plane.store.audit(1, 100)).at(-1)).toMatchObject({ act: 'rollout.enforced', what: cart });
  await plane.close();
});
