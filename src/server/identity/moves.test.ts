import { afterEach, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { SETTLE_MS } from '../../identity/index.ts';
import { status } from '@grpc/grpc-js';
import { HOUR, TestPlane, UID_RULE, WHO } from '../testing.test-helper.ts';

let plane: TestPlane | undefined;
afterEach(() => plane?.remove());

async function serving(): Promise<TestPlane> {
  const test = (plane = await TestPlane.make());
  await test.apply(UID_RULE);
  await test.serve();
  return test;
}

describe('an agent that is evicted', () => {
  test('is cut off, and all that was issued through it is revoked', async () => {
    const test = await serving();
    const agent = await test.agent('n1');
    const other = (await test.agent('n2')).connect();
    const connection = agent.connect();
    await Promise.all([connection.states(), other.states()]);
    await Promise.all([connection.sign(1), connection.sign(2), other.sign(3)]);
    expect(await test.plane.agents.evict(WHO, agent.id, 'keyCompromise')).toBe(3);
    expect(await connection.end()).not.toBeNull();
    expect(await agent.connect().end()).toMatchObject({ code: expect.any(Number) });
    await expect(agent.attest('join_token', await test.token('n1'))).rejects.toMatchObject({
      code: status.PERMISSION_DENIED,
      details: expect.stringContaining('evicted'),
    });
    const live = await test.plane.store.issued({ kind: 'workload', liveAt: test.timers.now() });
    expect(live.map(({ spiffeId }) => spiffeId)).toEqual(['spiffe://example.org/uid/3']);
    await test.close();
    await test.open();
    expect(() => test.plane.agents.agentOf(agent.id)).toThrow('evicted');
    other.close();
  });
});

describe('a cutover', () => {
  test('moves its share at the next renewals, keeps everybody on a pause, and turns back', async () => {
    const test = await serving();
    const { authorities, cutovers } = test.plane;
    const next = await authorities.prepare(WHO, 'region-b');
    expect(next.state).toBe('active');
    await test.timers.advance(SETTLE_MS);
    const connection = (await test.agent('n1')).connect();
    const { bundles } = await connection.states();
    await cutovers.start(WHO, { id: 'c', from: 'default', to: 'region-b', share: 0.5 });
    expect(cutovers.list()[0]?.state).toBe('waiting');
    connection.confirm({ bundles: bundles.version, rules: 0n, revocations: 0n });
    const sides = async () => {
      const signed = await Promise.all(Array.from({ length: 40 }, (_, uid) => connection.sign(uid)));
      return signed.map(({ authority }) => authority === next.id);
    };
    expect((await sides()).filter(Boolean)).toEqual([]);
    await cutovers.startWaiting();
    await test.timers.advance(1000);
    const moved = await sides();
    expect(moved.filter(Boolean).length).toBeGreaterThan(8);
    expect(moved.filter(Boolean).length).toBeLessThan(32);
    await test.timers.advance(1000);
    await cutovers.pause(WHO, 'c');
    expect(await sides()).toEqual(moved);
    await cutovers.resume(WHO, 'c', 1);
    expect((await sides()).every(Boolean)).toBe(true);
    await cutovers.back(WHO, 'c');
    expect((await sides()).some(Boolean)).toBe(false);
    await test.close();
    await test.open();
    expect(test.plane.cutovers.list()).toMatchObject([{ id: 'c', state: 'back', share: 0 }]);
    connection.close();
  });
});

describe('a store that answers late', () => {
  test('leaves what is shown and what is stored the same', async () => {
    const test = (plane = await TestPlane.make());
    const { registry, recorder } = test.plane;
    const { version } = registry.revocations.current;
    const id = parseSpiffeId('spiffe://example.org/uid/1');
    const real = recorder.record.bind(recorder);
    const held = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    recorder.record = async (...args) => {
      reached.resolve();
      await held.promise;
      return real(...args);
    };
    const told = test.plane.revoking.revokeId(WHO, id, 'x').catch((error: unknown) => error);
    await reached.promise;
    await test.timers.advance(HOUR);
    expect(await told).toMatchObject({ code: 'unavailable' });
    expect(registry.revocations.current.version).toBe(version);
    const shown = new Promise<void>((resolve) => registry.revocations.subscribe(() => resolve()));
    held.resolve();
    await shown;
    expect(registry.revocations.current.value.spiffeIds.has(id)).toBe(true);
    expect((await test.plane.store.revocations()).map(({ value }) => value)).toEqual([id]);
  });
});
