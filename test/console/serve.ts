// `node test/console/serve.ts [PORT]`: the shop of the browser tests, for developing the console by hand.
import { Shop } from './shop.ts';

const shop = await Shop.open({
  port: Number(process.argv[2] ?? 7080),
  isEmpty: process.argv.includes('--empty'),
});
console.log(await shop.link());
setInterval(() => {
  for (const fault of shop.faults.splice(0)) console.error(fault);
}, 1000);
process.once('SIGTERM', () => void shop.close().then(() => process.exit(0)));
