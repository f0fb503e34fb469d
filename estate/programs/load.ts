import { randomInt, randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { ask, isReady, setting, turns } from './program.ts';
import { counted, roundDone, tellTally } from './tally.ts';

// Shoppers: each looks around, thinks, puts something into a cart, and buys it most of the time.

const web = turns('WEB_HTTP');
const shoppers = Number(setting('SHOPPERS'));
const thinkMs = Number(setting('THINK_MS'));

/** Somebody thinks for half as long as the setting says, up to one and a half times as long. */
const think = () => pause(thinkMs / 2 + randomInt(thinkMs));
const call = (method: string, path: string, body?: unknown) =>
  counted(`${method} ${path}`, ask(method, `http://${web()}${path}`, body));

async function session(): Promise<void> {
  const cartId = randomUUID();
  await call('GET', '/');
  await think();
  for (let looks = 1 + randomInt(2); looks > 0; looks--) {
    const product = 1 + randomInt(40);
    await call('GET', `/products/${product}`);
    await think();
    await call('POST', `/carts/${cartId}/items`, { product });
    await think();
  }
  await call('GET', `/carts/${cartId}`);
  await think();
  if (randomInt(4) === 0) return;
  await call('POST', '/orders', { cartId });
  roundDone();
}

async function shop(): Promise<void> {
  await pause(randomInt(thinkMs * 2));
  for (;;) {
    // What failed is counted; a shopper starts again.
    await session().catch(() => think());
  }
}

tellTally();
isReady();
await Promise.all(Array.from({ length: shoppers }, shop));
