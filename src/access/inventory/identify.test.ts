import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Directory } from './directory.ts';
import { Identities, type Named, serviceAccountManifests } from './identify.ts';
import { parseSpiffeId, pathOf } from '../spiffe-id.ts';

const shop = (workload?: string, serviceAccount?: string): Named => ({
  namespace: 'shop',
  ...(workload === undefined ? {} : { workload }),
  ...(serviceAccount === undefined ? {} : { serviceAccount }),
});

const pathIn = (all: Named[], named: Named) => pathOf(new Identities('example.org', all).idOf(named).id);

describe('an identity', () => {
  test('is the service account’s where one workload has it to itself', () => {
    const ids = new Identities('example.org', [shop('cart', 'cart-sa')]);
    const cart = { id: 'spiffe://example.org/ns/shop/sa/cart-sa', identifiedBy: 'service-account' };
    expect(ids.idOf(shop('cart', 'cart-sa'))).toEqual(cart);
    expect(ids.idOf(shop('cart'))).toEqual(cart);
    expect(ids.idOf(shop(undefined, 'cart-sa'))).toEqual(cart);
    expect(ids.shared).toEqual([]);
  });

  test('is the workload’s name where several share an account, and the sharing is reported', () => {
    const ids = new Identities('example.org', [
      shop('b', 'default'),
      shop('a', 'default'),
      shop('b', 'default'),
    ]);
    expect(ids.idOf(shop('a', 'default'))).toEqual({
      id: 'spiffe://example.org/ns/shop/sa/a',
      identifiedBy: 'workload-name',
    });
    expect(ids.idOf(shop('b')).id).toBe('spiffe://example.org/ns/shop/sa/b');
    expect(ids.shared).toEqual([{ namespace: 'shop', serviceAccount: 'default', workloads: ['a', 'b'] }]);
  });

  test('stays apart where only a shared account is known', () => {
    const all = [shop('a', 'default'), shop('b', 'default'), shop(undefined, 'default')];
    expect(pathIn(all, shop(undefined, 'default'))).toBe('/ns/shop/sa/default');
    const named = [shop('default', 'default'), shop('b', 'default')];
    expect(pathIn(named, shop('default', 'default'))).toBe('/ns/shop/sa/default-workload');
  });

  test('takes the workload’s name where nothing else is known, in the namespace default if none is', () => {
    expect(pathIn([], { namespace: '', workload: 'cart' })).toBe('/ns/default/sa/cart');
    expect(pathIn([shop(undefined, 'cart')], shop('cart'))).toBe('/ns/shop/sa/cart');
  });

  test('does not take a name that is another workload’s account, or another workload', () => {
    const all = [shop('cart', 'default'), shop('web', 'default'), shop('old', 'cart')];
    expect(pathIn(all, shop('cart', 'default'))).toBe('/ns/shop/sa/cart-workload');
    const more = [...all, shop('cart-workload')];
    expect(pathIn(more, shop('cart', 'default'))).toMatch(/^\/ns\/shop\/sa\/cart-workload-[0-9a-f]{8}$/);
    expect(pathIn(more, shop('cart-workload'))).toBe('/ns/shop/sa/cart-workload');
  });

  test('is a SPIFFE ID whatever the name is', () => {
    for (const name of ['a b', '.', '..', 'ä', 'a/b', '__proto__', 'x'.repeat(3000), '%20', '\0']) {
      const { id } = new Identities('example.org', [shop(name)]).idOf({ namespace: name, workload: name });
      expect(parseSpiffeId(id)).toBe(id);
      expect(id).not.toContain('%');
    }
  });

  test('differs for names that look alike once they are cleaned', () => {
    const names = ['a b', 'a/b', 'a-b', 'a  b', 'A b'];
    const ids = new Identities(
      'example.org',
      names.map((name) => shop(name)),
    );
    expect(new Set(names.map((name) => ids.idOf(shop(name)).id)).size).toBe(names.length);
  });

  test('differs from a name that is written like the cleaned form of another', () => {
    const cleaned = pathIn([shop('a b')], shop('a b')).replace('/ns/shop/sa/', '');
    const all = [shop('a b'), shop(cleaned)];
    expect(pathIn(all, shop(cleaned))).toBe(`/ns/shop/sa/${cleaned}`);
    expect(pathIn(all, shop('a b'))).toMatch(/^\/ns\/shop\/sa\/a-b-[0-9a-f]{8}$/);
    expect(pathIn(all, shop('a b'))).not.toBe(pathIn(all, shop(cleaned)));
  });

  test('refuses a trust domain that is none', () => {
    expect(() => new Identities('Example.org', [])).toThrow(/trust domain/);
  });

  const name = fc.constantFrom('a', 'b', 'c', 'a-workload', 'default', 'a b', 'a/b');
  const named = fc.oneof(
    fc.record({ namespace: fc.constantFrom('', 'default', 'shop'), workload: name, serviceAccount: name }),
    fc.record({ namespace: fc.constantFrom('', 'default', 'shop'), workload: name }),
    fc.record({ namespace: fc.constantFrom('', 'default', 'shop'), serviceAccount: name }),
  );

  test('does not depend on the order in which names come', () => {
    fc.assert(
      fc.property(fc.array(named), fc.func(fc.integer()), (all, rank) => {
        const shuffled = all.toSorted((a, b) => rank(a) - rank(b));
        const [one, other] = [new Identities('x.org', all), new Identities('x.org', shuffled)];
        expect(other.shared).toEqual(one.shared);
        for (const n of all) expect(other.idOf(n)).toEqual(one.idOf(n));
      }),
    );
  });

  test('is never given to two workloads', () => {
    let several = 0;
    fc.assert(
      fc.property(fc.array(named), (all: Named[]) => {
        const ids = new Identities('x.org', all);
        const owner = new Map<string, string>();
        for (const n of all.filter((m) => m.workload !== undefined)) {
          const who = `${n.namespace || 'default'} ${n.workload}`;
          const { id } = ids.idOf(n);
          expect(owner.get(id) ?? who).toBe(who);
          owner.set(id, who);
        }
        if (owner.size > 3) several++;
      }),
      { numRuns: 500 },
    );
    expect(several).toBeGreaterThan(50);
  });
});

describe('manifests against sharing', () => {
  test('give each workload an account of its name, and the patch that uses it', () => {
    const fact = {
      fact: 'workload',
      namespace: 'shop',
      serviceAccount: 'default',
      labels: {},
      ports: [],
      images: [],
      hostNetwork: false,
      marks: {},
      declares: [],
      configMaps: [],
    } as const;
    const directory = new Directory([
      { ...fact, kind: 'Deployment', name: 'cart' },
      { ...fact, kind: 'CronJob', name: 'report' },
      { ...fact, kind: 'Pod', name: 'bare' },
    ]);
    const workloads = ['bare', 'cart', 'report', 'traced'];
    const made = serviceAccountManifests(
      [{ namespace: 'shop', serviceAccount: 'default', workloads }],
      directory,
    );
    expect(made.map((m) => [m.workload, m.name, m.patch !== undefined])).toEqual([
      ['bare', 'bare', false],
      ['cart', 'cart', true],
      ['report', 'report', true],
      ['traced', 'traced', false],
    ]);
    expect(made[1]).toEqual({
      namespace: 'shop',
      workload: 'cart',
      name: 'cart',
      account: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'cart', namespace: 'shop' } },
      patch: {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'cart', namespace: 'shop' },
        spec: { template: { spec: { serviceAccountName: 'cart' } } },
      },
    });
    expect(made[2]?.patch).toMatchObject({
      spec: { jobTemplate: { spec: { template: { spec: { serviceAccountName: 'report' } } } } },
    });
  });
});
