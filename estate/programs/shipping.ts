import { serveGrpc } from './grpc.ts';
import { isReady } from './program.ts';

// Shipping: says what it costs, and sends.

let parcels = 0;

await serveGrpc('GRPC_PORT', 'Shipping', {
  Quote: ({ items }: { readonly items: number }) => ({ cents: 490 + 110 * items }),
  Ship: ({ orderId }: { readonly orderId: string }) => ({
    trackingId: `P${String(++parcels).padStart(6, '0')}-${orderId.slice(0, 8)}`,
  }),
});
isReady();
