/** A workload: prints the ID that it has, and why it has none, and goes on. `node print-svid.ts SOCKET` */
import { X509Source } from '../../../src/workload/index.ts';

const [, , socket = ''] = process.argv;
const source = await X509Source.open({
  endpoint: `unix:${socket}`,
  onError: ({ message }) => console.log(`refused: ${message}`),
});
console.log(source.svid.spiffeId);
