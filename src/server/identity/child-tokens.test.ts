import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { verifyJwtSvid } from '../../identity/index.ts';
import { AgentService, grpcService, SignChildJwtRequestSchema } from '../../proto/index.ts';
import { TestAgent, TestPlane } from '../testing.test-helper.ts';
import { childAgent, childPlane, childRule } from './child-planes.test-helper.ts';

let root: TestPlane;
let pay: TestPlane;
let europe: TestPlane;
const planes: TestPlane[] = [];
const PAY = childAgent('pay');
const EUROPE = childAgent('europe', '/area/pay');

beforeAll(async () => {
  root = await TestPlane.make();
  planes.push(root);
  ({ plane: pay } = await childPlane(root, 'pay', ['/area/pay/'], 1));
  planes.push(pay);
  ({ plane: europe } = await childPlane(pay, 'europe', ['/area/pay/europe/']));
  planes.push(europe);
});
afterAll(async () => {
  for (const plane of planes) await plane.remove();
});

const ask = (path: string, over: { audience?: string[]; ttl?: number } = {}) => ({
  spiffeId: `spiffe://example.org${path}`,
  audience: ['api'],
  ttl: 60_000,
  ...over,
});
const verified = (token: string) =>
  verifyJwtSvid(token, {
    bundles: new Map([['example.org', root.plane.registry.ownBundle]]),
    audience: 'api',
    now: root.timers.now(),
  });

describe('a JWT-SVID for a workload of a child that is limited to prefixes', () => {
  test("is signed by the parent's key, and recorded with the child as who asked", async () => {
    const signed = await root.plane.children.signJwt(PAY, ask('/area/pay/web'));
    expect(await verified(signed.token)).toMatchObject({
      spiffeId: 'spiffe://example.org/area/pay/web',
      expiresAt: signed.expiresAt,
    });
    const issued = await root.plane.store.issued({
      kind: 'jwt',
      spiffeId: 'spiffe://example.org/area/pay/web',
    });
    expect(issued).toMatchObject([
      { agent: PAY.agent.id, rule: 'pay', authority: root.plane.authorities.slots[0]?.id },
    ]);
  });

  test('is passed up the tree, recorded at each step, and verifies by the bundle of the root', async () => {
    const order = {
      spiffeId: parseSpiffeId('spiffe://example.org/area/pay/europe/shop'),
      audience: ['api'],
      ttl: 60_000,
      agent: 'an agent',
      rule: 'a rule',
    };
    const signed = await europe.plane.issuing.jwt(order);
    expect((await verified(signed.token)).spiffeId).toBe(order.spiffeId);
    const asked = await Promise.all(
      [europe, pay, root].map(({ plane }) => plane.store.issued({ spiffeId: order.spiffeId })),
    );
    expect(asked.map((issued) => issued.map(({ agent }) => agent))).toEqual([
      ['an agent'],
      [EUROPE.agent.id],
      [PAY.agent.id],
    ]);
    expect(new Set(asked.flat().map(({ serial }) => serial)).size).toBe(1);
  });

  test.each([
    ['/area/shop/web', 'forbidden'],
    ['/area/payments/web', 'forbidden'],
    ['/area/pay', 'forbidden'],
    ['/web', 'forbidden'],
    ['', 'forbidden'],
    ['/interlock/server', 'forbidden'],
    ['/area/pay/interlock/server', 'forbidden'],
    ['/area/pay/interlock/agent/join_token/n1', 'forbidden'],
    ['/area/pay/europe/interlock/server', 'forbidden'],
    ['/area/pay/../shop/web', 'invalid_identity'],
    ['/area/pay//web', 'invalid_identity'],
    ['/area/pay/', 'invalid_identity'],
    ['/area/pay/%2e', 'invalid_identity'],
  ])('is refused for %s', async (path, code) => {
    await expect(root.plane.children.signJwt(PAY, ask(path))).rejects.toMatchObject({ code });
  });

  test('is refused for another trust domain', async () => {
    const spiffeId = 'spiffe://other.example/area/pay/web';
    const asked = root.plane.children.signJwt(PAY, { ...ask(''), spiffeId });
    await expect(asked).rejects.toMatchObject({
      code: 'forbidden',
      message: expect.stringContaining('domain'),
    });
  });

  test('is refused by each parent on the way whose rule does not reach as far', async () => {
    const outside = { ...ask('/area/pay/web'), spiffeId: parseSpiffeId('spiffe://example.org/area/pay/web') };
    await expect(pay.plane.children.signJwt(EUROPE, outside)).rejects.toMatchObject({ code: 'forbidden' });
    // A rule of the middle one that reaches further than the middle one itself.
    await pay.apply(childRule('wide', '{ prefixes: ["/area/"] }', '/area/pay'));
    const wide = childAgent('wide', '/area/pay');
    await expect(pay.plane.children.signJwt(wide, ask('/area/shop/web'))).rejects.toMatchObject({
      code: 'forbidden',
      // By the middle one, before it asks its parent.
      message: expect.stringContaining('join_token/wide may not speak for'),
    });
  });

  test('lives no longer than the rule of the child says, and needs a life and few short audiences', async () => {
    const long = await root.plane.children.signJwt(PAY, ask('/area/pay/web', { ttl: 86_400_000 }));
    expect(long.expiresAt - long.issuedAt).toBe(300_000);
    await root.apply(childRule('brief', '{ prefixes: ["/area/brief/"] }', '', 'jwtTtl: 1m'));
    const brief = await root.plane.children.signJwt(
      childAgent('brief'),
      ask('/area/brief/web', { ttl: 86_400_000 }),
    );
    expect(brief.expiresAt - brief.issuedAt).toBe(60_000);
    const bad = [
      [{ ttl: 0 }, 'usage'],
      [{ ttl: Number.NaN }, 'usage'],
      [{ audience: [] }, 'invalid_token'],
      [{ audience: [''] }, 'invalid_token'],
      [{ audience: Array.from({ length: 17 }, (_, i) => `a${i}`) }, 'limit'],
      [{ audience: ['a'.repeat(1025)] }, 'limit'],
    ] as const;
    for (const [over, code] of bad) {
      const asked = ask('/area/pay/web', over as { audience?: string[]; ttl?: number });
      await expect(root.plane.children.signJwt(PAY, asked)).rejects.toMatchObject({ code });
    }
  });

  test('is refused where no rule, or one for bundles alone, is for the child', async () => {
    await root.apply(childRule('bundles', '{ trustDomains: [b.example] }'));
    for (const name of ['nobody', 'bundles'])
      await expect(root.plane.children.signJwt(childAgent(name), ask('/area/pay/web'))).rejects.toMatchObject(
        {
          code: 'forbidden',
        },
      );
  });

  test('is asked for with the certificate of the child alone, and no more than 64 at a time', async () => {
    await root.serve();
    const agent = await root.agent('pay');
    const stranger = new TestAgent(root).client();
    const client = agent.client();
    const { path, requestSerialize, responseDeserialize } = grpcService(AgentService).signChildJwt;
    const call = (from: typeof client) =>
      new Promise<{ token: string }>((resolve, reject) => {
        const { ttl, ...request } = ask('/area/pay/web');
        const message = create(SignChildJwtRequestSchema, { ...request, ttlSeconds: ttl / 1000 });
        from.makeUnaryRequest(path, requestSerialize, responseDeserialize, message, (error, answer) =>
          answer === undefined ? reject(error) : resolve(answer),
        );
      });
    await expect(call(stranger)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    expect((await verified((await call(client)).token)).spiffeId).toBe('spiffe://example.org/area/pay/web');

    const { desk } = root.plane;
    const sign = desk.signChildJwt.bind(desk);
    const hold = Promise.withResolvers<void>();
    desk.signChildJwt = async (...asked) => {
      await hold.promise;
      return sign(...asked);
    };
    const many = Array.from({ length: 65 }, () => call(client));
    await expect(Promise.race(many)).rejects.toMatchObject({ code: status.RESOURCE_EXHAUSTED });
    hold.resolve();
    const ends = await Promise.allSettled(many);
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(64);
    await root.plane.agents.evict('uid:0', agent.id, 'test');
    await expect(call(client)).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
    client.close();
    stranger.close();
  });

  test('is refused for an ID that is revoked, and for a child that is: it gets no certificate either', async () => {
    const { revoking, children } = root.plane;
    await revoking.revokeId('uid:0', parseSpiffeId('spiffe://example.org/area/pay/web'), 'test');
    await expect(children.signJwt(PAY, ask('/area/pay/web'))).rejects.toMatchObject({ code: 'forbidden' });
    await expect(children.signJwt(PAY, ask('/area/pay/other'))).resolves.toBeDefined();
    await revoking.revokeId('uid:0', parseSpiffeId('spiffe://example.org/authorities/pay'), 'test');
    const refusal = { code: 'forbidden', message: expect.stringContaining('is revoked') };
    await expect(children.signJwt(PAY, ask('/area/pay/other'))).rejects.toMatchObject(refusal);
    await expect(children.sign(PAY, Buffer.alloc(0), 0)).rejects.toMatchObject(refusal);
  });
});
