import { afterEach, describe, expect, test } from 'vitest';
import type { SpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { newRollout, type WorkloadRollout } from '../../rollout/index.ts';
import type { Snapshot } from '../../xds/index.ts';
import type { Actor } from '../identity/recorder.ts';
import { ManualTimers } from '../../node/manual-timers.test-helper.ts';
import { CART_PROXY, EnforcementPlane } from './enforcement.test-helper.ts';
import { Ends } from './ends.ts';
import { EnvoySnapshots } from './envoy/snapshots.ts';
import { accessAt, cart, flipAt, reportOf, web } from './evidence/evidence.test-helper.ts';

const WHO: Actor = 'uid:0';
const HOUR = 3_600_000;
const MINUTE = 60_000;

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const document = (ends: readonly (number | undefined)[]) =>
  readPolicies(`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: ${cart} }
  tier: experimental
  rules: [ ${ends
    .map((end, i) => {
      const until = end === undefined ? '' : `, until: "${new Date(end).toISOString()}"`;
      return `{ name: r${i}, from: [ { workload: ${web} } ], to: [ { http: { methods: [GET], paths: [/path${i}] } } ]${until} }`;
    })
    .join(', ')} ]
`);

describe('the end of a rule', () => {
  test('is told of the workload once, also where the clock jumps, and of nobody else', async () => {
    const timers = new ManualTimers(0);
    const all = new Map<SpiffeId, WorkloadRollout>();
    const put = (workload: SpiffeId, ends: readonly (number | undefined)[]) =>
      all.set(workload, newRollout(workload, document(ends), { by: WHO, now: 0 }));
    const DAY = 24 * HOUR;
    const START = Date.UTC(2026, 0);
    await timers.advance(START);
    put(cart, [START + DAY, START + 40 * DAY]);
    put(web, [undefined]);
    const told: string[] = [];
    const ends = new Ends({
      rollouts: { all },
      timers,
      onEnd: (workload) => told.push(`${workload} ${(timers.now() - START) / DAY}`),
      onFault: (error) => {
        throw error;
      },
    });
    await timers.advance(DAY - 1);
    expect(told).toEqual([]);
    await timers.advance(1);
    expect(told).toEqual([`${cart} 1`]);
    // Further than one timer of Node reaches.
    await timers.advance(39 * DAY);
    expect(told).toEqual([`${cart} 1`, `${cart} 40`]);
    put(web, [START + 50 * DAY]);
    ends.changed(web);
    expect(told).toHaveLength(2);
    let ahead = 20 * DAY;
    const now = timers.now.bind(timers);
    timers.now = () => now() + ahead;
    await timers.advance(30_000);
    expect(told).toHaveLength(3);
    ahead = 0;
    await timers.advance(30_000);
    expect(told).toHaveLength(4);
    expect(told.slice(2).every((text) => text.startsWith(web))).toBe(true);
    ends.stop();
    expect(timers.waiting).toBe(0);
  });

  test('takes it out of what an Envoy of this control plane has, at that moment, and every proxy confirms it', async () => {
    const plane = await EnforcementPlane.make();
    undo.push(() => plane.remove());
    const { enforcing, timers } = plane;
    const { rollouts, documents, hub, points } = enforcing;
    await documents.apply(WHO, CART_PROXY, 'cart.yaml');
    await rollouts.apply(WHO, document([timers.now() + MINUTE, undefined]));
    for (const stage of ['shadow', 'canary', 'enforced'] as const)
      await rollouts.move(WHO, cart, stage, stage === 'canary' ? { share: 1 } : {});
    const faults: unknown[] = [];
    const snapshots = new EnvoySnapshots({
      hub,
      documents,
      timers,
      mayServe: () => true,
      trustDomains: () => ['example.org'],
      onFault: (_, error) => faults.push(error),
    });
    const got: Snapshot[] = [];
    const node = { id: `${cart}#a`, cluster: '', spiffeId: cart, userAgent: 'envoy' };
    // What the server makes of a node has more that this does not look at.
    const close = snapshots.open(node as unknown as Parameters<EnvoySnapshots['open']>[0], (snapshot) =>
      got.push(snapshot),
    );
    undo.push(close);
    const says = (text: string) => {
      const resources = [...(got.at(-1)?.byType.values() ?? [])].flatMap(({ resources: own }) => [
        ...own.values(),
      ]);
      return resources.some(({ whole }) => Buffer.from(whole).includes(text));
    };
    expect([says('/path0'), says('/path1')]).toEqual([true, true]);
    const { wanted = 0 } = points.get(`${cart}#a`) ?? {};
    const before = got.length;
    await timers.advance(MINUTE - 1);
    expect([says('/path0'), got.length]).toEqual([true, before]);
    await timers.advance(1);
    expect([says('/path0'), says('/path1'), got.length]).toEqual([false, true, before + 1]);
    expect(points.get(`${cart}#a`)?.wanted).toBeGreaterThan(wanted);
    expect(faults).toEqual([]);
  });

  /** A canary of everything, whose exception for /path0 ends in so many milliseconds; what went well before is known. */
  async function canaryOf(ends: number) {
    const plane = await EnforcementPlane.make();
    undo.push(() => plane.remove());
    const { enforcing, timers } = plane;
    const { rollouts, evidence, hub } = enforcing;
    const link = { push: () => {} };
    const point = hub.attach(
      { kind: 'proxy', identity: cart, instance: 'a', workloads: [cart], version: 'test' },
      0,
      link,
    );
    await rollouts.apply(WHO, document([timers.now() + ends]));
    await rollouts.move(WHO, cart, 'shadow');
    await timers.advance(1000);
    const action = (path: string) => ({ kind: 'http', port: 80, name: 'GET', text: path }) as const;
    await evidence.take(
      point,
      reportOf(1, {
        accesses: ['/path0', '/path9'].map((path) => accessAt(timers.now(), { action: action(path) })),
      }),
    );
    await rollouts.move(WHO, cart, 'canary', { share: 1 });
    hub.confirm(point.key, hub.version, link);
    const refused = async (sequence: number, path: string) => {
      const verdict = { allowed: false, decidedBy: 'no-rule' } as const;
      const { targetVersion = 0 } = rollouts.get(cart);
      const flip = { action: action(path), before: verdict, after: verdict, refused: true };
      await evidence.take(
        point,
        reportOf(sequence, {
          flips: [flipAt(timers.now(), { ...flip, targetVersion: BigInt(targetVersion) })],
        }),
      );
      await timers.advance(0);
      return rollouts.get(cart).stage;
    };
    return { rollouts, timers, refused };
  }

  test('is no reason to take a canary back: what it allowed is denied on purpose, in the next step as well', async () => {
    const { rollouts, timers, refused } = await canaryOf(MINUTE);
    await timers.advance(MINUTE);
    expect(await refused(2, '/path0')).toBe('canary');
    await rollouts.move(WHO, cart, 'canary', { share: 1 });
    expect(await refused(3, '/path0')).toBe('canary');
    await refused(4, '/path9');
    await expect.poll(() => rollouts.get(cart).stage, { timeout: 60_000 }).toBe('shadow');
  });

  test.each([
    ['before the policy was there', -MINUTE],
    ['while it was in shadow', 500],
  ])('%s excuses no canary: what goes well all the same is known to be good', async (_, ends) => {
    const { rollouts, refused } = await canaryOf(ends);
    await refused(2, '/path0');
    await expect.poll(() => rollouts.get(cart).stage, { timeout: 60_000 }).toBe('shadow');
  });
});
