import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Browser, Page } from 'playwright-core';
import { CONSOLE_DIR, missing, signIn, seriousViolations, startBrowser } from './browser.ts';
import { HOSTILE, shopId } from './shop-evidence.ts';
import { parseSpiffeId } from '../../src/access/index.ts';
import {
  accessAt,
  reporterOf,
  reportOf,
} from '../../src/server/enforcement/evidence/evidence.test-helper.ts';
import { SIZES, workloadsOf } from './map-estate.ts';
import { MapPlane } from './map-plane.ts';
import { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`browser tests of the map are left out: ${why}`);

describe.skipIf(why !== undefined)('the map in a browser', () => {
  let browser: Browser;
  let plane: MapPlane;

  beforeAll(async () => {
    browser = await startBrowser();
    plane = await MapPlane.open(SIZES[100], CONSOLE_DIR);
  });

  afterAll(async () => {
    await browser.close();
    await plane.close();
  });

  const find = async (page: Page, text: string) => {
    await page.keyboard.press('f');
    await page.getByRole('combobox', { name: 'Find on the map' }).fill(text);
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('Enter');
  };

  test('by keyboard alone: find a namespace, and go down to the evidence of an access', async () => {
    const { page, context, faults } = await signIn(browser, plane);
    await page.locator('.map-canvas canvas').first().waitFor();
    await find(page, 'orders');
    const panel = page.getByRole('complementary', { name: 'Selected' });
    await panel.getByRole('button', { name: 'Open', exact: true }).waitFor();
    const pair = panel.locator('tbody button').first();
    await pair.focus();
    await page.keyboard.press('Enter');
    await panel.getByText('mutual TLS').first().waitFor();
    expect(await panel.locator('h2').first().textContent()).toMatch(/^\w+\/[\w-]+ → \w+\/[\w-]+$/);
    expect(faults).toEqual([]);
    await context.close();
  });

  test('has no serious violation in dark and light, as map and as matrix, with something selected', async () => {
    const { page, context } = await signIn(browser, plane);
    await page.locator('.map-canvas canvas').first().waitFor();
    await find(page, 'billing');
    for (const mode of ['Map', 'Matrix'])
      for (const scheme of ['dark', 'light'] as const) {
        await page.getByRole('radiogroup', { name: 'Shown as' }).getByText(mode).click();
        await page.emulateMedia({ colorScheme: scheme });
        expect(await seriousViolations(page), `${mode}, ${scheme}`).toEqual([]);
      }
    await context.close();
  });

  test('the legend is the filter, and the place is kept while another page is read', async () => {
    const { page, context } = await signIn(browser, plane);
    const chip = page.getByRole('button', { name: /^would be denied/ });
    await chip.click();
    expect(await chip.getAttribute('aria-pressed')).toBe('false');
    await find(page, 'stock');
    await page.getByRole('link', { name: 'Workloads' }).click();
    await page.waitForURL('**/workloads');
    await page.getByRole('link', { name: 'Map' }).click();
    expect(await chip.getAttribute('aria-pressed')).toBe('false');
    await page.getByRole('complementary', { name: 'Selected' }).getByText('stock').first().waitFor();
    await context.close();
  });

  test('keys move in the matrix, and Enter shows what lies under them', async () => {
    const { page, context, faults } = await signIn(browser, plane);
    await page.getByRole('radiogroup', { name: 'Shown as' }).getByText('Matrix').click();
    await page.locator('.map-matrix').focus();
    await page.keyboard.press('Control+ArrowRight');
    await page.keyboard.press('Enter');
    await page.getByRole('complementary', { name: 'Selected' }).getByRole('heading', { name: /→/ }).waitFor();
    expect(faults).toEqual([]);
    await context.close();
  });

  test('an access that a proxy reports comes to its place by itself, and a namespace that nobody knew as well', async () => {
    const { page, context, faults } = await signIn(browser, plane);
    await page.locator('.map-canvas canvas').first().waitFor();
    const [, from, to] = workloadsOf(SIZES[100]);
    if (from === undefined || to === undefined) throw new TypeError('the estate has no workloads');
    const report = (seq: number, caller: string, path: string) => {
      const access = accessAt(Date.now(), {
        from: { spiffeId: parseSpiffeId(caller) },
        to: to.id,
        action: { kind: 'http', port: 8080, name: 'GET', text: path },
      });
      const reporter = reporterOf('map', { key: `${to.id}#map`, identity: to.id, workloads: [to.id] });
      return plane.serving.enforcing.evidence.take(reporter, reportOf(seq, { accesses: [access] }));
    };
    const total = async () =>
      Number(/([\d,]+) accesses/.exec((await page.locator('.map-page').textContent()) ?? '')?.[1]);
    const before = await total();
    await report(1, from.id, '/never/before');
    await page.getByText(`${before + 1} accesses`).waitFor();
    await report(2, 'spiffe://example.org/ns/newcomers/sa/first', '/hello');
    await page.getByText(`${before + 2} accesses`).waitFor();
    await find(page, 'newcomers');
    const panel = page.getByRole('complementary', { name: 'Selected' });
    await panel.getByRole('button', { name: 'Open', exact: true }).waitFor();
    expect(faults).toEqual([]);
    await context.close();
  });

  test('without WebGL the matrix stands in, and says so', async () => {
    const { page, context } = await signIn(browser, plane);
    await page.addInitScript(`
      const { getContext } = HTMLCanvasElement.prototype;
      HTMLCanvasElement.prototype.getContext = function (type, ...rest) {
        return type.startsWith('webgl') ? null : getContext.call(this, type, ...rest);
      };
    `);
    await page.reload();
    await page.locator('.map-matrix').waitFor();
    expect(await page.getByText('This browser has no WebGL').count()).toBe(1);
    await context.close();
  });

  test('a path that an attacker chose is text, and what changes comes by itself', async () => {
    const shop = await Shop.open({ consoleDir: CONSOLE_DIR });
    const { page, context, faults } = await signIn(browser, shop);
    await page.locator('.map-canvas canvas').first().waitFor();
    await find(page, 'catalogue');
    const panel = page.getByRole('complementary', { name: 'Selected' });
    await panel.getByRole('button', { name: 'shop/web', exact: true }).click();
    await panel.getByText(HOSTILE).waitFor();
    expect(await page.evaluate('window.interlockHacked')).toBeUndefined();
    await find(page, 'shop');
    await panel.getByText(/^8 workloads: .*\b1 draft/).waitFor();
    await shop.call('rollouts.move', {
      params: { workload: shopId('mail') },
      body: { to: 'shadow', why: 'seen' },
    });
    await panel.getByText(/^8 workloads: .*\b3 shadow/).waitFor();
    expect(faults).toEqual([]);
    await context.close();
    await shop.close();
  });
});
