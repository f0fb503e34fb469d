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
import { type Json, openSqliteStore } from '../../store/index.ts';
import { TestPlane } from '../testing.test-helper.ts';
import { flipAt, reportOf } from './evidence/evidence.test-helper.ts';
import { newRollout } from '../../rollout/index.ts';
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
  const faults: unknown[] = [];
  const reopen = () =>
    Rollouts.open({
      store: test.plane.store,
      recorder: test.plane.recorder,
      timers: test.timers,
      onChange: (workload, hasNewTarget) => changes.push([workload, hasNewTarget]),
      onFault: (error) => faults.push(error),
    });
  return { test, rollouts: await reopen(), changes, faults, reopen };
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

  test('that the database is slow to take are in force when it has taken them, though the caller was told to come back; one whose turn had not come is not made', async () => {
    const { test, rollouts, changes } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    const { store } = test.plane;
    const commit = store.commit.bind(store);
    const hang = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    store.commit = async (...args) => {
      asked.resolve();
      await hang.promise;
      await commit(...args);
    };
    const moved = rollouts.move(WHO, cart, 'shadow');
    const next = rollouts.move(WHO, cart, 'canary', { share: 0.5 });
    const outcomes = Promise.allSettled([moved, next]);
    // Its turn may come after that of what was changed here, and is read again.
    await asked.promise;
    await test.timers.advance(5000);
    expect(await outcomes).toMatchObject([
      { reason: { code: 'unavailable', message: expect.stringContaining('not known yet') } },
      { reason: { code: 'unavailable', message: expect.stringContaining('nothing was changed') } },
    ]);
    expect([rollouts.get(cart).stage, changes.length]).toEqual(['draft', 1]);
    hang.resolve();
    await rollouts.remove(WHO, cart, 'nothing').catch(() => {});
    expect([rollouts.get(cart).stage, changes.length]).toEqual(['shadow', 2]);
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

  test('of another replica that cannot be read stay as they were, and are not written over', async () => {
    const { test, rollouts, faults } = await open();
    await rollouts.apply(WHO, policies(document(cart, '/a')));
    const { store } = test.plane;
    const [kept] = await store.documents('rollout');
    const data = { ...rollouts.get(cart), target: [], ofLater: 1 } as unknown as Json;
    const version = kept?.version ?? 0;
    await store.commit([{ change: 'put', kind: 'rollout', name: cart, data, expect: version }]);
    await rollouts.follow();
    await rollouts.follow();
    expect(rollouts.get(cart).target).toHaveLength(1);
    await expect(rollouts.move(WHO, cart, 'shadow')).rejects.toMatchObject({ code: 'conflict' });
    expect(await store.documents('rollout')).toMatchObject([{ data: { ofLater: 1 } }]);
    // It is told once, and known as long as it is so: for readiness, and for proxies that come.
    const fault = expect.objectContaining({
      code: 'unavailable',
      message: expect.stringContaining(`${cart}: a newer version has written it (ofLater)`),
    });
    expect(faults).toEqual([fault]);
    expect(() => rollouts.checkAllReadable()).toThrow(fault);
    expect(() => rollouts.checkReadable(cart)).toThrow(fault);
    rollouts.checkReadable(web);
    const whole = { ...rollouts.get(cart), stage: 'shadow' } as unknown as Json;
    await store.commit([{ change: 'put', kind: 'rollout', name: cart, data: whole, expect: version + 1 }]);
    await rollouts.follow();
    rollouts.checkAllReadable();
    expect([rollouts.get(cart).stage, faults.length]).toEqual(['shadow', 1]);
  });

  test('that cannot be read keep a control plane from starting, with what to do: it would enforce less', async () => {
    const { test, rollouts, reopen } = await open();
    await rollouts.apply(WHO, policies(document(web, '/a')));
    const plain = (of: SpiffeId, more: object = {}) =>
      ({ ...newRollout(of, [], { by: WHO, now: 0 }), ...more }) as unknown as Json;
    const broken: readonly (readonly [Json, string])[] = [
      [{ workload: cart, stage: 'enforced' }, 'tier: '],
      [null, 'it: '],
      [plain(web), `it is of ${web})`],
      [plain(cart, { more: 1 }), 'a newer version has written it (more))'],
      [plain(cart, { stage: 'elsewhere' }), 'stage: '],
      [plain(cart, { enforced: [{ kind: 'x' }] }), 'apiVersion: '],
    ];
    for (const [data, fault] of broken) {
      await test.plane.store.commit([{ change: 'put', kind: 'rollout', name: cart, data }]);
      const error: unknown = await reopen().catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: 'state', subject: cart });
      expect(String(error)).toContain(`rollout ${cart} (${fault}`);
      expect(String(error)).toContain('restore the state from a copy');
    }
    await test.plane.store.commit([{ change: 'put', kind: 'rollout', name: cart, data: plain(cart) }]);
    expect((await reopen()).all.size).toBe(2);
  });

  test('of an earlier program are read as they are, with no floor below what they say', async () => {
    const { test, rollouts, reopen } = await open();
    const early = {
      workload: cart,
      tier: 'critical',
      stage: 'shadow',
      target: policies(document(cart, '/a').replace('experimental', 'critical')),
      share: 0,
      authentication: 'permissive',
      since: 1,
      by: WHO,
    } as unknown as Json;
    await test.plane.store.commit([{ change: 'put', kind: 'rollout', name: cart, data: early }]);
    rollouts.close();
    const later = await reopen();
    expect(later.get(cart)).toEqual(early);
    await later.apply(WHO, policies(document(cart, '/b')));
    expect(later.get(cart)).toMatchObject({ tier: 'experimental', floor: 'critical' });
    expect((await reopen()).get(cart)).toEqual(later.get(cart));
  });
});

const modules = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
const STARTS = `
  import { writeSync } from 'node:fs';
  import { readPolicies } from ${modules('../../policy/index.ts')};
  import { DEFAULT_AUTHORITY_TTL } from ${modules('../identity/domain.ts')};
  import { initialise } from ${modules('../identity/initialise.ts')};
  import { realTimers } from ${modules('../timers.ts')};
  import { openControlPlane } from ${modules('../identity/control-plane.ts')};
  import { Rollouts } from ${modules('./rollouts.ts')};
  const [dir, workload, ...yaml] = process.argv.slice(1);
  const domain = { trustDomain: 'example.org', algorithm: 'ec-p256', authorityTtl: DEFAULT_AUTHORITY_TTL, root: 'self' };
  await initialise(dir, domain, 'uid:0', realTimers);
  const plane = await openControlPlane({ state: dir, timers: realTimers });
  let told = 0;
  const open = (dies) => Rollouts.open({
    store: plane.store, recorder: plane.recorder, timers: realTimers,
    onChange(changed) {
      if (++told < dies) return;
      writeSync(1, changed);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    },
  });
`;
/** Enforces a policy, and is killed when that is durable but before anybody was told. */
const DIES_BEFORE_PUBLISHING = `${STARTS}
  const rollouts = await open(4);
  await rollouts.apply('uid:0', readPolicies(yaml[0]));
  await rollouts.move('uid:0', workload, 'shadow');
  await rollouts.move('uid:0', workload, 'canary', { share: 1 });
  await rollouts.move('uid:0', workload, 'enforced');
`;
/** Has a flip of a target, and is killed when another target is durable but before the flips are settled. */
const DIES_BEFORE_SETTLING = `${STARTS}
  import { openEvidence } from ${modules('./evidence/open.ts')};
  import { flipAt, reporterOf, reportOf } from ${modules('./evidence/evidence.test-helper.ts')};
  const rollouts = await open(3);
  await rollouts.apply('uid:0', readPolicies(yaml[0]));
  await rollouts.move('uid:0', workload, 'shadow');
  const evidence = await openEvidence({ state: dir, trustDomain: 'example.org', timers: realTimers, onFault: console.error });
  const targetVersion = BigInt(rollouts.get(workload).targetVersion);
  await evidence.take(reporterOf(), reportOf(1, { flips: [flipAt(Date.now(), { targetVersion })] }));
  if (evidence.flips({}).length !== 1) throw new Error('the flip is not shown');
  await rollouts.apply('uid:0', readPolicies(yaml[1]));
`;

/** Runs a script until it says that it was told of the last change, and kills it there. Gives its state. */
async function killed(script: string, ...yaml: readonly string[]): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-rollouts-'));
  undo.push(() => rmSync(dir, { recursive: true, force: true }));
  const state = join(dir, 's');
  const args = ['--input-type=module', '-e', script, state, cart, ...yaml];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(child, 'close');
  // Where the script fails it ends, and says nothing here.
  const [said] = await Promise.race([once(child.stdout, 'data'), ended]);
  expect(String(said)).toBe(cart);
  child.kill('SIGKILL');
  await ended;
  return state;
}

test('a step whose process was killed between the commit and the first proxy is in force after the restart', async () => {
  const state = await killed(DIES_BEFORE_PUBLISHING, document(cart, '/a'));
  const { openControlPlane } = await import('../identity/control-plane.ts');
  const { realTimers } = await import('../timers.ts');
  const plane = await openControlPlane({ state, timers: realTimers });
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

test('a control plane that was killed between another target and the end of its old flips shows none of them', async () => {
  const state = await killed(DIES_BEFORE_SETTLING, document(cart, '/a'), document(cart, '/b'));
  const { openControlPlane } = await import('../identity/control-plane.ts');
  const { realTimers } = await import('../timers.ts');
  const { openEvidence } = await import('./evidence/open.ts');
  const { Enforcing } = await import('./enforcing.ts');
  const plane = await openControlPlane({ state, timers: realTimers });
  const faults: unknown[] = [];
  const onFault = (error: unknown) => faults.push(error);
  const enforcing = await Enforcing.open({
    state,
    plane,
    timers: realTimers,
    onFault,
    onStep: () => {},
    openEvidence: (isCurrent) =>
      openEvidence({ state, trustDomain: 'example.org', timers: realTimers, isCurrent, onFault }),
  });
  const { evidence, rollouts } = enforcing;
  expect(evidence.flips({})).toEqual([]);
  const { targetVersion = 0 } = rollouts.get(cart);
  const reporter = {
    key: `${cart}#a`,
    kind: 'proxy',
    identity: cart,
    instance: 'a',
    workloads: [cart],
  } as const;
  const flip = (version: number, count: bigint) =>
    flipAt(Date.now(), { targetVersion: BigInt(version), count });
  // Its proxy was not told either, and goes on with the old target.
  await evidence.take(
    reporter,
    reportOf(2, { flips: [flip(targetVersion - 1, 1n), flip(targetVersion, 2n)] }),
  );
  expect(evidence.flips({ to: cart }).map(({ count }) => count)).toEqual([2]);
  await enforcing.close();
  await plane.close();
  expect(faults).toEqual([]);
  // Nor are they in the store any more, for whoever opens it next.
  const store = openSqliteStore(state);
  expect((await store.live()).flips).toMatchObject([{ count: 2, targetVersion }]);
  await store.close();
});
