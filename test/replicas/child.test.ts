import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { childRule } from '../../src/server/identity/child-planes.test-helper.ts';
import { WHO } from '../../src/server/testing.test-helper.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane, until } from './planes.test-helper.ts';

describe.skipIf(!hasPostgres)('two control planes of one database that are a child authority', () => {
  let parent: SharedPlane;
  let a: SharedPlane;
  let b: SharedPlane;

  beforeAll(async () => {
    const keyFile = newKeyFile();
    parent = await SharedPlane.start({ url: await newPostgresUrl(), keyFile });
    await parent.apply(childRule('pay', '{ prefixes: [/pay/] }'));
    const above = {
      address: `127.0.0.1:${parent.server.port}`,
      // Good once: one of the two joins, and the other finds it done.
      joinToken: await parent.token('pay'),
    };
    const url = await newPostgresUrl();
    const start = () => SharedPlane.start({ url, keyFile, serve: { parent: above } });
    [a, b] = await Promise.all([start(), start()]);
  }, 60_000);

  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
    await parent?.close();
  }, 30_000);

  /** How many of them are connected to the parent. */
  const connected = () => parent.serving.api.server.service.connected();
  const token = ({ plane }: SharedPlane) =>
    plane.issuing.jwt({
      spiffeId: parseSpiffeId('spiffe://example.org/pay/7'),
      audience: ['x'],
      ttl: 60_000,
      agent: '',
      rule: '',
    });

  test('have one authority, one connection to the parent, and tokens of it at both', async () => {
    expect(a.activeAuthority()).toBe(b.activeAuthority());
    await until(() => connected().length > 0);
    const tokens = await Promise.all([token(a), token(b)]);
    for (const { authority } of tokens) expect(authority).toBe(parent.activeAuthority());
    expect(connected()).toHaveLength(1);
  });

  test('hear what the parent says, both, also after the one that was connected is gone', async () => {
    const roots = (plane: SharedPlane) => plane.plane.registry.ownBundle.x509Authorities.length;
    await parent.plane.authorities.prepare(WHO, 'second');
    await Promise.all([a, b].map((plane) => plane.until('bundles', () => roots(plane) === 2)));
    const revoked = 'spiffe://example.org/pay/8';
    const [leader, other] = a.isLeader ? [a, b] : [b, a];
    await leader.close();
    await other.leads();
    await parent.plane.revoking.revokeId(WHO, parseSpiffeId(revoked), 'keyCompromise');
    await other.until('revocations', () =>
      other.plane.registry.revocations.current.value.spiffeIds.has(revoked),
    );
    expect((await token(other)).authority).toBe(parent.activeAuthority());
    // And what is revoked here goes up.
    const below = 'spiffe://example.org/pay/9';
    await other.plane.revoking.revokeId(WHO, parseSpiffeId(below), 'keyCompromise');
    await parent.until('revocations', () =>
      parent.plane.registry.revocations.current.value.spiffeIds.has(below),
    );
    expect(other.faults).toEqual([]);
  });
});
