import { isReady, serveHttp } from './program.ts';

// Mail: takes messages and reports. Nothing leaves this machine: it counts them.

let messages = 0;
let reports = 0;

await serveHttp('HTTP_PORT', {
  'POST /messages': () => ({ message: ++messages }),
  'POST /reports': () => ({ report: ++reports }),
});
isReady();
