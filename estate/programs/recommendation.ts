import { grpcClient, serveGrpc } from './grpc.ts';
import { isReady } from './program.ts';

// Recommendation: three products of the same category.

interface Product {
  readonly id: number;
  readonly category: string;
}

const catalogue = grpcClient('CATALOGUE_GRPC', 'Catalogue');

await serveGrpc('GRPC_PORT', 'Recommendation', {
  Recommend: async ({ productId }: { readonly productId: number }) => {
    const all = await catalogue<{ readonly products: readonly Product[] }>('ListProducts', { category: '' });
    const category = all.products.find(({ id }) => id === productId)?.category;
    const others = all.products.filter(
      (product) => product.category === category && product.id !== productId,
    );
    const start = productId % Math.max(1, others.length - 2);
    return { productIds: others.slice(start, start + 3).map(({ id }) => id) };
  },
});
isReady();
