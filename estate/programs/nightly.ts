import { setTimeout as pause } from 'node:timers/promises';
import { ask, isReady, setting, turns } from './program.ts';
import { counted, roundDone, tellTally } from './tally.ts';

// The nightly report: counts the catalogue and mails the figure. Its night comes every few seconds, so that somebody
// who watches sees it.

const catalogue = turns('CATALOGUE_HTTP');
const mail = turns('MAIL_HTTP');
const nightMs = Number(setting('NIGHT_MS'));

async function report(): Promise<void> {
  const { products } = await counted(
    'GET /products',
    ask<{ products: readonly object[] }>('GET', `http://${catalogue()}/products`),
  );
  await counted('POST /reports', ask('POST', `http://${mail()}/reports`, { products: products.length }));
  roundDone();
}

tellTally();
isReady();
for (;;) {
  // What failed is counted.
  await report().catch(() => {});
  await pause(nightMs);
}
