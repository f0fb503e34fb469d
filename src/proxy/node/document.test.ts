import { describe, expect, test } from 'vitest';
import { readNodeProxyDocument } from './document.ts';

const [WEB, JOB] = ['spiffe://example.org/web', 'spiffe://example.org/job'];

const document = (spec: object) =>
  readNodeProxyDocument(
    JSON.stringify({
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'NodeProxy',
      metadata: { name: 'n' },
      spec: { workloads: [{ id: WEB }, { id: JOB, mark: 7 }], ...spec },
    }),
    'n.yaml',
  );
const inbound = (change: object = {}) => ({
  workload: WEB,
  listen: '0.0.0.0:8443',
  forward: '127.0.0.1:8080',
  ...change,
});
const trustProxyHeader = { addresses: ['10.0.0.1/32'] };

describe('a NodeProxy document', () => {
  test('says which ports are whose, with the defaults of a sidecar', () => {
    const read = document({
      inbound: [inbound(), inbound({ workload: JOB, listen: '0.0.0.0:8444', protocol: 'tcp', port: 25 })],
      outbound: [{ to: '10.0.0.9:8443', peer: JOB }],
      intercept: { listen: '127.0.0.1:15001' },
    });
    expect(read.inbound.map(({ port, protocol }) => [port, protocol])).toEqual([
      [8080, 'http'],
      [25, 'tcp'],
    ]);
    // Without destinations of its own, a peer is reached by whoever means to call its proxy.
    expect(read.outbound[0]?.destinations).toEqual([{ host: '10.0.0.9', port: 8443 }]);
    expect(read.intercept).toEqual({ listen: [{ host: '127.0.0.1', port: 15_001 }], passthrough: true });
    expect(read.authentication).toBe('permissive');
  });

  test('lets workloads share a port that is told apart by a PROXY header', () => {
    const shared = [
      inbound({ destination: 8080, trustProxyHeader }),
      inbound({ workload: JOB, destination: '10.0.0.5:8080', trustProxyHeader }),
    ];
    expect(document({ inbound: shared }).inbound.map(({ destination }) => destination)).toEqual([
      8080,
      { host: '10.0.0.5', port: 8080 },
    ]);
  });

  test.each([
    [{}, 'inbound or an outbound route, or intercepts'],
    [{ workloads: [{ id: WEB }, { id: WEB }], inbound: [inbound()] }, 'listed twice'],
    [
      {
        workloads: [
          { id: WEB, mark: 1 },
          { id: JOB, mark: 1 },
        ],
        inbound: [inbound()],
      },
      'one mark',
    ],
    [{ workloads: [{ id: WEB, mark: 70_000 }], inbound: [inbound()] }, 'workloads.0.mark'],
    [{ inbound: [inbound({ workload: 'spiffe://example.org/other' })] }, 'not listed in workloads'],
    [{ inbound: [inbound({ forward: 'localhost:8080' })] }, 'has no address'],
    [{ inbound: [inbound(), inbound()] }, 'no "destination" to tell them apart'],
    [{ inbound: [inbound({ destination: 1 })] }, '"trustProxyHeader.addresses" says whose'],
    [
      {
        inbound: [
          inbound({ destination: 1, trustProxyHeader }),
          inbound({ destination: 1, trustProxyHeader }),
        ],
      },
      'have one destination',
    ],
    [
      { inbound: [inbound({ destination: 1, trustProxyHeader }), inbound({ destination: 2 })] },
      'trust different peers',
    ],
    [{ outbound: [{ to: '10.0.0.9:1', peer: JOB }] }, '"intercept", which is missing'],
    [
      { intercept: { listen: '127.0.0.1:1' }, outbound: [{ to: 'db.internal:1', peer: JOB }] },
      'is no address',
    ],
    [
      {
        intercept: { listen: '127.0.0.1:1' },
        outbound: [
          { to: '10.0.0.9:1', peer: JOB },
          { to: '10.0.0.8:1', peer: WEB, destinations: ['10.0.0.9:1'] },
        ],
      },
      'two outbound routes have the destination',
    ],
    [{ inbound: [inbound({ __proto__: null, unknown: 1 })] }, 'nrecognized key'],
  ])('%j is refused', (spec, reason) => {
    expect(() => document(spec)).toThrow(reason);
  });
});
