import { grpcClient } from './grpc.ts';
import { ask, isReady, serveHttp, turns } from './program.ts';

// The shop's front: what a shopper's browser asks for.

const catalogue = turns('CATALOGUE_HTTP');
const cart = turns('CART_HTTP');
const checkout = turns('CHECKOUT_HTTP');
const recommendation = grpcClient('RECOMMENDATION_GRPC', 'Recommendation');

await serveHttp('HTTP_PORT', {
  'GET /': () => ask('GET', `http://${catalogue()}/products`),
  'GET /products/*': async ([id = '']) => {
    const [product, others] = await Promise.all([
      ask<object>('GET', `http://${catalogue()}/products/${id}`),
      recommendation<{ productIds: readonly number[] }>('Recommend', { productId: Number(id) }),
    ]);
    return { ...product, others: others.productIds };
  },
  'POST /carts/*/items': ([id = ''], body) => ask('POST', `http://${cart()}/carts/${id}/items`, body),
  'GET /carts/*': ([id = '']) => ask('GET', `http://${cart()}/carts/${id}`),
  'POST /orders': (_, body) => ask('POST', `http://${checkout()}/orders`, body),
});
isReady();
