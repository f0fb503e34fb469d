import { afterEach, describe, expect, test } from 'vitest';
import { readPolicies } from '../../policy/index.ts';
import type { Json } from '../../store/index.ts';
import { Health, healthChecks } from '../http/health.ts';
import { CART_PROXY, EnforcementPlane } from './enforcement.test-helper.ts';
import { cart, web } from './evidence/evidence.test-helper.ts';
import { EnvoySnapshots } from './envoy/snapshots.ts';
import { checkEnvoyDocuments } from './envoy/stored.ts';
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

describe('a Proxy document that this version cannot read', () => {
  const put = (name: string, data: Json) => [{ change: 'put' as const, kind: 'proxy' as const, name, data }];

  test('of another control plane: Envoys keep what they have, others are sent elsewhere, and nothing is written over it', async () => {
    const { plane } = await open();
    const { enforcing, test: made, timers } = plane;
    const { documents, hub } = enforcing;
    const { store } = made.plane;
    const health = new Health(healthChecks({ plane: made.plane, enforcing }), timers);
    const policies = async () => (await health.look()).checks['policies'];
    await documents.apply(WHO, CART_PROXY, 'cart.yaml');
    const faults: unknown[] = [];
    const options = { hub, documents, timers, mayServe: () => true, trustDomains: () => ['example.org'] };
    const snapshots = new EnvoySnapshots({ ...options, onFault: (_, error) => faults.push(error) });
    const listeners: (number | undefined)[] = [];
    const attachEnvoy = (workload: string, instance: string) => {
      const node = { id: `${workload}#${instance}`, cluster: '', spiffeId: workload, userAgent: 'envoy' };
      // What the server makes of a node has more that this does not look at.
      return snapshots.open(
        node as unknown as Parameters<EnvoySnapshots['open']>[0],
        ({ byType }) => void listeners.push(byType.get('lds')?.resources.size),
      );
    };
    undo.push(attachEnvoy(cart, 'a'));
    expect([listeners, await policies()]).toEqual([[1], 'ok']);
    await store.commit(put(cart, { text: CART_PROXY, ofLater: true }));
    await documents.follow();
    snapshots.changed(cart);
    hub.changed(cart);
    expect([listeners.at(-1), await policies()]).toEqual([1, 'unavailable']);
    const refused = expect.objectContaining({ code: 'unavailable', subject: cart });
    expect(() => attachEnvoy(cart, 'b')).toThrow(refused);
    await expect(documents.apply(WHO, CART_PROXY, 'cart.yaml')).rejects.toEqual(refused);
    await expect(documents.remove(WHO, cart)).rejects.toEqual(refused);
    await store.commit(put(web, 'kind: Proxy'));
    await documents.follow();
    expect(() => attachEnvoy(web, 'c')).toThrow(expect.objectContaining({ subject: web }));
    await store.commit([...put(cart, CART_PROXY), { change: 'remove', kind: 'proxy', name: web }]);
    await documents.follow();
    expect(await policies()).toBe('ok');
    undo.push(attachEnvoy(cart, 'b'), attachEnvoy(web, 'c'));
    expect([listeners.slice(-2), faults]).toEqual([[1, 0], []]);
  });

  test.each([
    ['of a newer version', cart, { text: CART_PROXY, ofLater: true }, /a newer version has written it/],
    ['that is damaged', cart, 'kind: Proxy', /Proxy of .*Start the version that wrote it/],
    ['of another workload', web, CART_PROXY, /it is of spiffe/],
  ])('keeps a control plane from its start: one %s', async (_, name, data, message) => {
    const { plane } = await open();
    const { store } = plane.test.plane;
    await store.commit(put(name, data));
    await plane.stop();
    const refused = { code: 'state', subject: name, message: expect.stringMatching(message) };
    plane.faults.splice(0);
    await expect(plane.start()).rejects.toMatchObject(refused);
    expect(plane.faults).toEqual([]);
    await expect(checkEnvoyDocuments(store)).rejects.toMatchObject(refused);
    await store.commit([{ change: 'remove', kind: 'proxy', name }]);
    await checkEnvoyDocuments(store);
    await plane.start();
  });
});
