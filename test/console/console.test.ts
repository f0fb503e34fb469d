import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, seriousViolations, SHOTS, signIn, startBrowser, type Visit } from './browser.ts';
import { HOSTILE, shopId } from './shop-evidence.ts';
import { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`The console's browser tests are left out: ${why}.`);

const CATALOGUE = `/workloads/${encodeURIComponent(shopId('catalogue').slice('spiffe://'.length))}`;

/** Each page, and what stands on it once its data is there. */
const PAGES: readonly (readonly [name: string, path: string, shows: string])[] = [
  ['workloads', '/workloads', 'shop/payment'],
  ['workload', CATALOGUE, 'Preflight'],
  ['review', `/review/${encodeURIComponent(shopId('catalogue').slice('spiffe://'.length))}`, 'web-products'],
  ['identities', '/identities', 'shop/shipping'],
  ['release', '/release', 'Nothing is denied any more at'],
  ['audit', '/audit', 'rollout.enforced'],
  ['settings', '/settings', 'first-week surprises'],
];

describe.skipIf(why !== undefined)('the console', () => {
  let shop: Shop;
  let browser: Browser;
  let visit: Visit;
  let page: Page;

  beforeAll(async () => {
    shop = await Shop.open();
    browser = await startBrowser();
    visit = await signIn(browser, shop);
    page = visit.page;
  });
  afterAll(async () => {
    await browser?.close();
    await shop?.close();
  });

  for (const [name, path, shows] of PAGES) {
    test(`${name} shows what is there, and axe finds nothing serious in it in either scheme`, async () => {
      for (const [width, height] of [
        [1280, 800],
        [1920, 1080],
      ] as const) {
        for (const colorScheme of ['light', 'dark'] as const) {
          await page.setViewportSize({ width, height });
          await page.emulateMedia({ colorScheme });
          await page.goto(shop.origin + path);
          await page.getByText(shows).first().waitFor();
          await page.getByText('Reading...').first().waitFor({ state: 'detached' });
          await page.screenshot({ path: `${SHOTS}${name}-${width}-${colorScheme}.png` });
          if (width === 1280) expect(await seriousViolations(page), `${name} ${colorScheme}`).toEqual([]);
        }
      }
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
        .getByText(/web-products|GET \/products|\/admin|up to date|rollout\.shadow/)
        .first()
        .waitFor();
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme });
        await page.screenshot({ path: `${SHOTS}workload-${tab.toLowerCase()}-${colorScheme}.png` });
        expect(await seriousViolations(page), colorScheme).toEqual([]);
      }
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

  test('a promotion says what it will do, is refused without a reason where checks fail, and takes effect', async () => {
    await page.goto(shop.origin + CATALOGUE.replace('catalogue', 'checkout'));
    await page.getByRole('button', { name: 'Promote to canary' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByText('checks not passed').waitFor();
    const go = dialog.getByRole('button', { name: 'Promote to canary anyway' });
    expect(await go.isDisabled()).toBe(true);
    await page.screenshot({ path: `${SHOTS}promote.png` });
    await dialog.getByRole('textbox').fill('the drill is due tomorrow');
    await go.click();
    await page.getByText('1 of 1 proxy confirmed').waitFor();
    const { stage } = await shop.call('rollouts.get', { params: { workload: shopId('checkout') } });
    expect(stage).toBe('canary');
    const { entries } = await shop.call('audit.list', { query: { act: 'rollout.canary' } });
    expect(JSON.stringify(entries)).toContain('the drill is due tomorrow');
  });

  test('what changes elsewhere is shown without a reload', async () => {
    await page.goto(shop.origin + CATALOGUE.replace('catalogue', 'mail'));
    await page.getByRole('button', { name: 'Promote to shadow' }).waitFor();
    await shop.call('rollouts.move', { params: { workload: shopId('mail') }, body: { to: 'shadow' } });
    await page.getByRole('button', { name: 'Promote to canary' }).waitFor();
    expect(await page.getByRole('button', { name: 'Promote to shadow' }).count()).toBe(0);
  });

  test('a proposal is applied to the target as it was chosen, and what was left out stays out', async () => {
    await page.goto(`${shop.origin}/review/${encodeURIComponent('example.org/ns/shop/sa/recommendation')}`);
    await page.getByText('The target will have 1 rule.').waitFor();
    await page.screenshot({ path: `${SHOTS}review-new.png` });
    await page.getByRole('button', { name: 'Apply to the target' }).click();
    await page.getByText('The target says this already.').waitFor();
    const { targetPolicies } = await shop.call('rollouts.get', {
      params: { workload: shopId('recommendation') },
    });
    expect(JSON.stringify(targetPolicies)).toContain('/similar');
    await page.getByRole('checkbox').first().uncheck();
    await page.getByText('The target will have 0 rules.').waitFor();
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

  test('whose session has ended sees how to sign in, and a used link says so', async () => {
    const context = await browser.newContext();
    const stranger = await context.newPage();
    await stranger.goto(`${shop.origin}/audit`);
    await stranger.getByText('interlock sign-in-link').waitFor();
    expect(await seriousViolations(stranger)).toEqual([]);
    await stranger.screenshot({ path: `${SHOTS}sign-in.png` });
    const link = await shop.link();
    await stranger.goto(link);
    await stranger.waitForURL((url) => url.pathname === '/');
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
    await context.close();
  });
});
