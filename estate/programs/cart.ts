import { ask, isReady, Refusal, serveHttp, turns } from './program.ts';

// The carts, in memory. A price is what the catalogue says when a thing is put in.

interface Item {
  readonly product: number;
  readonly cents: number;
}

/** The oldest cart is forgotten where there are more. */
const MAX_CARTS = 1000;
const catalogue = turns('CATALOGUE_HTTP');
const carts = new Map<string, Item[]>();

const cartOf = (id = '') => {
  const cart = carts.get(id);
  if (cart === undefined) throw new Refusal(404, 'no such cart');
  return cart;
};

await serveHttp('HTTP_PORT', {
  'POST /carts/*/items': async ([id = ''], body) => {
    // Web sends this; an unknown product is refused by the catalogue.
    const { product } = body as { readonly product: number };
    const { cents } = await ask<{ cents: number }>('GET', `http://${catalogue()}/products/${product}`);
    const cart = carts.get(id) ?? [];
    cart.push({ product, cents });
    carts.set(id, cart);
    const [oldest = id] = carts.keys();
    if (carts.size > MAX_CARTS) carts.delete(oldest);
    return { items: cart.length };
  },
  'GET /carts/*': ([id]) => ({ items: cartOf(id) }),
  'DELETE /carts/*': ([id = '']) => {
    const { length } = cartOf(id);
    carts.delete(id);
    return { items: length };
  },
});
isReady();
