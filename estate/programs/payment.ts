import { isReady, Refusal, serveHttp } from './program.ts';

// Payment: keeps what was charged. It charges whoever can reach it: that it is reached by the right ones only is the
// policy's part.

let charges = 0;
let cents = 0;

await serveHttp('HTTP_PORT', {
  'POST /charges': (_, body) => {
    const charge = body as { readonly cents?: unknown } | undefined;
    if (typeof charge?.cents !== 'number' || charge.cents <= 0) throw new Refusal(400, 'nothing to charge');
    charges++;
    cents += charge.cents;
    return { charge: charges };
  },
  'GET /charges': () => ({ charges, cents }),
});
isReady();
