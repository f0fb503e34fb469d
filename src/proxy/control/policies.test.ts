import { create } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { type ProxyState, ProxyStateSchema } from '../../proto/proxy/index.ts';
import type { AccessPolicy } from '../../policy/index.ts';
import type { Enforcement } from '../../rollout/index.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { Verdicts } from '../verdicts/verdicts.ts';
import { Policies } from './policies.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const web = { kind: 'workload', id: parseSpiffeId('spiffe://example.org/ns/shop/sa/web') } as const;
const get = { kind: 'http', port: 8080, method: 'GET', path: '/a' } as const;

const policy = (paths: readonly string[]): AccessPolicy => ({
  apiVersion: 'interlock.dev/v1alpha1',
  kind: 'AccessPolicy',
  metadata: { name: 'cart' },
  spec: {
    protects: { workload: cart },
    tier: 'standard',
    stage: 'draft',
    rules: [{ name: 'web', from: [{ workload: web.id }], to: [{ http: { paths } }] }],
    deny: [],
  },
});
const enforced = (paths: readonly string[]): Enforcement => ({
  workload: cart,
  authentication: 'strict',
  stage: 'enforced',
  enforced: [policy(paths)],
  target: [policy(paths)],
});
const stateOf = (version: number, ...enforcements: unknown[]): ProxyState =>
  create(ProxyStateSchema, {
    version: BigInt(version),
    workloads: enforcements.map((each) => ({
      workload: cart,
      enforcement: Buffer.from(JSON.stringify(each)),
    })),
  });

class Files {
  readonly texts = new Map<string, string>();
  isFull = false;
  read(name: string) {
    return this.texts.get(name);
  }
  write(name: string, text: string) {
    if (this.isFull) throw new Error('no space left');
    this.texts.set(name, text);
  }
}

function open(files = new Files(), timers = new ManualTimers(1000), workloads = [cart]) {
  const verdicts = new Verdicts(undefined, () => timers.now());
  const rejudged: number[] = [];
  verdicts.onReplace(() => rejudged.push(timers.now()));
  const faults: unknown[] = [];
  const policies = new Policies({
    files,
    now: () => timers.now(),
    after: (ms, run) => timers.after(ms, run),
    workloads,
    authentication: 'permissive',
    replace: (next) => verdicts.replace(next),
    onFault: (error) => faults.push(error),
  });
  const isAllowed = () => verdicts.judge(cart, web, get).allowed;
  return { policies, verdicts, faults, files, timers, isAllowed, rejudged };
}
test('a state that forgets a workload is refused: what is not named would not be governed', () => {
  const { policies, isAllowed } = open();
  policies.take(stateOf(1, enforced(['/b'])));
  expect(() => policies.take(stateOf(2))).toThrow(/says nothing of .*cart/);
  expect([isAllowed(), policies.version]).toEqual([false, 1]);
});

test('a workload that has come since the state was kept starts as a new one', () => {
  const first = open();
  first.policies.take(stateOf(1, enforced(['/b'])));
  const { verdicts, isAllowed } = open(first.files, first.timers, [cart, web.id]);
  expect([verdicts.authenticationOf(web.id), isAllowed()]).toEqual(['permissive', false]);
});

const press = { reason: 'checkout is down', by: 'root', at: 1000 };

test('before any control plane has spoken nothing is denied, and connections are taken as the proxy was told', () => {
  const { isAllowed, verdicts, policies } = open();
  expect([isAllowed(), verdicts.authenticationOf(cart), policies.version]).toEqual([true, 'permissive', 0]);
});

test('the last state is in force again after a restart without a control plane', () => {
  const first = open();
  first.policies.take(stateOf(7, enforced(['/b'])));
  expect(first.isAllowed()).toBe(false);
  const second = open(first.files);
  expect([second.isAllowed(), second.policies.version, second.verdicts.authenticationOf(cart)]).toEqual([
    false,
    7,
    'strict',
  ]);
});

test('a state that cannot be judged by changes nothing', () => {
  const { policies, isAllowed } = open();
  policies.take(stateOf(1, enforced(['/b'])));
  expect(() => policies.take(stateOf(2, enforced(['no path'])))).toThrow(/path/);
  expect(() => policies.take(stateOf(3, { workload: 'nobody' }))).toThrow(/cannot be read/);
  expect([isAllowed(), policies.version]).toEqual([false, 1]);
});

test('a damaged state denies everything until a control plane answers', () => {
  const { files, policies } = open();
  policies.take(stateOf(7, enforced(['/a'])));
  files.texts.set('state.json', '{"version":7,');
  const next = open(files);
  expect([next.isAllowed(), next.faults.length]).toEqual([false, 1]);
  next.policies.take(stateOf(8, enforced(['/a'])));
  expect(next.isAllowed()).toBe(true);
});

describe('the button on this machine', () => {
  test('takes enforcement away at once, leaves authentication, and is undone by hand', () => {
    const { policies, isAllowed, verdicts } = open();
    policies.take(stateOf(1, enforced(['/b'])));
    policies.release(press);
    expect([isAllowed(), verdicts.authenticationOf(cart)]).toEqual([true, 'strict']);
    expect(verdicts.judge(cart, web, get).after).toMatchObject({ allowed: false });
    expect([policies.arm(), isAllowed()]).toEqual([1, false]);
  });

  test('outlives a restart and every new state of the control plane', () => {
    const first = open();
    first.policies.take(stateOf(1, enforced(['/b'])));
    first.policies.release(press);
    const second = open(first.files);
    expect(second.isAllowed()).toBe(true);
    second.policies.take(stateOf(2, enforced(['/c'])));
    expect(second.isAllowed()).toBe(true);
  });

  test('ends by itself, after a restart as well', async () => {
    const { policies, files, timers, isAllowed } = open();
    policies.take(stateOf(1, enforced(['/b'])));
    policies.release({ ...press, until: 5000 });
    const second = open(files, timers);
    expect([isAllowed(), second.isAllowed()]).toEqual([true, true]);
    await timers.advance(4000);
    expect([isAllowed(), second.isAllowed()]).toEqual([false, false]);
  });

  test('works on a full disk, and on a damaged state', () => {
    const { policies, files, isAllowed, faults } = open();
    policies.take(stateOf(1, enforced(['/b'])));
    files.isFull = true;
    policies.release(press);
    expect([isAllowed(), faults.length]).toEqual([true, 1]);
    files.texts.set('state.json', '');
    const next = open(files);
    next.policies.release(press);
    expect(next.isAllowed()).toBe(true);
  });

  test('may be for one workload only', () => {
    const { policies, isAllowed } = open();
    policies.take(stateOf(1, enforced(['/b'])));
    expect(() => policies.release({ ...press, workload: web.id })).toThrow('not served here');
    expect([isAllowed(), policies.releases]).toEqual([false, []]);
    policies.release({ ...press, workload: cart });
    expect(isAllowed()).toBe(true);
  });
});

describe('a rule that has an end', () => {
  const HOUR = 3_600_000;
  const START = Date.UTC(2026, 11, 31) - HOUR;
  const ending = (until: string): Enforcement => {
    const policies = enforced(['/a']).enforced?.map((each) => ({
      ...each,
      spec: { ...each.spec, rules: each.spec.rules.map((rule) => ({ ...rule, until })) },
    }));
    return {
      ...enforced(['/a']),
      ...(policies === undefined ? {} : { enforced: policies, target: policies }),
    };
  };
  const UNTIL = '2026-12-31T00:00:00Z';

  test('ends by the clock of this proxy, with nobody else there, and what is open is judged again then', async () => {
    const { policies, isAllowed, timers, rejudged } = open(new Files(), new ManualTimers(START));
    policies.take(stateOf(1, ending(UNTIL)));
    expect([isAllowed(), rejudged.length]).toEqual([true, 2]);
    await timers.advance(HOUR - 1);
    expect([isAllowed(), rejudged.length]).toEqual([true, 2]);
    await timers.advance(1);
    expect([isAllowed(), rejudged.slice(2)]).toEqual([false, [START + HOUR]]);
    // Once: nothing ends after that.
    await timers.advance(HOUR);
    expect([isAllowed(), rejudged.length]).toEqual([false, 3]);
    policies.close();
    expect(timers.waiting).toBe(0);
  });

  test('is over after a restart without a control plane, and ends after one that came before', async () => {
    const first = open(new Files(), new ManualTimers(START));
    first.policies.take(stateOf(1, ending(UNTIL)));
    const late = open(first.files, new ManualTimers(START + HOUR));
    expect(late.isAllowed()).toBe(false);
    const early = open(first.files, new ManualTimers(START));
    expect(early.isAllowed()).toBe(true);
    await early.timers.advance(HOUR);
    expect([early.isAllowed(), early.rejudged.length]).toEqual([false, 2]);
  });

  test('is noticed within half a minute where the clock jumps over it, and holds again where it jumps back', async () => {
    const timers = new ManualTimers(START);
    const { policies, isAllowed, rejudged } = open(new Files(), timers);
    policies.take(stateOf(1, ending(UNTIL)));
    let ahead = 0;
    const now = timers.now.bind(timers);
    timers.now = () => now() + ahead;
    ahead = 2 * HOUR;
    // Requests are judged by the time of each.
    expect([isAllowed(), rejudged.length]).toEqual([false, 2]);
    await timers.advance(30_000);
    expect([isAllowed(), rejudged.length]).toEqual([false, 3]);
    ahead = 0;
    await timers.advance(30_000);
    expect([isAllowed(), rejudged.length]).toEqual([true, 4]);
    await timers.advance(HOUR);
    expect([isAllowed(), rejudged.length]).toEqual([false, 5]);
    policies.close();
  });

  test('that was renewed by another state stays, and years ahead costs one look in half a minute', async () => {
    const timers = new ManualTimers(START);
    const { policies, isAllowed, rejudged } = open(new Files(), timers);
    policies.take(stateOf(1, ending(UNTIL)));
    policies.take(stateOf(2, ending('2199-12-31T00:00:00Z')));
    expect(timers.waiting).toBe(1);
    await timers.advance(2 * HOUR);
    expect([isAllowed(), rejudged.length, timers.waiting]).toEqual([true, 3, 1]);
  });

  test('under a release of this machine ends with it or without it, whichever is first', async () => {
    const { policies, isAllowed, timers } = open(new Files(), new ManualTimers(START));
    policies.take(stateOf(1, ending(UNTIL)));
    policies.release({ reason: 'x', by: 'root', at: START, until: START + 2 * HOUR });
    await timers.advance(HOUR);
    expect(isAllowed()).toBe(true);
    await timers.advance(HOUR);
    expect([isAllowed(), policies.releases]).toEqual([false, []]);
  });
});
