import { randomUUID } from 'node:crypto';
import { grpcClient } from './grpc.ts';
import { ask, isReady, serveHttp, turns } from './program.ts';

// Checkout: takes a cart, has it paid and shipped, and a mail sent.

const cart = turns('CART_HTTP');
const payment = turns('PAYMENT_HTTP');
const mail = turns('MAIL_HTTP');
const shipping = grpcClient('SHIPPING_GRPC', 'Shipping');

await serveHttp('HTTP_PORT', {
  'POST /orders': async (_, body) => {
    // Web sends this.
    const { cartId } = body as { readonly cartId: string };
    const { items } = await ask<{ items: readonly { cents: number }[] }>(
      'GET',
      `http://${cart()}/carts/${cartId}`,
    );
    const { cents } = await shipping<{ cents: number }>('Quote', { items: items.length });
    const total = items.reduce((sum, item) => sum + item.cents, cents);
    const order = randomUUID();
    await ask('POST', `http://${payment()}/charges`, { order, cents: total });
    const { trackingId } = await shipping<{ trackingId: string }>('Ship', {
      orderId: order,
      items: items.length,
    });
    await ask('POST', `http://${mail()}/messages`, { to: 'customer', order, trackingId });
    await ask('DELETE', `http://${cart()}/carts/${cartId}`);
    return { order, cents: total, trackingId };
  },
});
isReady();
