// What is looked at and done on every page by whoever operates the estate, on one control plane.
import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_GATES } from '../../src/rollout/index.ts';
import { atConsole, workloadPath } from './at-console.ts';
import { missing } from './browser.ts';
import { tryTables } from './every-table.ts';
import { unreachable } from './keyboard.ts';
import { shopId, type ShopName } from './shop-evidence.ts';
import type { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`The browser tests of acts, tables and keys are left out: ${why}.`);

/** Days, so few that a rule which nobody has used in this hour is unused: what was recorded ends with the hour before. */
const AT_ONCE = 1e-6;

describe.skipIf(why !== undefined)('with the console alone', () => {
  let receiver: Server;
  const heard: string[] = [];
  const channel = (name: string, port: number) => ({
    name,
    kind: 'webhook' as const,
    url: new URL(`http://127.0.0.1:${port}/hook`),
    secrets: [Buffer.from('a key for tests, and for nothing else')],
    on: new Set(['release', 'arm'] as const),
    only: {},
    allowPrivate: true,
  });
  const at = atConsole(async () => {
    receiver = createServer((request, response) => {
      heard.push(request.url ?? '');
      request.resume().on('end', () => response.end());
    }).listen(0, '127.0.0.1');
    await once(receiver, 'listening');
    // An address of TCP is one.
    const { port } = receiver.address() as AddressInfo;
    return {
      // A client that is seen to call, and no server side of it: only a person can say that it is known.
      also: (evidence) =>
        evidence.blindSpot(
          {
            kind: 'client-only',
            from: { spiffeId: shopId('web') },
            to: { spiffeId: shopId('mail') },
            what: 'GET /status',
          },
          Date.now() - 3_600_000,
        ),
      serve: {
        gates: { ...DEFAULT_GATES, standard: { ...DEFAULT_GATES.standard, unusedDays: AT_ONCE } },
        // Port 9 answers nobody (RFC 863).
        notify: { channels: [channel('on-call', port), channel('broken', 9)] },
      },
    };
  });
  const { lookAt } = at;
  let shop: Shop;
  let page: Page;
  beforeAll(() => {
    ({ shop, page } = at);
  });
  afterAll(() => receiver.close());

  const open = (name: ShopName, where?: 'review') => page.goto(shop.origin + workloadPath(name, where));
  const targetOf = async (name: ShopName) =>
    JSON.stringify(
      (await shop.call('rollouts.get', { params: { workload: shopId(name) } }))['targetPolicies'],
    );

  test('every table filters, sorts and exports', async () => {
    const found: string[] = [];
    const look = async (path: string, shows: string, tabs: readonly string[] = ['']) => {
      await page.goto(shop.origin + path);
      for (const tab of tabs) {
        if (tab !== '') await page.getByRole('tab', { name: tab }).click();
        await page.locator('main').getByText(shows).first().waitFor();
        await page.getByText('Reading...').first().waitFor({ state: 'detached' });
        found.push(...(await tryTables(page, `${path} ${tab}`)));
      }
    };
    await look('/workloads', 'shop/payment');
    await look(workloadPath('catalogue'), 'shop/catalogue', [
      'Overview',
      'Accesses',
      'Flips',
      'Proxies',
      'History',
    ]);
    await shop.call('releases.drill', { body: {} });
    await look('/release', 'Nothing is denied any more at');
    await look('/audit', 'rollout.enforced');
    await look('/settings', 'first-week surprises');
    await shop.call('revocations.make', {
      body: { spiffeId: shopId('report', 'batch'), reason: 'keyCompromise' },
    });
    await look('/identities', 'Live SVIDs', ['Live SVIDs', 'Agents', 'Revoked']);
    await page.goto(`${shop.origin}/review`);
    await page.getByText('Table', { exact: true }).click();
    await page.getByRole('columnheader', { name: 'Open since' }).waitFor();
    found.push(...(await tryTables(page, '/review')));
    await page.getByText('One by one', { exact: true }).click();
    expect([...new Set(found)].sort()).toEqual([
      'accesses-from',
      'agents',
      'audit',
      'authorities',
      'called by',
      'channels',
      'drills',
      'flips',
      'gates',
      'history',
      'proxies',
      'reviews',
      'revoked',
      'sessions',
      'svids',
      'workloads',
    ]);
    expect(at.visit.faults).toEqual([]);
  });

  test('every page is operated by the keyboard alone, and shows where one is', async () => {
    const pages: readonly (readonly [path: string, shows: string])[] = [
      ['/', 'workloads and callers'],
      ['/workloads', 'shop/payment'],
      [workloadPath('catalogue'), 'To deny for real'],
      [workloadPath('catalogue', 'review'), 'would be denied'],
      ['/identities', 'shop/shipping'],
      ['/release', 'Nothing is denied any more at'],
      ['/audit', 'rollout.enforced'],
      ['/settings', 'first-week surprises'],
    ];
    for (const [path, shows] of pages) {
      await page.goto(shop.origin + path);
      await page.getByText(shows).first().waitFor();
      await page.getByText('Reading...').first().waitFor({ state: 'detached' });
      expect(await unreachable(page), path).toEqual({ never: [], unseen: [] });
    }
  });

  test('a tightening is accepted by keys: the rule goes, and nothing is denied by that yet', async () => {
    expect(await targetOf('shipping')).toContain('Quote');
    // What comes in is what proposals are made anew by.
    shop.report('shipping', { plaintext: [] });
    await open('shipping', 'review');
    await page.getByRole('heading', { name: /Tightenings/ }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('a');
    const dialog = page.getByRole('dialog', { name: 'Approve' });
    await dialog.getByText('1 rule will go').waitFor();
    await lookAt('review-tightening');
    await page.keyboard.press('Enter');
    await dialog.waitFor({ state: 'detached' });
    await expect.poll(() => targetOf('shipping'), { timeout: 120_000 }).not.toContain('Quote');
    // What is in force still allows it.
    const { enforcedPolicies } = await shop.call('rollouts.get', {
      params: { workload: shopId('shipping') },
    });
    expect(JSON.stringify(enforcedPolicies)).toContain('Quote');
  });

  test('what the evidence cannot show is acknowledged, with a reason', async () => {
    await open('mail');
    const known = page.getByRole('checkbox', { name: /web/ });
    await known.check();
    const button = page.getByRole('button', { name: 'Acknowledge 1' });
    expect(await button.isDisabled()).toBe(true);
    await page.getByLabel('Why it is known and may stay').fill('a probe of ours');
    await lookAt('acknowledge');
    await button.click();
    await known.waitFor({ state: 'detached' });
    const { entries } = await shop.call('audit.list', { query: { act: 'review.acknowledge' } });
    expect(JSON.stringify(entries)).toContain('a probe of ours');
  });

  test('a rule that ends by itself says when, among the rules and where it allows an access', async () => {
    const { yaml } = await shop.call('reviews.get', { params: { workload: shopId('catalogue') } });
    const until = new Date(Date.now() + 3 * 86_400_000 + 3_600_000).toISOString();
    const text = String(yaml).replace(
      /^( +)- name: .*web.*$/m,
      `$&\n$1  until: ${until}\n$1  reason: until the move`,
    );
    expect(text).toContain('until the move');
    await shop.call('policies.apply', { body: { yaml: text } });
    await open('catalogue');
    await page.getByRole('tab', { name: 'Policy' }).click();
    await page.getByText(/exception, ends in 3d/).waitFor();
    await lookAt('exception');
    await page.getByRole('tab', { name: 'Accesses' }).click();
    await page
      .getByRole('row', { name: /products.*exception, ends in 3d/ })
      .first()
      .waitFor();
  });

  test('what is kept in Git says where, at which commit, and whether it was changed here since', async () => {
    const params = { workload: shopId('checkout') };
    const { yaml } = await shop.call('reviews.get', { params });
    const { version } = await shop.call('rollouts.get', { params });
    const commit = 'c0ffee'.padEnd(40, '0');
    await shop.call('policies.sync', {
      params,
      body: {
        version: String(version),
        yaml: String(yaml),
        source: { name: 'github.com/acme/policies//shop', commit, branch: 'main' },
        marks: { checkout: 'x1' },
        origins: { checkout: { file: 'checkout.yaml', authors: ['git:eve@acme.example'] } },
      },
    });
    await open('checkout');
    await page.getByRole('tab', { name: 'Policy' }).click();
    await page
      .getByText(
        /From Git: github.com\/acme\/policies\/\/shop\/checkout.yaml at commit c0ffee0000 of main, written by eve@acme.example; synced .* by local:alice. Change it there./,
      )
      .waitFor();
    await shop.call('policies.apply', {
      body: { yaml: String(yaml).replace('Place', 'PlaceNow') },
    });
    await page.getByText('changed here since').waitFor();
    await lookAt('from-git');
    expect(at.visit.faults).toEqual([]);
  });

  test('a canary is held where it is, with a reason, and let go on', async () => {
    await open('cart');
    await page.getByRole('button', { name: 'Hold', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Hold it where it is' });
    expect(await dialog.getByRole('button', { name: 'Hold' }).isDisabled()).toBe(true);
    await dialog.getByLabel('Why').fill('a sale until Monday');
    await page.keyboard.press('Enter');
    await page.getByText('held: does not move forward by itself').waitFor();
    await page.getByText(/^by .*a sale until Monday$/).waitFor();
    await page.getByRole('button', { name: 'Let it go on' }).click();
    await page.getByText('held: does not move forward by itself').waitFor({ state: 'detached' });
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByRole('row', { name: /held it where it is.*a sale until Monday/ }).waitFor();
  });

  test('of several control planes it is said which leads, and which is not heard of', async () => {
    // One that keeps its state to itself says nothing of others: what a shared one answers stands in for it.
    const one = {
      agents: 1,
      lastSeen: Date.now(),
      isSilent: false,
      leads: false,
      isReady: true,
      checks: { store: 'ok' },
    };
    const replicas = [
      { ...one, id: 'r1', isThis: true, host: 'plane-a', leads: true, leadsSince: Date.now() - 60_000 },
      { ...one, id: 'r2', isThis: false, host: 'plane-b', isReady: false, checks: { store: 'unavailable' } },
      { ...one, id: 'r3', isThis: false, host: 'plane-c', isSilent: true, isReady: false },
    ];
    await page.goto(`${shop.origin}/settings`);
    await page.getByText('first-week surprises').waitFor();
    expect(await page.getByRole('region', { name: 'replicas' }).count()).toBe(0);
    await page.route('**/v1/replicas', (route) => route.fulfill({ json: { isShared: true, replicas } }));
    await page.reload();
    await page.getByRole('row', { name: /plane-a \(this one\).*ready.*leads since/ }).waitFor();
    await page.getByRole('row', { name: /plane-b.*not ready: store unavailable/ }).waitFor();
    await page.getByRole('row', { name: /plane-c.*silent/ }).waitFor();
    await tryTables(page, '/settings with replicas');
    await lookAt('settings-replicas');
    await page.unroute('**/v1/replicas');
  });

  test('channels show whether they arrive, and a test says what came of it', async () => {
    await page.goto(`${shop.origin}/settings`);
    await page.getByRole('button', { name: 'Send a test to on-call' }).click();
    await page.getByText('The test was delivered to on-call.').waitFor();
    expect(heard).toEqual(['/hook']);
    await page.getByRole('button', { name: 'Send a test to broken' }).click();
    await page.getByText(/The test did not reach broken: ./).waitFor();
    await lookAt('settings-channels');
  });

  test('the taint of an authority and a cutover are followed as they go on', async () => {
    await page.goto(`${shop.origin}/identities`);
    const authorities = page.getByRole('region', { name: 'authorities' });
    await authorities.getByRole('row', { name: /default.*active/ }).waitFor();
    const make = async (name: string) => {
      const { id, state } = await shop.call('authorities.prepare', { body: { name } });
      // The first one of a name signs at once.
      if (state === 'prepared')
        await shop.call('authorities.activate', { params: { id: String(id) }, body: { force: true } });
    };
    const { authorities: before } = (await shop.call('authorities.list', {})) as {
      readonly authorities: readonly { readonly id: string }[];
    };
    await make('region-b');
    await authorities.getByRole('row', { name: /region-b.*active/ }).waitFor();
    await shop.call('cutovers.start', {
      body: { id: 'to-b', from: 'default', to: 'region-b', share: 0.5 },
    });
    await page.getByRole('tab', { name: 'Cutovers' }).click();
    // Soon after its start the control plane still waits for agents that are not back yet.
    await page
      .getByRole('row', { name: /to-b.*default.*region-b.*(waits for agents|running).*50 %/ })
      .waitFor();
    await tryTables(page, 'cutovers');
    await make('default');
    await shop.call('authorities.taint', {
      params: { id: before[0]?.id ?? '' },
      body: { overMs: 60_000 },
    });
    await authorities.getByText(/tainted: \d+ left to replace/).waitFor();
    await lookAt('taint');
    expect(at.visit.faults).toEqual([]);
  });
});
