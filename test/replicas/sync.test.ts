import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import { Api } from '../../src/cli/control/api.ts';
import { readPolicies } from '../../src/policy/index.ts';
import { hasPostgres, newPostgresUrl } from '../../src/store/postgres/server.test-helper.ts';
import { newKeyFile, SharedPlane, until } from './planes.test-helper.ts';

const CART = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const yaml = (path: string) => `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: ${CART} }
  rules: [ { name: web, from: [ { trustDomain: example.org } ], to: [ { http: { paths: [ "${path}" ] } } ] } ]
`;
const source = { name: 'acme/policies//', commit: 'a'.repeat(40), branch: 'main' };

describe.skipIf(!hasPostgres)('a sync at two control planes of one database', () => {
  let [a, b] = [] as SharedPlane[];
  beforeAll(async () => {
    const options = { url: await newPostgresUrl(), keyFile: newKeyFile() };
    a = await SharedPlane.start(options);
    b = await SharedPlane.start(options);
  }, 60_000);
  afterAll(async () => {
    await Promise.all([a?.close(), b?.close()]);
  }, 30_000);
  const apiOf = (plane: SharedPlane | undefined) => new Api({ state: plane?.dir ?? '' });

  test('has its turn at both, and where a policy is from is told by both', async () => {
    const take = (plane: SharedPlane | undefined, holder: string, forMs = 60_000) =>
      apiOf(plane).call('syncs.take', { body: { source: source.name, holder, kind: 'watch', forMs } });
    const both = await Promise.allSettled([take(a, 'run-at-one'), take(b, 'run-at-two')]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const holder = both[0].status === 'fulfilled' ? 'run-at-one' : 'run-at-two';
    const put = (plane: SharedPlane | undefined, by: string) =>
      apiOf(plane).call('policies.sync', {
        params: { workload: CART },
        body: {
          version: null,
          yaml: yaml('/a'),
          source: { ...source, holder: by },
          marks: { cart: 'x' },
          origins: { cart: { file: 'cart.yaml', authors: ['git:ann@example.com'] } },
        },
      });
    for (const plane of [a, b])
      await expect(put(plane, 'run-at-none')).rejects.toMatchObject({ code: 'conflict' });
    expect(await put(a, holder)).toMatchObject({ created: ['cart'] });
    await until(
      () => b?.serving.api.syncOrigins.of(CART, readPolicies(yaml('/a'))[0] ?? expect.fail()) !== undefined,
    );
    await until(() => b?.serving.enforcing.rollouts.all.has(CART) === true);
    for (const plane of [a, b])
      expect(await apiOf(plane).call('rollouts.get', { params: { workload: CART } })).toMatchObject({
        origins: [{ policy: 'cart', file: 'cart.yaml', commit: source.commit, branch: 'main' }],
      });
    expect(b?.serving.enforcing.rollouts.get(CART).authors).toContain('git:ann@example.com');
    expect((await apiOf(b).call('syncs.list')).syncs).toMatchObject([{ source: source.name, kind: 'watch' }]);
    // What is given back at one can be had at the other one at once.
    await take(b, holder, 0);
    await take(a, 'run-at-three');
  });
});
