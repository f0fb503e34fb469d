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

test('a mistake in the YAML is told in one line, with its place', () => {
  expect(() => readProxyDocument('a: 1\n b: 2\n', 'db.yaml')).toThrow(
    /^db\.yaml is no YAML: [^\n]* at line 1, column \d+$/,
  );
});

test('nobody but its own user may use outbound ports unless the document names them, or says any', () => {
  const users = (outboundUsers?: unknown) =>
    readProxyDocument(
      JSON.stringify({
        apiVersion: 'interlock.dev/v1alpha1',
        kind: 'Proxy',
        metadata: { name: 'web' },
        spec: {
          outbound: [{ listen: '127.0.0.1:9001', to: '10.0.0.8:8443', peer: 'spiffe://example.org/db' }],
          outboundUsers,
        },
      }),
      'web.yaml',
    ).outboundUsers;
  expect([users(), users('any'), users(['shop', 1001])]).toEqual([[], 'any', ['shop', 1001]]);
  for (const wrong of ['all', ['any', true], [-1], [''], [4_294_967_295], null])
    expect(() => users(wrong)).toThrow('spec.outboundUsers');
});
