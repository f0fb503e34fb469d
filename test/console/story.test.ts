// The whole story in a browser: an estate of real processes, and a person who has nothing but the console.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { missing, SHOTS, signIn, startBrowser } from './browser.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const why = process.platform === 'linux' ? missing() : 'the sample estate needs Linux';
if (why !== undefined) console.log(`The story in a browser is left out: ${why}.`);

const SERVICES = ['mail', 'catalogue', 'web', 'cart', 'recommendation', 'shipping', 'checkout', 'payment'];
const pathOf = (name: string) => encodeURIComponent(`shop.example/ns/shop/sa/${name}`);

/** `npm start -- --console`: what it says, line by line. */
class Run {
  readonly #child: ChildProcess;
  readonly #said: string[] = [];
  #news = Promise.withResolvers<void>();
  #isOver = false;

  constructor() {
    this.#child = spawn(process.execPath, ['scripts/start.ts', '--console'], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1' },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      if (stream !== null) createInterface(stream).on('line', (line) => this.#hear(line));
    this.#child.once('close', () => {
      this.#isOver = true;
      this.#hear('');
    });
  }

  /** The last line that holds this, said after the line of this number; waits for it. */
  async says(text: string, after = 0): Promise<string> {
    for (;;) {
      const line = this.#said.slice(after).findLast((each) => each.includes(text));
      if (line !== undefined) return line;
      if (this.#isOver) throw new Error(`it has ended before "${text}":\n${this.#said.join('\n')}`);
      await this.#news.promise;
    }
  }

  get lines(): number {
    return this.#said.length;
  }

  /** Ends it as Ctrl-C does; its exit code. */
  async end(): Promise<number | null> {
    if (!this.#isOver) {
      const closed = once(this.#child, 'close');
      this.#child.kill('SIGINT');
      await closed;
    }
    return this.#child.exitCode;
  }

  #hear(line: string): void {
    this.#said.push(line);
    const { resolve } = this.#news;
    this.#news = Promise.withResolvers();
    resolve();
  }
}

describe.skipIf(why !== undefined)('a person with nothing but the console', () => {
  let run: Run;
  let browser: Browser;
  let page: Page;
  let faults: readonly string[];
  let origin = '';

  const shot = (name: string) => page.screenshot({ path: `${SHOTS}story-${name}.png` });
  const open = (path: string) => page.goto(origin + path);
  /** Goes from the map to a service's place on it, and gives the panel that says what is known of it. */
  const onTheMap = async (name: string) => {
    await open('/');
    await page.locator('.map-canvas canvas').first().waitFor();
    await page.keyboard.press('f');
    await page.getByRole('combobox', { name: 'Find on the map' }).fill(name);
    await page.getByRole('option').first().waitFor();
    await page.keyboard.press('Enter');
    return page.getByRole('complementary', { name: 'Selected' });
  };

  beforeAll(async () => {
    run = new Run();
    browser = await startBrowser();
    await run.says('It is yours');
    const link = (await run.says('/sign-in#', run.lines - 2)).trim();
    origin = new URL(link).origin;
    ({ page, faults } = await signIn(browser, { link: () => Promise.resolve(link) }));
    // A machine that runs twenty other processes is given its time.
    page.setDefaultTimeout(120_000);
  });
  afterAll(async () => {
    await browser?.close();
    await run?.end();
  });

  test('sees what is called, approves what is proposed, and proves the button', async () => {
    await page.getByText('10 workloads and callers').waitFor();
    await page.getByText('no policy yet').first().waitFor();
    await shot('1-learned');
    for (const name of SERVICES) {
      await open(`/review/${pathOf(name)}`);
      await page.getByRole('button', { name: /^Approve (all|the ordinary)/ }).click();
      await page
        .getByText(/approved by you/)
        .first()
        .waitFor();
    }
    await shot('2-approved');
    await open('/release');
    await page.getByRole('button', { name: 'Run a drill' }).click();
    await page.getByText('11 of 11 proxies confirmed').waitFor();
    await shot('3-drill');
    expect(faults).toEqual([]);
  });

  test('promotes step by step until a service is enforced', async () => {
    await open(`/workloads/${pathOf('payment')}`);
    const promote = async (to: string) => {
      await page.getByRole('button', { name: `Promote to ${to}` }).click();
      const dialog = page.getByRole('dialog');
      await dialog.getByText(to === 'shadow' ? 'Nothing is denied' : /All \d+ checks are passed/).waitFor();
      await shot(`4-to-${to}`);
      // With a check that is not passed it would be another button.
      await dialog.getByRole('button', { name: `Promote to ${to}`, exact: true }).click();
      await page.getByText('1 of 1 proxy confirmed').waitFor();
    };
    await promote('shadow');
    await promote('canary');
    // It widens by itself, and goes on to enforced: nothing is left to be promoted.
    await page.getByRole('button', { name: 'Back to shadow' }).waitFor();
    await page.getByRole('button', { name: 'Promote to enforced' }).waitFor({ state: 'detached' });
    await page.getByRole('button', { name: 'Back to draft' }).waitFor({ state: 'detached' });
    await shot('5-enforced');
    await page.getByRole('tab', { name: 'History' }).click();
    await page
      .getByText(/system/)
      .first()
      .waitFor();
    await shot('6-history');
    expect(faults).toEqual([]);
  });

  test('sees an attacker denied, on the map and in the evidence, while the shop goes on', async () => {
    await run.says('tries to charge a card: denied (403)');
    const panel = await onTheMap('payment');
    const row = panel.getByRole('row', { name: /shop\/mail/ });
    await row.getByText('denied').waitFor();
    await shot('7-attacker');
    await row.getByRole('button').first().click();
    await panel.getByText('POST /charges').first().waitFor();
    await open(`/workloads/${pathOf('payment')}`);
    await page.getByRole('tab', { name: /^Accesses/ }).click();
    await page.getByRole('row', { name: /shop\/mail.*denied/ }).waitFor();
    await page.getByRole('row', { name: /shop\/checkout.*allowed/ }).waitFor();
    await shot('8-evidence');
    expect(faults).toEqual([]);
  });

  test('presses the button: what was denied passes at once, and is denied again once it is armed', async () => {
    await open('/release');
    await page.getByText('wrong denials').click();
    const before = run.lines;
    const box = await page.getByRole('button', { name: /^Release everything/ }).boundingBox();
    if (box === null) throw new TypeError('the button is not on the page');
    await page.mouse.move(box.x + 50, box.y + 20);
    await page.mouse.down();
    await page.getByText('11 of 11 proxies confirmed').waitFor();
    await page.mouse.up();
    await page.getByText('Enforcement is off: everything').waitFor();
    await run.says('tries to charge a card: 200', before);
    await shot('9-released');
    const armed = run.lines;
    await page.getByRole('button', { name: 'Arm', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Arm' }).click();
    await page.getByText('None: every policy is enforced').waitFor();
    await run.says('tries to charge a card: denied (403)', armed);
    await shot('10-armed');
    expect(faults).toEqual([]);
  });

  test('finds every act in a log that is whole, takes enforcement back, and leaves nothing behind', async () => {
    await open(`/workloads/${pathOf('payment')}`);
    const before = run.lines;
    await page.getByRole('button', { name: 'Back to shadow' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Back to shadow' }).click();
    await page.getByRole('button', { name: 'Promote to canary' }).waitFor();
    await run.says('tries to charge a card: 200', before);
    await open('/audit');
    await page.getByRole('button', { name: 'Verify' }).click();
    await page.getByText('the chain is whole').waitFor();
    await shot('11-audit');
    expect(faults).toEqual([]);
    await browser.close();
    expect(await run.end()).toBe(0);
    await run.says('no process and no directory is left');
  });
});
