import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { atConsole, workloadPath } from './at-console.ts';
import { missing, seriousViolations, shoot, signIn, type Visit } from './browser.ts';
import { HOSTILE, shopId, type ShopName } from './shop-evidence.ts';
import { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`The console's browser tests are left out: ${why}.`);

const CATALOGUE = workloadPath('catalogue');

/** Each page, and what stands on it once its data is there. */
const PAGES: readonly (readonly [name: string, path: string, shows: string])[] = [
  ['map', '/', 'workloads and callers'],
  ['workloads', '/workloads', 'shop/payment'],
  ['workload', CATALOGUE, 'To deny for real'],
  ['review', workloadPath('catalogue', 'review'), 'would be denied'],
  ['identities', '/identities', 'shop/shipping'],
  ['release', '/release', 'Nothing is denied any more at'],
  ['audit', '/audit', 'rollout.enforced'],
  ['settings', '/settings', 'first-week surprises'],
];

/** A laptop, a large screen, a phone. */
const SIZES = [
  [390, 844],
  [1920, 1080],
  [1280, 800],
] as const;

describe.skipIf(why !== undefined)('the console', () => {
  const at = atConsole();
  const { lookAt } = at;
  let shop: Shop;
  let browser: Browser;
  let visit: Visit;
  let page: Page;
  beforeAll(() => {
    ({ shop, browser, visit, page } = at);
  });

  for (const [name, path, shows] of PAGES) {
    test(`${name} shows what is there, and axe finds nothing serious in it in either scheme`, async () => {
      await page.goto(shop.origin + path);
      await page.getByText(shows).first().waitFor();
      await page.getByText('Reading...').first().waitFor({ state: 'detached' });
      for (const [width, height] of SIZES) {
        await page.setViewportSize({ width, height });
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.emulateMedia({ colorScheme });
          await shoot(page, `${name}-${width}-${colorScheme}`);
          if (width === 1280) expect(await seriousViolations(page), `${name} ${colorScheme}`).toEqual([]);
        }
        // What does not fit scrolls in its own box; the page itself never moves sideways.
        expect(await page.evaluate('document.documentElement.scrollWidth - innerWidth'), name).toBe(0);
      }
      await page.setViewportSize({ width: 1280, height: 800 });
      expect(visit.faults).toEqual([]);
    });
  }

  for (const tab of ['Policy', 'Accesses', 'Flips', 'Proxies', 'History']) {
    test(`a workload's ${tab.toLowerCase()} are in order too`, async () => {
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.goto(shop.origin + CATALOGUE);
      await page.getByRole('tab', { name: tab }).click();
      const panel = page.getByRole('tabpanel');
      await panel
        .getByText(/web-products|GET \/products|\/admin|up to date|moved it to shadow/)
        .first()
        .waitFor();
      await lookAt(`workload-${tab.toLowerCase()}`);
      expect(visit.faults).toEqual([]);
    });
  }

  test('a path out of traffic is text, wherever it is shown', async () => {
    await page.goto(shop.origin + CATALOGUE);
    for (const tab of ['Accesses', 'Flips']) {
      await page.getByRole('tab', { name: tab }).click();
      await page.getByRole('tabpanel').getByText(HOSTILE).first().waitFor();
      expect(await page.locator('main img').count()).toBe(0);
    }
    expect(await page.evaluate('window.interlockHacked')).toBeUndefined();
  });

  test('keys alone lead to a page, to a workload and to the list of keys', async () => {
    await page.goto(`${shop.origin}/workloads`);
    await page.getByText('shop/payment').first().waitFor();
    await page.keyboard.press('g');
    await page.keyboard.press('a');
    await page.waitForURL('**/audit');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.keyboard.press('/');
    await page.getByRole('combobox', { name: 'Search' }).waitFor();
    await page.keyboard.type('shipping');
    await page.getByRole('option', { name: 'shop/shipping' }).waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: /shop\/shipping/ }).waitFor();
    expect(new URL(page.url()).pathname).toBe(
      `/workloads/${encodeURIComponent('example.org/ns/shop/sa/shipping')}`,
    );
  });

  test('a promotion says what it will do and which checks are not passed; going on anyway takes a reason and an approver', async () => {
    const path = CATALOGUE.replace('catalogue', 'checkout');
    const context = await browser.newContext();
    await context.addCookies([await shop.session('viewer', 'operator')]);
    const operator = await context.newPage();
    await operator.goto(shop.origin + path);
    await operator.getByRole('button', { name: 'Promote to canary' }).click();
    await operator.getByText('Going on all the same needs the role approver').waitFor();
    const disabled = operator.getByRole('button', { name: 'Promote to canary anyway' });
    expect(await disabled.isDisabled()).toBe(true);
    // What the button does not offer, the control plane refuses by itself.
    const status = await operator.evaluate(
      `fetch('/v1/rollouts/example.org%2Fns%2Fshop%2Fsa%2Fcheckout/move', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"to":"canary","share":0.1,"anyway":"x"}' }).then(({ status }) => status)`,
    );
    expect(status).toBe(403);
    await context.close();
    await page.goto(shop.origin + path);
    await page.getByRole('button', { name: 'Promote to canary' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('checks not passed').waitFor();
    await dialog.getByText('never passed; needs passed within 90 days').waitFor();
    const go = dialog.getByRole('button', { name: 'Promote to canary anyway' });
    expect(await go.isDisabled()).toBe(true);
    await lookAt('promote');
    await dialog.getByRole('textbox').fill('the drill is due tomorrow');
    await go.click();
    await page.getByText('1 of 1 proxy confirmed').waitFor();
    const { stage } = await shop.call('rollouts.get', { params: { workload: shopId('checkout') } });
    expect(stage).toBe('canary');
    await page.getByRole('tab', { name: 'History' }).click();
    await page.getByText(/anyway: the drill is due tomorrow \(not passed: .*drill/).waitFor();
    await page.locator('[title*="drill: never passed"]').first().waitFor();
    // Back is never held up.
    await page.getByRole('button', { name: 'Back to shadow' }).click();
    await dialog.getByRole('button', { name: 'Back to shadow' }).click();
    await page.getByText('held: does not move forward by itself').waitFor();
    await page.getByRole('button', { name: 'Let it go on' }).click();
    await page.getByText('held: does not move forward by itself').waitFor({ state: 'detached' });
  });

  test('what changes elsewhere is shown without a reload', async () => {
    await page.goto(shop.origin + CATALOGUE.replace('catalogue', 'mail'));
    await page.getByRole('button', { name: 'Promote to shadow' }).waitFor();
    await shop.call('rollouts.move', { params: { workload: shopId('mail') }, body: { to: 'shadow' } });
    await page.getByRole('button', { name: 'Promote to canary' }).waitFor();
    expect(await page.getByRole('button', { name: 'Promote to shadow' }).count()).toBe(0);
  });

  test('the audit log begins with what was done last, is narrowed by the control plane, and is verified', async () => {
    await page.goto(`${shop.origin}/audit`);
    const rows = page.getByRole('region', { name: 'audit' }).locator('tbody tr');
    await rows.first().waitFor();
    const first = await rows.first().textContent();
    const { entries } = await shop.call('audit.list', { query: { order: 'newest', limit: '1' } });
    expect(first).toContain(String((entries as readonly { readonly seq: number }[])[0]?.seq));
    await page.getByLabel('Act, or its beginning').fill('rollout.');
    await page.getByLabel('What it was done to').fill('sa/shipping');
    await expect.poll(() => rows.count(), { timeout: 120_000 }).toBe(3);
    await page.getByText('That is where the log begins.').waitFor();
    const [saved] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Export all' }).click(),
    ]);
    expect(saved.suggestedFilename()).toBe('audit.csv');
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('the chain is whole').waitFor();
    await page.getByLabel('Who').fill('nobody that is known');
    await page.getByText('No entry is like this so far.').waitFor();
  });

  test('handshakes are shown by group, and who still has no post-quantum one', async () => {
    await page.goto(`${shop.origin}/identities`);
    await page.getByRole('tab', { name: 'Handshakes' }).click();
    await page.getByText('No handshake was seen yet.').waitFor();
    const now = BigInt(Date.now() - 1000);
    const call = (from: ShopName, group: string, n: bigint) => ({
      from: { spiffeId: shopId(from) },
      to: shopId('catalogue'),
      action: { kind: 'http', port: 8080, name: 'GET', text: '/products' },
      ok: n,
      mutual: n,
      instance: '10.0.0.9',
      group,
      firstSeen: now,
      lastSeen: now,
    });
    shop.report('catalogue', {
      accesses: [call('web', 'X25519MLKEM768', 3n), call('recommendation', 'x25519', 1n)],
    });
    await page.getByText('75 % of calls go over connections with a post-quantum key').waitFor();
    await page.getByText('1 caller classical only').waitFor();
    await page.getByRole('row', { name: /recommendation.*classical only/ }).waitFor();
    await lookAt('handshakes');
    expect(visit.faults).toEqual([]);
  });

  test('a viewer is offered no change, and is told which role is missing; the control plane refuses by itself', async () => {
    const context = await browser.newContext();
    await context.addCookies([await shop.session('viewer')]);
    const viewer = await context.newPage();
    await viewer.goto(`${shop.origin}/release`);
    await viewer.getByText('You need the role breaker.').waitFor();
    await viewer.getByLabel('Reason').fill('outage');
    expect(
      await viewer.getByRole('button', { name: /^Release everything/ }).getAttribute('aria-disabled'),
    ).toBe('true');
    await viewer.goto(shop.origin + CATALOGUE);
    expect(await viewer.getByRole('button', { name: 'Promote to canary' }).isDisabled()).toBe(true);
    const status = await viewer.evaluate(
      `fetch('/v1/releases', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"scope":{"kind":"all"},"reason":"x"}' }).then(({ status }) => status)`,
    );
    expect(status).toBe(403);
    await context.close();
  });

  test('on the first day every page says what to do next', async () => {
    const empty = await Shop.open({ isEmpty: true });
    const { context, page: first, faults } = await signIn(browser, empty);
    const pages = [
      ['map', '/', 'Nothing is on the map yet.'],
      ['workloads', '/workloads', 'No workload is known yet.'],
      ['review', '/review', 'no call was seen yet'],
      ['release', '/release', 'No drill yet.'],
      ['settings', '/settings', 'Nobody is told of what happens.'],
    ] as const;
    for (const [name, path, shows] of pages) {
      await first.goto(empty.origin + path);
      await first.getByText(shows).waitFor();
      await lookAt(`empty-${name}`, first);
      // A command to copy, or a button.
      const next = first.locator('main pre.code').or(first.getByRole('button', { name: 'Run a drill' }));
      expect(await next.count(), name).toBeGreaterThan(0);
    }
    expect(faults).toEqual([]);
    await context.close();
    await empty.close();
  });

  test('whose session has ended sees how to sign in, and a used link says so', async () => {
    const context = await browser.newContext();
    const stranger = await context.newPage();
    await stranger.goto(shop.origin + CATALOGUE);
    await stranger.getByText('interlock sign-in-link').waitFor();
    expect(await seriousViolations(stranger)).toEqual([]);
    await shoot(stranger, 'sign-in');
    const link = await shop.link();
    await stranger.goto(link);
    // To the page that was wanted first.
    await stranger.waitForURL((url) => url.pathname === CATALOGUE);
    await stranger.getByRole('heading', { level: 1, name: /shop\/catalogue/ }).waitFor();
    // The secret does not stay in the address, nor in the history.
    await stranger.goBack().catch(() => null);
    expect(stranger.url()).not.toContain(new URL(link).hash.slice(1));
    await stranger.goto(`${shop.origin}/settings`);
    await stranger.getByText('(this one)').waitFor();
    await stranger
      .getByRole('row', { name: /this one/ })
      .getByRole('button')
      .click();
    await stranger.getByText('interlock sign-in-link').first().waitFor();
    await stranger.goto(link);
    await stranger.getByText('this link signs nobody in').waitFor();
    // A new one leads to where the session ended.
    await stranger.goto(`${shop.origin}/settings`);
    await stranger.getByText('Sign in to go on where you were.').waitFor();
    await stranger.goto(await shop.link());
    await stranger.waitForURL('**/settings');
    await stranger.getByText('(this one)').waitFor();
    // Who is sent back by a provider is told why, in our words.
    await stranger.goto(`${shop.origin}/sign-in?fault=no-role`);
    await stranger.getByText('You are known to the provider, and have no role here.').waitFor();
    expect(await seriousViolations(stranger)).toEqual([]);
    await shoot(stranger, 'sign-in-fault');
    await context.close();
  });
});
