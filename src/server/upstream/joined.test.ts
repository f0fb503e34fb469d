import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { create } from '@bufbuild/protobuf';
import { status } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { parseSpiffeId, trustDomainOf } from '../../access/index.ts';
import {
  formatBundle,
  parseIdentityRule,
  positionOf,
  verifyJwtSvid,
  verifyX509Svid,
} from '../../identity/index.ts';
import { HOUR, TestPlane, UID_RULE, WHO } from '../testing.test-helper.ts';
import { BundleStateSchema } from '../../proto/index.ts';
import { Lifecycle } from '../identity/lifecycle.ts';
import type { Slot } from '../identity/slots.ts';
import { Estate, rights, undo } from './estate.test-helper.ts';
import { joinedRole } from './role.ts';

describe('an authority of another trust domain', () => {
  test('is certified by the other control plane, and its bundle is pushed', async () => {
    const estate = await Estate.make();
    const slot = await estate.join();
    expect(slot).toMatchObject({ name: 'region-b', state: 'active', jwt: undefined });
    const { bundles, targets, local } = estate.a.plane.registry.bundles.current.value;
    expect([...bundles.keys()].sort()).toEqual(['a.example', 'b.example']);
    expect(bundles.get('b.example')?.x509Authorities).toEqual(
      estate.b.plane.registry.ownBundle.x509Authorities,
    );
    expect(bundles.get('b.example')?.jwtAuthorities).toHaveLength(1);
    expect(bundles.get('a.example')?.x509Authorities).toEqual(local.x509Authorities);
    expect(targets).toEqual([]);
    // The other side knows who has not moved, since its rule says so.
    const { bundles: theirs } = estate.b.plane.registry;
    await estate.until(() => theirs.current.value.bundles.has('a.example'));
    // Its agents are no agents here.
    const stranger = await estate.b.agent('n1');
    const error = await stranger.connect({ to: estate.a }).end();
    expect(error?.code).toBe(status.UNAUTHENTICATED);
  });

  test('gets nobody before every connected agent has its bundle, nor by a rule alone', async () => {
    const estate = await Estate.make();
    await estate.join();
    const connection = await estate.connect(await estate.a.agent('n1'));
    const { cutovers } = estate.a.plane;
    await cutovers.start(WHO, { id: 'c', from: 'default', to: 'region-b', share: 1 });
    expect(cutovers.list()[0]?.state).toBe('waiting');
    const { targets } = await connection.next('bundles', (state) => state.targets.length > 0);
    expect(targets).toEqual(['b.example']);
    await cutovers.startWaiting();
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
    estate.confirm(connection);
    await estate.confirmed();
    expect(await estate.idOf(connection, 1)).toBe('spiffe://b.example/uid/1');
    await estate.a.apply(UID_RULE.replace('ttl: 1h', 'ttl: 1h, authority: region-b'));
    await expect(estate.idOf(connection, 1)).rejects.toThrow('only a cutover moves IDs there');
  });

  test('moves a share, keeps it through a restart, and gives everybody back', async () => {
    const estate = await Estate.make();
    await estate.join();
    const agent = await estate.a.agent('n1');
    let connection = await estate.connect(agent);
    await estate.move(connection, 0.5);
    const uids = Array.from({ length: 12 }, (_, uid) => uid);
    const ids = async () => Promise.all(uids.map((uid) => estate.idOf(connection, uid)));
    const expected = uids.map((uid) => {
      const moves = positionOf('c', parseSpiffeId(`spiffe://a.example/uid/${uid}`)) < 0.5;
      return `spiffe://${moves ? 'b' : 'a'}.example/uid/${uid}`;
    });
    expect(new Set(expected.map((id) => trustDomainOf(parseSpiffeId(id)))).size).toBe(2);
    expect(await ids()).toEqual(expected);
    await estate.restart();
    connection = await estate.connect(agent);
    expect(await ids()).toEqual(expected);
    const { cutovers } = estate.a.plane;
    await cutovers.pause(WHO, 'c');
    expect(await ids()).toEqual(expected);
    await cutovers.back(WHO, 'c');
    expect(await ids()).toEqual(uids.map((uid) => `spiffe://a.example/uid/${uid}`));
    await estate.a.timers.advance(2 * HOUR);
    await cutovers.finish(WHO, 'c');
    expect(estate.a.plane.registry.bundles.current.value.targets).toEqual([]);
    await estate.joined?.leave(WHO, 'region-b');
    expect([...estate.a.plane.registry.bundles.current.value.bundles.keys()]).toEqual(['a.example']);
    expect(estate.joined?.list()).toEqual([]);
  });

  test('does not move the workloads of an agent of an earlier version, which learns of it by its rules', async () => {
    const estate = await Estate.make();
    await estate.join();
    const old = await estate.connect(await estate.a.agent('n1'), false);
    const connection = await estate.connect(await estate.a.agent('n2'));
    const before = await estate.idOf(old, 1);
    await estate.a.plane.cutovers.start(WHO, { id: 'c', from: 'default', to: 'region-b', share: 1 });
    const { rules } = await old.next('rules', ({ rules }) => String(rules[0]).includes('federatesWith'));
    expect(parseIdentityRule(rules[0] ?? Buffer.alloc(0)).spec.federatesWith).toEqual(['b.example']);
    await old.next('bundles', (state) => state.targets.length > 0);
    // The rules came first: who has confirmed the bundles has them.
    const cases = old.messages.map((message) => message.case);
    expect(cases.lastIndexOf('rules')).toBeLessThan(cases.lastIndexOf('bundles'));
    estate.confirm(old);
    estate.confirm(connection);
    await estate.confirmed();
    expect(before).toBe('spiffe://a.example/uid/1');
    expect(await estate.idOf(old, 1)).toBe(before);
    expect(await estate.idOf(connection, 2)).toBe('spiffe://b.example/uid/2');
    const progress = await estate.a.plane.cutovers.progress('c');
    expect(progress.staying).toEqual({ agent: { count: 2, ids: [before, before] } });
    await expect(estate.a.plane.cutovers.finish(WHO, 'c')).rejects.toThrow('2 SVIDs are still of default');
  });

  test('does not move whom it may not speak for, and names them', async () => {
    const estate = await Estate.make('{ prefixes: ["/uid/1/"] }');
    await estate.join();
    const connection = await estate.connect(await estate.a.agent('n1'));
    await estate.move(connection);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
    const { staying, willMove } = await estate.a.plane.cutovers.progress('c');
    expect(staying).toEqual({ prefixes: { count: 1, ids: ['spiffe://a.example/uid/1'] } });
    expect(willMove).toBe(0);
  });

  test('that cannot be renewed signs to its end, and then nobody is left without an identity', async () => {
    const estate = await Estate.make();
    const slot = await estate.join();
    const agent = await estate.a.agent('n1');
    const connection = await estate.connect(agent);
    await estate.move(connection);
    estate.b.server.kill();
    await estate.until(() => estate.joined?.list()[0]?.fault !== undefined);
    await expect(estate.a.plane.authorities.prepare(WHO, 'region-b')).rejects.toMatchObject({
      code: 'unavailable',
    });
    // Meanwhile other steps are taken.
    await estate.a.apply(UID_RULE.replace('by-uid', 'other'));
    expect(await estate.idOf(connection, 1)).toBe('spiffe://b.example/uid/1');
    expect(estate.warnings).toEqual([]);
    const left = (slot?.notAfter ?? 0) - estate.a.timers.now();
    expect(left).toBeLessThan(2 * HOUR);
    await estate.a.timers.advance(left - 60_000);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
    expect(estate.warnings.join()).toContain('"region-b" cannot sign');
  });

  test('that is past half of its life is renewed aside: who is away keeps no other step waiting', async () => {
    const estate = await Estate.make();
    await estate.join();
    const { plane } = estate.a;
    const keys = () => readdirSync(join(estate.a.dir, 'keys')).length;
    const before = keys();
    estate.b.server.kill();
    await estate.until(() => estate.joined?.list()[0]?.fault !== undefined);
    await estate.a.timers.advance(HOUR / 2);
    const warned: string[] = [];
    const lifecycle = new Lifecycle({
      plane,
      timers: estate.a.timers,
      onWarning: (message) => warned.push(message),
      onFault: (error) => warned.push(`a fault: ${String(error)}`),
    });
    undo.push(() => lifecycle.stop());
    await lifecycle.start();
    await estate.until(() => warned.length > 0);
    expect(warned.join()).toMatch(/"region-b" cannot be renewed: .*it signs to its end/);
    expect(keys()).toBe(before);
  });

  test('takes back no IDs and no certificates of this control plane', async () => {
    const estate = await Estate.make();
    const slot = await estate.join();
    const { authorities } = estate.a.plane;
    const [own] = authorities.slots;
    const role = joinedRole(estate.a.plane, 'region-b', () => {});
    const listOf = async (plane: TestPlane, of: Slot | undefined) => {
      if (of === undefined) throw new TypeError('there is no such authority');
      const { issuer } = await plane.plane.keys.of(of);
      return issuer.crl([{ serial: '01', at: plane.timers.now(), reason: 'unspecified' }], 1, HOUR);
    };
    // As it sends back what it was told once, or what it has made up.
    const ours = await Promise.all([own, slot].map((of) => listOf(estate.a, of)));
    const theirs = await listOf(estate.b, estate.b.plane.authorities.slots[0]);
    const changed = Buffer.from(theirs);
    changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
    const ids = ['spiffe://a.example/uid/1', 'spiffe://b.example/interlock/server', 'nonsense'];
    expect(role.revocations([...ours, changed, Buffer.from('nonsense')], ids)).toBeUndefined();
    const step = role.revocations([...ours, theirs], ['spiffe://b.example/uid/1', ...ids]);
    const spiffeIds = ['spiffe://b.example/uid/1'];
    expect(step?.abroad?.joined.get('region-b')).toMatchObject({ crls: [theirs], spiffeIds });
    expect(() => role.revocations([Buffer.alloc(2 * 1024 * 1024)], [])).toThrow('at most');
    const bundle = { ...estate.b.plane.registry.ownBundle, trustDomain: 'c.example' };
    const document = { trustDomain: 'c.example', jwks: Buffer.from(formatBundle(bundle)) };
    const state = create(BundleStateSchema, { version: 9n, trustDomain: 'c.example', bundles: [document] });
    expect(() => role.bundles(state)).toThrow('is now of c.example, not b.example');
  });

  test('that the other control plane has revoked is given up at once', async () => {
    const estate = await Estate.make();
    const slot = await estate.join();
    const connection = await estate.connect(await estate.a.agent('n1'));
    await estate.move(connection);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://b.example/uid/1');
    const serial = slot?.intermediates[0]?.serial ?? '';
    await estate.b.plane.revoking.revokeSerial(WHO, serial, 'keyCompromise');
    expect((await connection.next('replace')).authority).toBe(slot?.id);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
    expect(estate.warnings.join()).toContain('accepted no more');
  });

  test('has its JWT-SVIDs signed by the other control plane, for the ID of the X509-SVID', async () => {
    const estate = await Estate.make();
    await estate.join();
    const agent = await estate.a.agent('n1');
    const connection = await estate.connect(agent);
    const attributes = estate.a.plane.agents.agentOf(agent.id);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://a.example/uid/1');
    await estate.move(connection);
    const verified = async () => {
      const { token } = await estate.token(1, attributes);
      const { bundles } = estate.a.plane.registry.bundles.current.value;
      return (await verifyJwtSvid(token, { bundles, audience: 'db', now: estate.a.timers.now() })).spiffeId;
    };
    // It has not moved before its X509-SVID has.
    expect(await verified()).toBe('spiffe://a.example/uid/1');
    await estate.a.timers.advance(1000);
    expect(await estate.idOf(connection, 1)).toBe('spiffe://b.example/uid/1');
    expect(await verified()).toBe('spiffe://b.example/uid/1');
    estate.b.server.kill();
    await estate.until(() => estate.joined?.list()[0]?.fault !== undefined);
    expect(await verified()).toBe('spiffe://a.example/uid/1');
    expect(estate.warnings.join()).toContain('"region-b" cannot sign');
  });

  test('has an ID that is revoked under either name', async () => {
    const estate = await Estate.make();
    await estate.join();
    const connection = await estate.connect(await estate.a.agent('n1'));
    const { revoking, registry } = estate.a.plane;
    await estate.idOf(connection, 1);
    await estate.move(connection);
    await estate.idOf(connection, 1);
    await estate.idOf(connection, 2);
    expect(await revoking.revokeId(WHO, parseSpiffeId('spiffe://a.example/uid/1'), 'x')).toBe(2);
    await expect(estate.idOf(connection, 1)).rejects.toThrow('is revoked');
    expect(await revoking.revokeId(WHO, parseSpiffeId('spiffe://b.example/uid/2'), 'x')).toBe(1);
    await expect(estate.idOf(connection, 2)).rejects.toThrow('is revoked');
    await revoking.allow(WHO, parseSpiffeId('spiffe://b.example/uid/1'));
    await revoking.allow(WHO, parseSpiffeId('spiffe://a.example/uid/2'));
    expect(registry.revocations.current.value.spiffeIds.size).toBe(0);
    expect(await estate.idOf(connection, 2)).toBe('spiffe://b.example/uid/2');
  });
});

describe('joining', () => {
  test('is completed by a second try where no rule allowed it at first', async () => {
    const estate = await Estate.make('{ trustDomains: [a.example] }');
    await expect(estate.join()).rejects.toMatchObject({ code: 'forbidden' });
    await estate.b.apply(rights('{ unlimited: true }'));
    const order = { name: 'region-b', address: estate.address };
    expect(await estate.joined?.join(WHO, order)).toMatchObject({ name: 'region-b', state: 'active' });
  });

  test('is done anew with another token after a long absence, and only at the same control plane', async () => {
    const estate = await Estate.make();
    const slot = await estate.join();
    const order = { name: 'region-b', address: estate.address, joinToken: await estate.b.token('a') };
    expect((await estate.joined?.join(WHO, order))?.id).toBe(slot?.id);
    await estate.until(() => estate.joined?.list()[0]?.fault === undefined);
    const another = await TestPlane.make({ trustDomain: 'c.example' });
    undo.push(() => another.remove());
    await another.serve();
    const astray = {
      ...order,
      address: `127.0.0.1:${another.server.port}`,
      joinToken: await another.token('a'),
    };
    await expect(estate.joined?.join(WHO, astray)).rejects.toThrow(
      'is of spiffe://b.example/interlock/server',
    );
    expect(estate.joined?.list()).toMatchObject([
      { trustDomain: 'b.example', address: order.address, fault: undefined },
    ]);
  });

  test('is refused under a name that is taken, without a token, and to itself', async () => {
    const estate = await Estate.make();
    const order = { name: 'default', address: estate.address };
    await expect(estate.joined?.join(WHO, order)).rejects.toMatchObject({ code: 'conflict' });
    await expect(estate.joined?.join(WHO, { ...order, name: 'x' })).rejects.toMatchObject({ code: 'usage' });
    const own = {
      name: 'x',
      address: `127.0.0.1:${estate.a.server.port}`,
      joinToken: await estate.a.token('me'),
    };
    await expect(estate.joined?.join(WHO, own)).rejects.toThrow('it is no other region');
    expect(estate.joined?.list()).toEqual([]);
  });
});

describe('another region of the same trust domain', () => {
  const REGION = '{ prefixes: ["/uid/"], trustDomains: [example.org] }';

  test('trusts this one and is trusted, each by its own roots, and neither takes the other for itself', async () => {
    const estate = await Estate.make(REGION, ['example.org', 'example.org']);
    await estate.join();
    const [a, b] = [estate.a, estate.b].map(({ plane }) => plane.registry.bundles);
    await estate.until(() => b?.current.value.regions !== undefined);
    const roots = (bundles = a) =>
      new Set(bundles?.current.value.bundles.get('example.org')?.x509Authorities.map(String));
    expect(roots(a)).toEqual(roots(b));
    expect(roots(a).size).toBe(2);
    expect(a?.current.value.local.x509Authorities).toHaveLength(1);
    // An agent of the other region has the very ID of one here.
    await estate.a.agent('n1');
    const twin = await estate.b.agent('n1');
    expect((await twin.connect({ to: estate.a }).end())?.code).toBe(status.UNAUTHENTICATED);
    const connection = await estate.connect(await estate.a.agent('n2'));
    await estate.move(connection);
    const { chain } = await connection.sign(1, { spiffeId: 'spiffe://example.org/uid/1' });
    for (const bundles of [a, b]) {
      const known = bundles?.current.value.bundles ?? new Map();
      expect(verifyX509Svid(chain, { bundles: known, now: estate.a.timers.now() }).spiffeId).toBe(
        'spiffe://example.org/uid/1',
      );
    }
    expect(a?.current.value.targets).toEqual([]);
  });

  test('is trusted no more once it is evicted, or no rule makes it a region', async () => {
    const estate = await Estate.make(REGION, ['example.org', 'example.org']);
    await estate.join();
    const { registry, children, agents } = estate.b.plane;
    const trusted = () => registry.ownBundle.x509Authorities.length;
    await estate.until(() => trusted() === 2);
    await children.pruneRegions();
    expect(trusted()).toBe(2);
    await estate.b.apply(rights('{ prefixes: ["/uid/"] }', 'example.org'));
    await children.pruneRegions();
    expect(trusted()).toBe(1);
    await estate.b.apply(rights(REGION, 'example.org'));
    const id = parseSpiffeId('spiffe://example.org/interlock/agent/join_token/a');
    const document = Buffer.from(formatBundle(estate.a.plane.registry.bundles.current.value.local));
    await children.publish(agents.agentOf(id), 'example.org', document);
    expect(trusted()).toBe(2);
    await agents.evict(WHO, id, 'keyCompromise');
    await children.pruneRegions();
    expect(trusted()).toBe(1);
  });

  test('withdraws a root, which then does not come back from here', async () => {
    const estate = await Estate.make(REGION, ['example.org', 'example.org']);
    await estate.join();
    const b = estate.b.plane;
    await estate.until(() => b.registry.bundles.current.value.regions !== undefined);
    const next = await b.authorities.prepare(WHO);
    const { bundles } = estate.a.plane.registry;
    const has = (from: typeof bundles, der: Buffer) =>
      from.current.value.bundles.get('example.org')?.x509Authorities.some((each) => each.equals(der)) ===
      true;
    await estate.until(() => has(bundles, next.root.der));
    const [first] = b.authorities.slots;
    await b.authorities.activate(WHO, next.id, true);
    await b.authorities.revoke(WHO, first?.id ?? '', true);
    const gone = first?.root.der ?? Buffer.alloc(0);
    await estate.until(() => !has(bundles, gone));
    expect(has(b.registry.bundles, gone)).toBe(false);
    // What this one has of its own stays, on both sides.
    for (const { der } of estate.a.plane.authorities.slots
      .filter(({ name }) => name === 'default')
      .map(({ root }) => root))
      expect([has(bundles, der), has(b.registry.bundles, der)]).toEqual([true, true]);
  });
});
