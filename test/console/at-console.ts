import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect } from 'vitest';
import { seriousViolations, shoot, signIn, startBrowser, type Visit } from './browser.ts';
import { shopId } from './shop-evidence.ts';
import { Shop, type ShopOptions } from './shop.ts';

/** Somebody who is signed in at the console of one shop, for all tests of a file. */
export interface AtConsole {
  readonly shop: Shop;
  readonly browser: Browser;
  readonly visit: Visit;
  readonly page: Page;
  /** Pictures in light and dark, in which axe finds nothing serious. */
  readonly lookAt: (name: string, on?: Page) => Promise<void>;
}

/** One control plane and one browser for the tests of the suite that it is called in; they end with it. */
export function atConsole(options: () => Promise<ShopOptions> | ShopOptions = () => ({})): AtConsole {
  let shop: Shop | undefined;
  let browser: Browser | undefined;
  let visit: Visit | undefined;
  beforeAll(async () => {
    [shop, browser] = await Promise.all([Shop.open(await options()), startBrowser()]);
    visit = await signIn(browser, shop);
  });
  afterAll(async () => {
    await browser?.close();
    await shop?.close();
  });
  const there = <T>(what: T | undefined): T => {
    if (what === undefined) throw new TypeError('it is not open yet: only tests use it');
    return what;
  };
  return {
    get shop() {
      return there(shop);
    },
    get browser() {
      return there(browser);
    },
    get visit() {
      return there(visit);
    },
    get page() {
      return there(visit).page;
    },
    lookAt: async (name, on = there(visit).page) => {
      for (const colorScheme of ['light', 'dark'] as const) {
        await on.emulateMedia({ colorScheme });
        await shoot(on, `${name}-${colorScheme}`);
        expect(await seriousViolations(on), `${name} ${colorScheme}`).toEqual([]);
      }
    },
  };
}

/** The page of a workload of the shop, or its review. */
export const workloadPath = (name: string, at: 'workloads' | 'review' = 'workloads') =>
  `/${at}/${encodeURIComponent(shopId(name).slice('spiffe://'.length))}`;
