import type { Page } from 'playwright-core';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { atConsole } from './at-console.ts';
import { missing, seriousViolations, SHOTS, shoot } from './browser.ts';
import type { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`The red button's browser tests are left out: ${why}.`);

const inView = (box: { readonly y: number; readonly height: number } | null, height: number) =>
  box !== null && box.y >= 0 && box.y + box.height <= height;

describe.skipIf(why !== undefined)('the red button', () => {
  const at = atConsole();
  let shop: Shop;
  let page: Page;
  beforeAll(() => {
    ({ shop, page } = at);
  });
  beforeEach(async () => {
    shop.silent.clear();
    await shop.call('releases.arm', { body: {} });
    await page.setViewportSize({ width: 1280, height: 800 });
    // What was followed before is no part of the next test.
    await page.evaluate('sessionStorage.clear()');
    await page.goto(`${shop.origin}/release`);
    await page.getByText('Nothing is denied any more at').waitFor();
  });

  const releases = async () => (await shop.call('releases.list', {}))['releases'];
  const button = () => page.getByRole('button', { name: /^Release everything/ });

  test('on a phone is held, and shows who confirmed, who has not, and how to arm', async () => {
    shop.silent.add('payment-a');
    await page.setViewportSize({ width: 390, height: 844 });
    await page.getByText('wrong denials').click();
    const box = await button().boundingBox();
    if (box === null) throw new TypeError('the button is not on the page');
    // Reached without scrolling, and large enough for a thumb.
    expect(box.y + box.height).toBeLessThan(844);
    expect(box.height).toBeGreaterThan(48);
    await shoot(page, 'release-phone');
    await page.mouse.move(box.x + 50, box.y + 20);
    await page.mouse.down();
    await page.getByText(/of 10 proxies confirmed/).waitFor();
    await page.mouse.up();
    await page.getByText('9 of 10 proxies confirmed').waitFor();
    await page.getByText('has not answered yet').waitFor();
    await page.getByText('Enforcement is off: everything').waitFor();
    expect(await seriousViolations(page)).toEqual([]);
    await page.screenshot({ path: `${SHOTS}released-phone.png`, fullPage: true });
    // From wherever somebody has scrolled to, the banner leads to the way back.
    await page.evaluate('scrollTo(0, document.body.scrollHeight)');
    await page.getByRole('link', { name: 'See, or arm' }).click();
    const arm = page.getByRole('button', { name: 'Arm', exact: true });
    await expect.poll(async () => inView(await arm.boundingBox(), 844)).toBe(true);
    await page.setViewportSize({ width: 1280, height: 800 });
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await shoot(page, `released-1280-${colorScheme}`);
    }
    expect(await releases()).toMatchObject([{ scope: { kind: 'all' }, reason: 'wrong denials' }]);
    await page.getByRole('button', { name: 'Arm', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Arm' }).click();
    await page.getByText('None: every policy is enforced').waitFor();
    expect(await releases()).toEqual([]);
  });

  test('leaves no page that still shows as enforced what it has released', async () => {
    const go = (name: string) => page.getByLabel('Pages').getByRole('link', { name }).click();
    const board = page.getByRole('region', { name: 'Board by stage' });
    await go('Workloads');
    await board.waitFor();
    await go('Release');
    await page.getByText('Nothing is denied any more at').waitFor();
    await shop.call('releases.press', { body: { scope: { kind: 'all' }, reason: 'outage' } });
    await page.getByText('Enforcement is off: everything').waitFor();
    // The answer is on its way: until it is there, nothing is said.
    let letThrough = () => {};
    const held = new Promise<void>((resolve) => {
      letThrough = resolve;
    });
    await page.route('**/v1/workloads*', async (route) => {
      await held;
      await route.continue();
    });
    await go('Workloads');
    await page.getByText('Reading...').waitFor();
    expect(await board.count()).toBe(0);
    letThrough();
    await board.waitFor();
    expect(await board.getByLabel('enforced', { exact: true }).getByRole('listitem').count()).toBe(0);
    expect(await board.getByLabel('released', { exact: true }).getByRole('listitem').count()).toBeGreaterThan(
      0,
    );
    await page.unrouteAll({ behavior: 'wait' });
  });

  test('does nothing by a click, and nothing without a reason', async () => {
    await button().focus();
    await page.keyboard.down('Space');
    await page.keyboard.up('Space');
    expect(await button().getAttribute('aria-disabled')).toBe('true');
    await page.getByLabel('Reason').fill('outage');
    await button().click();
    await button().dblclick();
    await button().press('Enter');
    // What a screen reader does: a click that nobody held. Once is not enough.
    await button().evaluate((each: { click(): void }) => each.click());
    await page.getByText('Click once more').waitFor();
    expect(await releases()).toEqual([]);
    await page
      .getByRole('button', { name: /Click once more/ })
      .evaluate((each: { click(): void }) => each.click());
    await page.getByText('10 of 10 proxies confirmed').waitFor();
    expect(await releases()).toMatchObject([{ reason: 'outage' }]);
  });

  test('is held by the keyboard alone', async () => {
    await page.getByLabel('Reason').fill('outage');
    await button().focus();
    await page.keyboard.down('Space');
    await page.getByText('10 of 10 proxies confirmed').waitFor();
    await page.keyboard.up('Space');
    expect(await releases()).toMatchObject([{ scope: { kind: 'all' } }]);
  });

  test('is drilled without a release', async () => {
    await page.getByRole('button', { name: 'Run a drill' }).click();
    await page.getByText('Drill: 10 of 10 proxies confirmed').waitFor();
    expect(await releases()).toEqual([]);
    expect((await shop.call('releases.list', {}))['drills']).toMatchObject([{ points: 10, confirmed: 10 }]);
  });

  test('is said to be out of date when the control plane is gone', async () => {
    await page.getByText('live', { exact: true }).waitFor();
    await shop.serving.close();
    await page.getByText('not live').waitFor();
    await shoot(page, 'not-live');
    expect(await page.getByText('live', { exact: true }).count()).toBe(0);
  });
});
