import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { parseBundle, parseCertificate, verifyX509Svid } from '../../identity/index.ts';
import { settle } from '../../node/manual-timers.test-helper.ts';
import { TestAgent, TestPlane, UID_RULE, WHO } from '../testing.test-helper.ts';

let planes: TestPlane[] = [];
async function planeOf(...args: Parameters<typeof TestPlane.make>): Promise<TestPlane> {
  const plane = await TestPlane.make(...args);
  planes.push(plane);
  await plane.serve();
  return plane;
}
afterEach(async () => {
  for (const plane of planes) await plane.remove();
  planes = [];
});

describe('a node that attests itself with a join token', () => {
  test('becomes an agent whose SVID the bundle verifies', async () => {
    const plane = await planeOf();
    const agent = new TestAgent(plane);
    const svid = await agent.attest('join_token', await plane.token('node-1'));
    expect(svid.spiffeId).toBe('spiffe://example.org/interlock/agent/join_token/node-1');
    const [document] = svid.bundles?.bundles ?? [];
    const bundle = parseBundle(document?.jwks ?? new Uint8Array(), 'example.org');
    const verified = verifyX509Svid(agent.chain, {
      bundles: new Map([['example.org', bundle]]),
      now: plane.timers.now(),
    });
    expect(verified.spiffeId).toBe(svid.spiffeId);
    expect(plane.plane.agents.list().map(({ id }) => id)).toEqual([svid.spiffeId]);
  });

  test('is refused with a token that was used, also of many who use it at once', async () => {
    const plane = await planeOf();
    const token = await plane.token('node-1');
    const done = await Promise.allSettled(
      Array.from({ length: 10 }, () => new TestAgent(plane).attest('join_token', token)),
    );
    expect(done.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of done) {
      if (each.status === 'rejected')
        expect(each.reason).toMatchObject({
          code: status.UNAUTHENTICATED,
          details: expect.stringContaining('it was used already'),
        });
    }
    expect(await plane.plane.store.issued({ kind: 'agent' })).toHaveLength(1);
  });

  test('is refused with the reason: expired or garbled tokens, unknown attestors, a forged request', async () => {
    const plane = await planeOf();
    const agent = () => new TestAgent(plane);
    const expired = await plane.token('node-1', {}, 1000);
    await plane.timers.advance(1000);
    await expect(agent().attest('join_token', expired)).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('it expired at'),
    });
    await expect(agent().attest('join_token', 'ijt_nonsense')).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
    });
    await expect(agent().attest('sorcery', 'x')).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: 'no attestor is called "sorcery" here: use join_token',
    });
    const forged = agent().csr();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    await expect(agent().attest('join_token', await plane.token('n2'), forged)).rejects.toMatchObject({
      code: expect.any(Number),
      details: expect.stringContaining('request'),
    });
    expect(await plane.plane.store.issued({ kind: 'agent' })).toEqual([]);
  });

  test('keeps its token where the request for the certificate is no good', async () => {
    const plane = await planeOf();
    const token = await plane.token('node-1');
    const agent = new TestAgent(plane);
    const forged = agent.csr();
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    for (const bad of [forged, agent.csr().subarray(0, 40), Buffer.from('nonsense'), Buffer.alloc(0)]) {
      await expect(agent.attest('join_token', token, bad)).rejects.toMatchObject({
        details: expect.stringContaining('request') as string,
      });
    }
    expect((await agent.attest('join_token', token)).spiffeId).toMatch(/node-1$/);
  });

  test('keeps its token where no authority is active', async () => {
    const plane = await planeOf();
    const token = await plane.token('node-1');
    const signing = vi.spyOn(plane.plane.authorities, 'signing').mockImplementationOnce(() => {
      throw new InterlockError('conflict', 'default', 'no authority is active');
    });
    await expect(new TestAgent(plane).attest('join_token', token)).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
    });
    signing.mockRestore();
    expect((await new TestAgent(plane).attest('join_token', token)).spiffeId).toMatch(/node-1$/);
  });
});

describe('an agent that connects', () => {
  test('is sent bundles, revocations and its rules at once', async () => {
    const plane = await planeOf();
    await plane.apply(UID_RULE);
    const connection = (await plane.agent('node-1')).connect();
    const { bundles, rules, revocations } = await connection.states();
    expect(bundles.trustDomain).toBe('example.org');
    expect(rules.complete).toBe(true);
    expect(rules.rules.map((json) => JSON.parse(Buffer.from(json).toString()).metadata.name)).toEqual([
      'by-uid',
    ]);
    expect(revocations.spiffeIds).toEqual([]);
    expect(plane.server.service.connected().map(({ version }) => version)).toEqual(['test']);
    connection.close();
  });

  test('is sent what changes, and only that', async () => {
    const plane = await planeOf();
    await plane.apply(UID_RULE);
    const agent = await plane.agent('node-1');
    const connection = agent.connect();
    const { rules } = await connection.states();
    await plane.apply(UID_RULE.replace('by-uid', 'second').replace('/uid/', '/user/'));
    const change = await connection.next('rules');
    expect(change.complete).toBe(false);
    expect(change.version).toBe(rules.version + 1n);
    expect(change.rules).toHaveLength(1);
    await plane.apply(
      UID_RULE.replace('by-uid', 'second').replace(
        'spec: {',
        'spec: { nodes: { selectors: ["agent:id:none"] },',
      ),
    );
    expect(await connection.next('rules')).toMatchObject({ rules: [], removed: ['second'] });
    connection.close();
    const again = agent.connect({ rulesVersion: rules.version });
    expect(await again.next('rules')).toMatchObject({ complete: false, rules: [], removed: ['second'] });
    again.close();
    const uptodate = agent.connect({ rulesVersion: BigInt(plane.plane.registry.rules.current.version) });
    await uptodate.next('revocations');
    await settle();
    expect(uptodate.messages.map((message) => message.case)).toEqual(['bundles', 'revocations']);
    uptodate.close();
  });

  test('gets SVIDs for its workloads, each recorded before it left', async () => {
    const plane = await planeOf();
    await plane.apply(UID_RULE);
    const connection = (await plane.agent('node-1')).connect();
    await connection.states();
    const signed = await Promise.all(Array.from({ length: 100 }, (_, uid) => connection.sign(uid)));
    for (const [uid, { chain }] of signed.entries()) {
      const verified = verifyX509Svid(chain, {
        bundles: plane.plane.registry.bundles.current.value.bundles,
        now: plane.timers.now(),
      });
      expect(verified.spiffeId).toBe(`spiffe://example.org/uid/${uid}`);
    }
    const recorded = new Set(
      (await plane.plane.store.issued({ kind: 'workload' })).map(({ serial }) => serial),
    );
    expect(recorded).toEqual(
      new Set(signed.map(({ chain }) => parseCertificate(chain[0] ?? Buffer.alloc(0)).serial)),
    );
    connection.close();
  });

  test('that comes back without an SVID has lost it on the way: it is live no more', async () => {
    const plane = await planeOf();
    await plane.apply(UID_RULE);
    const agent = await plane.agent('node-1');
    const connection = agent.connect();
    await connection.states();
    const signed = await Promise.all([connection.sign(1), connection.sign(2)]);
    const [held = ''] = signed.map(({ chain }) => parseCertificate(chain[0] ?? Buffer.alloc(0)).serial);
    connection.close();
    await plane.timers.advance(1000);
    const again = agent.connect({ held: [held] });
    await again.states();
    // What is signed from here on is on its way to the agent, and stays.
    await again.sign(3);
    const live = () => plane.plane.store.issued({ kind: 'workload', liveAt: plane.timers.now() });
    await vi.waitFor(async () => expect(await live()).toHaveLength(2));
    const ids = (await live()).map(({ spiffeId }) => spiffeId).sort();
    expect(ids).toEqual(['spiffe://example.org/uid/1', 'spiffe://example.org/uid/3']);
    again.close();
  });

  test('gets nothing that its rules do not give, with the reason', async () => {
    const plane = await planeOf();
    await plane.apply(UID_RULE);
    const connection = (await plane.agent('node-1')).connect();
    await connection.states();
    const refused = (reason: string) => ({
      code: 'forbidden',
      message: expect.stringContaining(reason),
      retryAfterMs: 0,
    });
    await expect(connection.sign(5, { spiffeId: 'spiffe://example.org/uid/6' })).rejects.toMatchObject(
      refused('gives this workload spiffe://example.org/uid/5'),
    );
    await expect(connection.sign(5, { rule: 'other' })).rejects.toMatchObject(
      refused('there is no rule "other"'),
    );
    await expect(connection.sign(5, { spiffeId: 'no id' })).rejects.toMatchObject({
      code: 'invalid_identity',
    });
    await expect(connection.sign(5, { csr: Buffer.from('30820000', 'hex') })).rejects.toMatchObject({
      code: 'invalid_certificate',
    });
    expect(await plane.plane.store.issued({ kind: 'workload' })).toEqual([]);
    connection.close();
  });
});

describe('a connection', () => {
  let plane: TestPlane;
  beforeAll(async () => {
    plane = await TestPlane.make();
    await plane.serve();
  });
  afterAll(() => plane.remove());

  test('without a certificate may only attest', async () => {
    const connection = new TestAgent(plane).connect();
    expect(await connection.end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });

  test('with the certificate of something that is no agent is refused', async () => {
    await plane.apply(UID_RULE);
    const agent = await plane.agent('node-1');
    const first = agent.connect();
    await first.states();
    const { chain } = await first.sign(7, { csr: agent.csr() });
    agent.wear(chain);
    expect(await agent.connect().end()).toMatchObject({
      code: status.PERMISSION_DENIED,
      details: expect.stringContaining('is not an agent'),
    });
    first.close();
  });

  test('with a certificate of another authority is refused with the reason', async () => {
    const other = await TestPlane.make();
    await other.serve();
    const theirs = await other.agent('node-1');
    expect(await theirs.connect({ to: plane }).end()).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('authority'),
    });
    expect(plane.refused.at(-1)).toContain('authority');
    await other.remove();
  });

  test('ends when its identity is revoked, with the reason', async () => {
    const agent = await plane.agent('node-3');
    const connection = agent.connect();
    await connection.states();
    await plane.plane.revoking.revokeId(WHO, agent.id, 'keyCompromise');
    expect(await connection.end()).toMatchObject({
      code: status.UNAUTHENTICATED,
      details: expect.stringContaining('is revoked'),
    });
    expect(await agent.connect().end()).toMatchObject({ code: status.UNAUTHENTICATED });
  });
});
