import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import type { Shop } from './shop.ts';

/** Where browsers are looked for: Debian's place, others', or as told. */
const CHROMIUM = [
  process.env['CHROMIUM'] ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find((path) => path !== '' && existsSync(path));
export const CONSOLE_DIR = fileURLToPath(new URL('../../console/dist', import.meta.url));
export const SHOTS = fileURLToPath(new URL('../../test-results/console/', import.meta.url));

/** Why browser tests are left out here, and what to do; undefined where they run. */
export function missing(): string | undefined {
  if (CHROMIUM === undefined)
    return 'no browser: get one with "apt-get install chromium", or name one with CHROMIUM=/path/to/chromium';
  if (!existsSync(`${CONSOLE_DIR}/index.html`)) return 'the console is not built: npm run build:console';
  return undefined;
}

/** Starts a browser without a window. */
export function startBrowser(): Promise<Browser> {
  mkdirSync(SHOTS, { recursive: true });
  // A sandbox of its own is not to be had by root or in a container; it only ever sees our own pages.
  return chromium.launch({ executablePath: CHROMIUM ?? '', args: ['--no-sandbox'] });
}

/** A page of somebody who has just signed in by a link, and what went wrong in it. */
export interface Visit {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly faults: string[];
}

export async function signIn(browser: Browser, shop: Pick<Shop, 'link'>): Promise<Visit> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  const page = await context.newPage();
  // An end to what went wrong, and no measure of speed.
  page.setDefaultTimeout(120_000);
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    // Before the sign-in nobody is known: the browser says so by itself.
    if (message.type() === 'error' && !message.text().includes('401')) faults.push(message.text());
  });
  await page.goto(await shop.link());
  await page.waitForURL((url) => url.pathname === '/');
  return { context, page, faults };
}

const AXE = createRequire(import.meta.url).resolve('axe-core/axe.min.js');

interface Violation {
  readonly id: string;
  readonly impact: string | null;
  readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
}

/** Colours come to rest: nothing is judged or kept on its way from dark to light. */
async function settle(page: Page): Promise<void> {
  await page.emulateMedia({ reducedMotion: 'reduce' });
  await page.evaluate('Promise.allSettled(document.getAnimations().map(({ finished }) => finished))');
}

/** A picture of a page, kept as build output. */
export async function shoot(page: Page, name: string): Promise<void> {
  await settle(page);
  await page.screenshot({ path: `${SHOTS}${name}.png` });
}

/** What axe finds to be serious or worse, as sentences. */
export async function seriousViolations(page: Page): Promise<string[]> {
  await settle(page);
  // By the debugger's protocol: the page's own policy takes no script from elsewhere.
  await page.evaluate(readFileSync(AXE, 'utf8'));
  const violations = await page.evaluate<Violation[]>(
    'axe.run(document).then(({ violations }) => violations)',
  );
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map(({ html, failureSummary }) => `${html.slice(0, 160)} ${failureSummary ?? ''}`)
          .join(' | ')}`,
    );
}
