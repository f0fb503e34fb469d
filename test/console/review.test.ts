import type { Browser, Page } from 'playwright-core';
import { beforeAll, describe, expect, test } from 'vitest';
import { atConsole, workloadPath } from './at-console.ts';
import { missing, type Visit } from './browser.ts';
import { HOSTILE, shopId, type ShopName } from './shop-evidence.ts';
import type { Shop } from './shop.ts';

const why = missing();
if (why !== undefined) console.log(`The browser tests of reviews are left out: ${why}.`);

describe.skipIf(why !== undefined)('a review', () => {
  const at = atConsole();
  const { lookAt } = at;
  let shop: Shop;
  let browser: Browser;
  let visit: Visit;
  let page: Page;
  beforeAll(() => {
    ({ shop, browser, visit, page } = at);
  });

  const open = (name: ShopName, on = page) => on.goto(shop.origin + workloadPath(name, 'review'));
  const reviewOf = (name: ShopName) => shop.call('reviews.get', { params: { workload: shopId(name) } });
  const targetOf = async (name: ShopName) =>
    JSON.stringify(
      (await shop.call('rollouts.get', { params: { workload: shopId(name) } }))['targetPolicies'],
    );
  /** What a proxy saw once: it is proposed as a doubt. */
  const seenOnce = async (to: ShopName, path: string, ...callers: readonly ShopName[]) => {
    const known = ((await reviewOf(to))['changes'] as readonly unknown[]).length;
    const now = BigInt(Date.now() - 1000);
    shop.report(to, {
      accesses: callers.map((from) => ({
        from: { spiffeId: shopId(from) },
        to: shopId(to),
        action: { kind: 'http', port: 8080, name: 'GET', text: path },
        ok: 1n,
        mutual: 1n,
        instance: '10.0.0.9',
        group: 'X25519MLKEM768',
        firstSeen: now,
        lastSeen: now,
      })),
    });
    await expect
      .poll(async () => ((await reviewOf(to))['changes'] as readonly unknown[]).length, { timeout: 120_000 })
      .toBe(known + callers.length);
  };
  test('of what is ordinary takes one key, and changes the target without enforcing anything', async () => {
    await open('recommendation');
    await page.getByRole('heading', { name: /New rules/ }).waitFor();
    await page.getByRole('img', { name: /of the 168 hours of the week/ }).waitFor();
    await lookAt('review-proposal');
    // What follows "g" leads to another page, and decides nothing.
    await page.keyboard.press('g');
    await page.keyboard.press('a');
    await page.waitForURL('**/audit');
    expect((await reviewOf('recommendation'))['policies']).toEqual([]);
    await open('recommendation');
    await page.getByRole('heading', { name: /New rules/ }).waitFor();
    await page.keyboard.press('Shift+A');
    await page.getByText('Nothing to decide here.').waitFor();
    await page.getByText('approved by you').waitFor();
    expect(await targetOf('recommendation')).toContain('/similar');
    const { stage } = await shop.call('rollouts.get', { params: { workload: shopId('recommendation') } });
    expect(stage).toBe('draft');
    await page.getByRole('link', { name: 'Promote the target' }).click();
    await page.getByRole('button', { name: 'Promote to shadow' }).waitFor();
  });

  test('of a doubt asks for a second look, and a reload shows what was decided', async () => {
    await seenOnce('recommendation', '/similar', 'mail');
    await open('recommendation');
    await page.getByRole('heading', { name: /Doubts/ }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('a');
    const dialog = page.getByRole('dialog', { name: 'Approve' });
    await dialog.getByText('1 doubt will be allowed').waitFor();
    await lookAt('review-second-look');
    expect(await targetOf('recommendation')).not.toContain('sa/mail');
    await page.keyboard.press('Enter');
    await page.getByText('Nothing to decide here.').waitFor();
    expect(await targetOf('recommendation')).toContain('sa/mail');
  });

  test('that somebody else was faster with loses nothing that was typed', async () => {
    await seenOnce('recommendation', '/similar', 'payment');
    await open('recommendation');
    await page.getByRole('heading', { name: /Doubts/ }).waitFor();
    await page.keyboard.press('j');
    await page.keyboard.press('r');
    const dialog = page.getByRole('dialog', { name: 'Reject' });
    await dialog.getByLabel('Reason').fill('payment has no business here');
    const { target, changes } = await reviewOf('recommendation');
    const ids = (changes as readonly { readonly id: string }[]).map(({ id }) => id);
    // What the page would read anew is held up: it does not know yet.
    await page.route('**/v1/reviews/*', (route) => route.abort());
    await shop.call('reviews.approve', {
      params: { workload: shopId('recommendation') },
      body: { target: String(target), changes: ids },
    });
    await dialog.getByRole('button', { name: 'Reject 1' }).click();
    await dialog.getByText('Somebody was faster.').waitFor();
    await page.unroute('**/v1/reviews/*');
    await dialog.getByText('local:alice approved 1 change').waitFor();
    await dialog.getByText('None of it is open any more.').waitFor();
    expect(await dialog.getByLabel('Reason').inputValue()).toBe('payment has no business here');
    await lookAt('review-too-late');
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    expect(await targetOf('recommendation')).toContain('sa/payment');
  });

  test('rejects with a reason, and says so to who looks at the same', async () => {
    await seenOnce('recommendation', '/similar', 'cart');
    const other = await visit.context.newPage();
    other.setDefaultTimeout(120_000);
    for (const each of [page, other]) {
      await open('recommendation', each);
      await each.getByRole('heading', { name: /Doubts/ }).waitFor();
    }
    await page.getByRole('button', { name: 'Reject' }).click();
    await page.getByLabel('Reason').fill('a scan');
    await page.keyboard.press('Control+Enter');
    await page.getByText('Nothing to decide here.').waitFor();
    await other
      .getByText(/rejected 1 change/)
      .first()
      .waitFor();
    await other.getByText('Not open any more').waitFor();
    await other.close();
    expect(await targetOf('recommendation')).not.toContain('sa/cart');
    const { entries } = await shop.call('audit.list', { query: { act: 'review.reject' } });
    expect(JSON.stringify(entries)).toContain('a scan');
  });

  test('edits the target as text: what is wrong is named by its line, and a change meanwhile is shown', async () => {
    await open('recommendation');
    await page.getByText('Nothing to decide here.').waitFor();
    await page.keyboard.press('e');
    const text = page.getByLabel('The target as YAML');
    const before = await text.inputValue();
    await text.fill(before.replace('/similar', 'similar'));
    await page.getByRole('button', { name: /^line \d+$/ }).waitFor();
    expect(await page.getByRole('button', { name: 'Save as the target' }).isDisabled()).toBe(true);
    await lookAt('review-editor');
    await text.fill(before.replace('/similar', '/alike'));
    await page.getByText(/^recommendation: 3 rules$/).waitFor();
    // What was typed is there again after a look elsewhere.
    await page.getByRole('link', { name: 'Workloads' }).click();
    await page.waitForURL('**/workloads');
    await page.goBack();
    expect(await text.inputValue()).toContain('/alike');
    const { target, yaml } = await reviewOf('recommendation');
    await shop.call('reviews.edit', {
      params: { workload: shopId('recommendation') },
      body: { target: String(target), yaml: String(yaml).replace('ports: [ 8080 ]', 'ports: [ 8081 ]') },
    });
    await page.getByText('The target was changed since you began').waitFor();
    await lookAt('review-overtaken');
    expect(await text.inputValue()).toContain('/alike');
    expect(await page.getByRole('button', { name: 'Save as the target' }).isDisabled()).toBe(true);
    await page.getByRole('button', { name: 'Go on with mine, over theirs' }).click();
    await page.getByRole('button', { name: 'Save as the target' }).click();
    await text.waitFor({ state: 'detached' });
    expect(await targetOf('recommendation')).toContain('/alike');
    expect(await targetOf('recommendation')).not.toContain('8081');
  });

  test('answers questions: denied on purpose, or left denied; a name out of traffic is text', async () => {
    await open('catalogue');
    await page.getByRole('heading', { name: /Questions/ }).waitFor();
    await page.getByText(HOSTILE).waitFor();
    await page
      .getByRole('article', { name: /img src/ })
      .getByRole('button', { name: 'Reject' })
      .click();
    await page.getByLabel('Reason').fill('an attack');
    await page.getByRole('dialog').getByRole('button', { name: 'Reject 1' }).click();
    await page.getByRole('article', { name: /img src/ }).waitFor({ state: 'detached' });
    await page.getByRole('article', { name: /admin/ }).getByRole('checkbox').check();
    await page.keyboard.press('d');
    await page.getByLabel('Reason').fill('nobody calls this');
    await page.getByRole('dialog').getByRole('button', { name: 'Deny 1' }).click();
    await page.getByText('Nothing to decide here.').waitFor();
    expect(JSON.stringify((await reviewOf('catalogue'))['policies'])).toMatch(/"deny":\[\{.*\/admin/);
    expect(await page.evaluate('window.interlockHacked')).toBeUndefined();
    expect(await page.locator('main img').count()).toBe(0);
  });

  test('is asked about: a comment is there for the others', async () => {
    await open('catalogue');
    await page.getByText('Nothing to decide here.').waitFor();
    await page.keyboard.press('c');
    await page.getByRole('textbox', { name: 'Comment' }).fill(`who calls ${HOSTILE}?`);
    await page.getByRole('button', { name: 'Send' }).click();
    await page.getByText('Comments 1').waitFor();
    await page.getByText(`who calls ${HOSTILE}?`).waitFor();
    expect((await reviewOf('catalogue'))['comments']).toMatchObject([{ text: `who calls ${HOSTILE}?` }]);
  });

  test('of a critical workload has its doubts decided one by one, by an owner', async () => {
    const { yaml } = await reviewOf('mail');
    await shop.call('policies.apply', {
      body: { yaml: String(yaml).replace('tier: standard', 'tier: critical') },
    });
    await seenOnce('mail', '/inbox', 'web', 'cart', 'payment');
    await open('mail');
    await page.getByRole('heading', { name: /Doubts/ }).waitFor();
    await page.getByText('3 more people must approve').waitFor();
    const boxes = page.getByRole('region', { name: /Doubts/ }).getByRole('checkbox');
    expect(await boxes.count()).toBeGreaterThan(1);
    await boxes.nth(0).check();
    await boxes.nth(1).check();
    expect([await boxes.nth(0).isChecked(), await boxes.nth(1).isChecked()]).toEqual([false, true]);
    await page.getByText('decided alone, by an owner').waitFor();
    await page.keyboard.press('a');
    await page.getByRole('dialog').getByRole('button', { name: 'Approve 1 change' }).click();
    await page.getByRole('dialog').getByText("is its owner's to decide").waitFor();
    await lookAt('review-critical');
    await page.keyboard.press('Escape');
  });

  test('stands in a queue that is filtered, and in a table', async () => {
    await page.emulateMedia({ colorScheme: 'light' });
    await page.goto(`${shop.origin}/review`);
    const list = page.getByRole('navigation', { name: 'Workloads to review' });
    await list.getByRole('link').first().waitFor();
    await list.getByLabel('Tier').selectOption('critical');
    await expect.poll(() => list.getByRole('link').allTextContents(), { timeout: 120_000 }).toHaveLength(1);
    expect(await list.getByRole('link').first().textContent()).toContain('shop/mail');
    await list.getByLabel('Tier').selectOption('');
    await page.getByText('Table', { exact: true }).click();
    await page.getByRole('columnheader', { name: 'Open since' }).waitFor();
    for (const [width, height] of [
      [1920, 1080],
      [1280, 800],
    ] as const) {
      await page.setViewportSize({ width, height });
      await lookAt(`review-table-${width}`);
    }
    await page.setViewportSize({ width: 390, height: 844 });
    await open('mail');
    await page.getByRole('heading', { name: /Doubts/ }).waitFor();
    await lookAt('review-phone');
    await page.setViewportSize({ width: 1280, height: 800 });
  });

  test('is only looked at by who may not decide', async () => {
    const context = await browser.newContext();
    await context.addCookies([await shop.session('viewer')]);
    const viewer = await context.newPage();
    viewer.setDefaultTimeout(120_000);
    await open('mail', viewer);
    await viewer.getByText('You need the role approver to decide.').waitFor();
    expect(await viewer.getByRole('checkbox').first().isDisabled()).toBe(true);
    await viewer.keyboard.press('j');
    for (const key of ['x', 'a', 'r', 'd', 'e', 'c']) await viewer.keyboard.press(key);
    expect(await viewer.getByRole('dialog').count()).toBe(0);
    expect(await viewer.getByLabel('The target as YAML').count()).toBe(0);
    await context.close();
    // What was refused on purpose is told by the browser as well.
    expect(visit.faults.filter((fault) => !fault.startsWith('Failed to load resource'))).toEqual([]);
  });
});
