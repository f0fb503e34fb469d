import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { CART, Commanded, POLICY } from './commanded.ts';

const at = Commanded.use();
const { run, json, file } = at;

describe('envoy', () => {
  const document = (more = '') => `
apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: cart }
spec:
  ${more}
  inbound: [{ listen: "0.0.0.0:8443", forward: "127.0.0.1:8080" }]
`;

  test('apply takes the document of a workload, remove takes it away', async () => {
    const good = file('proxy.yaml', document(`workload: ${CART}`));
    expect(await run('envoy', 'apply', good)).toEqual({
      code: 0,
      err: '',
      out: `${CART} has a new Proxy document.\nNo proxy is concerned now.\n`,
    });
    expect(await json('envoy', 'apply', good)).toMatchObject({
      code: 0,
      value: { workload: CART, progress: { confirmed: [], waiting: [] } },
    });
    expect(await run('envoy', 'remove', CART)).toEqual({
      code: 0,
      err: '',
      out: `${CART} has no Proxy document any more.\n`,
    });
    const again = await json('envoy', 'remove', CART);
    expect(again).toMatchObject({ code: 1, value: { error: { code: 'not_found' } } });
  });

  test('apply refuses what names no workload, is no Proxy, or what no Envoy can do, and says where', async () => {
    const cases: [string, RegExp][] = [
      [document(), /spec\.workload says whose Envoy it is/],
      [POLICY('cart'), /no Proxy: kind/],
      [document(`workload: ${CART}\n  colour: red`), /colour/],
      [
        document(`workload: ${CART}`).replace('8080" }', '8080", sendProxyHeader: v2 }'),
        /PROXY header: Envoy is not configured to/,
      ],
      [document(`workload: ${CART}`).replace('0.0.0.0', 'cart.internal'), /write an IP address/],
    ];
    for (const [text, says] of cases) {
      const { code, err, out } = await run('envoy', 'apply', file('proxy.yaml', text));
      expect([code, out], text).toEqual([1, '']);
      expect(err.replaceAll(/\s+/g, ' ')).toMatch(says);
    }
    expect(await run('envoy', 'apply', join(at.dir, 'none.yaml'))).toMatchObject({ code: 1 });
    expect(await run('envoy', 'apply')).toMatchObject({ code: 2 });
    expect(await run('envoy', 'remove', 'cart')).toMatchObject({ code: 1, out: '' });
  });
});
