import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import type { Answer } from '../../api/index.ts';
import { LOCAL, type TestApi, testApi, VIEWER } from './testing.test-helper.ts';

const idOf = (name: string) => parseSpiffeId(`spiffe://example.org/ns/shop/sa/${name}`);
const policy = (name: string, path: string, protects = name) => `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name}, namespace: shop }
spec:
  protects: { workload: ${idOf(protects)} }
  tier: experimental
  rules:
    - name: web
      from: [ { workload: ${idOf('web')} } ]
      to: [ { http: { methods: [GET], paths: [${path}] }, ports: [80] } ]
`;

let api: TestApi;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());

async function list(query = ''): Promise<Answer<'policies.list'>> {
  const answer = await api.ask(VIEWER, 'GET', `/v1/policies${query}`);
  expect([answer.status, api.faults]).toEqual([200, []]);
  return (await answer.json()) as Answer<'policies.list'>;
}

const shown = ({ policies }: Answer<'policies.list'>) =>
  policies.map(({ workload, name, sets, document }) => {
    const [to] = document.spec.rules[0]?.to ?? [];
    const paths = to !== undefined && 'http' in to ? to.http.paths : [];
    return `${workload.slice(workload.lastIndexOf('/') + 1)} ${name} ${sets.join('+')} ${paths?.join(' ')}`;
  });

async function change(path: string, body: object): Promise<void> {
  const answer = await api.ask(LOCAL, 'POST', path, { body: JSON.stringify(body) });
  expect([answer.status, await answer.text()]).toEqual([200, expect.anything()]);
}

describe('the list of policies', () => {
  test('is empty at first', async () => {
    expect(await list()).toEqual({ policies: [] });
  });

  test('has each document with the sets that it is in: of two versions both, of one version one', async () => {
    const yaml = [policy('cart', '/a'), policy('more', '/m', 'cart'), policy('stock', '/s')].join('---');
    await change('/v1/policies', { yaml });
    expect(shown(await list())).toEqual([
      'cart cart target /a',
      'cart more target /m',
      'stock stock target /s',
    ]);
    const move = `/v1/rollouts/${encodeURIComponent('example.org/ns/shop/sa/cart')}/move`;
    for (const to of ['shadow', 'canary', 'enforced'])
      await change(move, { to, share: to === 'canary' ? 1 : undefined, anyway: 'a test' });
    expect(shown(await list())).toEqual([
      'cart cart target+enforced /a',
      'cart more target+enforced /m',
      'stock stock target /s',
    ]);
    await change('/v1/policies', { yaml: policy('cart', '/b') });
    const all = await list();
    expect(shown(all)).toEqual([
      'cart cart enforced /a',
      'cart cart target /b',
      'cart more target+enforced /m',
      'stock stock target /s',
    ]);
    expect(all.policies[3]?.document).toMatchObject({
      kind: 'AccessPolicy',
      metadata: { name: 'stock', namespace: 'shop' },
      spec: { protects: { workload: idOf('stock') }, tier: 'experimental', deny: [] },
    });
  });

  test('is asked for by workload and in pages, without a document left out or shown twice', async () => {
    const of = await list(`?workload=${encodeURIComponent(idOf('stock'))}`);
    expect(shown(of)).toEqual(['stock stock target /s']);
    const whole = shown(await list());
    const paged: string[] = [];
    for (let next: string | undefined = ''; next !== undefined; ) {
      const page: Answer<'policies.list'> = await list(`?limit=1${next === '' ? '' : `&after=${next}`}`);
      expect(page.policies).toHaveLength(1);
      paged.push(...shown(page));
      next = page.next;
    }
    expect(paged).toEqual(whole);
    const unknown = `?workload=${encodeURIComponent(idOf('nobody'))}`;
    expect((await api.ask(VIEWER, 'GET', `/v1/policies${unknown}`)).status).toBe(404);
  });
});
