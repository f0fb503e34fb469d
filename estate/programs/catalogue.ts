import { serveGrpc } from './grpc.ts';
import { isReady, Refusal, serveHttp } from './program.ts';

// The catalogue: 40 products, for people over HTTP and for recommendation over gRPC.

const CATEGORIES = ['kettles', 'lamps', 'chairs', 'clocks'] as const;
const KINDS = ['small', 'plain', 'blue', 'folding', 'brass', 'tall', 'quiet', 'round', 'old', 'light'];
const PRODUCTS = CATEGORIES.flatMap((category, c) =>
  KINDS.map((kind, k) => ({
    id: c * KINDS.length + k + 1,
    name: `${kind} ${category.slice(0, -1)}`,
    category,
    cents: 900 + 350 * ((c * 7 + k * 3) % 11),
  })),
);

await Promise.all([
  serveHttp('HTTP_PORT', {
    'GET /products': () => ({ products: PRODUCTS }),
    'GET /products/*': ([id]) => {
      const found = PRODUCTS.find((product) => String(product.id) === id);
      if (found === undefined) throw new Refusal(404, 'no such product');
      return found;
    },
  }),
  serveGrpc('GRPC_PORT', 'Catalogue', {
    ListProducts: ({ category }: { readonly category: string }) => ({
      products: PRODUCTS.filter((product) => category === '' || product.category === category),
    }),
  }),
]);
isReady();
