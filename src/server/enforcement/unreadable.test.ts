import { afterEach, expect, test } from 'vitest';
import { readPolicies } from '../../policy/index.ts';
import type { Json } from '../../store/index.ts';
import { Health, healthChecks } from '../http/health.ts';
import { EnforcementPlane } from './enforcement.test-helper.ts';
import { cart, web } from './evidence/evidence.test-helper.ts';
import { checkRollouts } from './rollout-document.ts';

const WHO = 'uid:0';
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
});

const DOCUMENT = `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: own }
spec:
  protects: { workload: ${cart} }
  rules: [ { name: r, from: [ { workload: ${web} } ], to: [ { http: { paths: [/a] } } ] } ]
`;

/** A cart in force, and what a newer control plane on the same state makes of its document. */
async function open() {
  const plane = await EnforcementPlane.make();
  undo.push(() => plane.remove());
  const { store } = plane.test.plane;
  const { rollouts } = plane.enforcing;
  await rollouts.apply(WHO, readPolicies(DOCUMENT));
  for (const stage of ['shadow', 'canary', 'enforced'] as const)
    await rollouts.move(WHO, cart, stage, stage === 'canary' ? { share: 1 } : {});
  const write = async (more: object) => {
    const data = { ...rollouts.get(cart), ...more } as unknown as Json;
    await store.commit([{ change: 'put', kind: 'rollout', name: cart, data }]);
    await rollouts.follow();
  };
  return { plane, write };
}

/** A proxy of a workload that takes what it is told. */
function attach({ enforcing: { hub } }: EnforcementPlane, workload: typeof cart, instance: string) {
  const got: (string | undefined)[] = [];
  const link = {
    push: () => {
      const [state] = hub.stateOf(point).workloads;
      const { enforced, released } = state?.enforcement ?? {};
      got.push(released === undefined ? enforced?.map(({ metadata }) => metadata.name).join() : 'released');
    },
  };
  const made = { kind: 'proxy', identity: workload, instance, workloads: [workload], version: 't' } as const;
  let point = { ...made, key: `${workload}#${instance}` } as unknown as ReturnType<typeof hub.attach>;
  point = hub.attach(made, 0, link);
  return got;
}

test('a proxy keeps what it has, and one that comes is sent elsewhere, where a newer control plane has written what is in force', async () => {
  const { plane, write } = await open();
  const { enforcing, test: made } = plane;
  const health = new Health(healthChecks({ plane: made.plane, enforcing }), plane.timers);
  const policies = async () => (await health.look()).checks['policies'];
  const got = attach(plane, cart, 'a');
  expect([got, await policies()]).toEqual([['own'], 'ok']);
  // It may say anything: that nothing is in force any more, as far as this one could tell.
  await write({ stage: 'shadow', enforced: undefined, ofLater: { more: 'in force' } });
  expect([got, await policies()]).toEqual([['own'], 'unavailable']);
  expect(() => attach(plane, cart, 'b')).toThrow(
    expect.objectContaining({ code: 'unavailable', message: expect.stringContaining('ofLater') }),
  );
  attach(plane, web, 'c');
  expect(enforcing.rollouts.get(cart).stage).toBe('enforced');
  // The button reaches who is there.
  enforcing.releases.press(WHO, { scope: { kind: 'all' }, reason: 'a fire' });
  expect(got.at(-1)).toBe('released');
  await write({});
  expect(await policies()).toBe('ok');
  expect(attach(plane, cart, 'b').at(-1)).toBe('released');
});

test('a control plane does not start on it', async () => {
  const { plane, write } = await open();
  await write({ ofLater: 1 });
  await plane.stop();
  const { store } = plane.test.plane;
  const refused = {
    code: 'state',
    subject: cart,
    message: expect.stringMatching(
      /a newer version has written it \(ofLater\).*Start the version that wrote it/,
    ),
  };
  await expect(plane.start()).rejects.toMatchObject(refused);
  await expect(checkRollouts(store)).rejects.toMatchObject(refused);
  await store.commit([{ change: 'remove', kind: 'rollout', name: cart }]);
  await checkRollouts(store);
  await plane.start();
});
