import { expect, test } from 'vitest';
import { readProxyDocument } from './document.ts';

const document = (inbound: object) =>
  JSON.stringify({
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'Proxy',
    metadata: { name: 'db' },
    spec: { inbound: [{ listen: '0.0.0.0:8443', forward: '127.0.0.1:3306', ...inbound }] },
  });

test('a program that speaks first is declared on a tcp port, and on no other', () => {
  const tcp = { protocol: 'tcp', serverFirst: true };
  expect(readProxyDocument(document(tcp), 'db.yaml').inbound).toMatchObject([{ ...tcp, port: 3306 }]);
  expect(readProxyDocument(document({ serverFirst: false }), 'db.yaml').inbound).toHaveLength(1);
  expect(readProxyDocument(document({}), 'db.yaml').inbound[0]).not.toHaveProperty('serverFirst');
  expect(() => readProxyDocument(document({ serverFirst: true }), 'db.yaml')).toThrow(
    'db.yaml: the program behind port 8443 cannot speak first in HTTP: say "protocol: tcp"',
  );
  expect(() => readProxyDocument(document({ ...tcp, serverFirst: 'yes' }), 'db.yaml')).toThrow(
    'spec.inbound.0.serverFirst',
  );
});
