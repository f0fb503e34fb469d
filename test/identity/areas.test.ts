import { createServer } from 'node:tls';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import {
  certificateToPem,
  checkRelationship,
  exportPkcs8,
  pem,
  verifyX509Svid,
} from '../../src/identity/index.ts';
import { bundleFetcher } from '../../src/server/federation/fetch.ts';
import { realTimers } from '../../src/server/index.ts';
import { X509Source } from '../../src/workload/index.ts';
import { connectTo, stranger } from './callers.ts';
import { faultOf, forgeAuthority, forgeLeaf, type Forged, type Stolen, stolenKey } from './forge.ts';
import { Node, Opened, Plane } from './harness.ts';
import { judgedClient, judgedServer } from './mtls.ts';
import { noOtherUsers, workload } from './processes.ts';

const estate = new Opened();
const opened = new Opened();
afterAll(() => estate.close());
afterEach(() => opened.close());

const alone = noOtherUsers();
if (alone !== undefined) console.log(`Left out: tests with workloads of several users: ${alone}.`);

const childRule = (name: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name}-authority }
spec:
  spiffeId: /authorities/${name}
  nodes: { selectors: ["agent:id:spiffe://example.org/interlock/agent/join_token/${name}"] }
  downstream: { prefixes: ["/area/${name}/"] }
`;
const areaRule = (name: string) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/area/${name}/uid/{unix.uid}", when: "true", ttl: 1h }
`;

interface Area {
  readonly plane: Plane;
  readonly node: Node;
}

let root: Plane;
let pay: Area;
let shop: Area;

/** A child authority for the paths below /area/NAME/, and a node below it. */
async function area(name: string): Promise<Area> {
  await root.apply(childRule(name));
  const parent = { address: root.address, joinToken: await root.token(name) };
  const plane = await Plane.start(estate, { parent, rules: areaRule(name) });
  const token = await plane.token(`node-${name}`);
  return { plane, node: await Node.online(estate, { address: plane.address, token }) };
}

beforeAll(async () => {
  root = await Plane.start(estate);
  pay = await area('pay');
  shop = await area('shop');
});

describe.skipIf(alone !== undefined)('workloads of different users on nodes of two areas', () => {
  test('get different identities through the socket, each below its area', async () => {
    const asked = [
      [1001, pay.node],
      [1002, pay.node],
      [1001, shop.node],
    ] as const;
    const running = asked.map(([uid, node]) => workload(opened, uid, 'ids', node.endpoint));
    const said = await Promise.all(running.map(({ said }) => said.with('id')));
    expect(said).toEqual([
      { id: 'spiffe://example.org/area/pay/uid/1001', uid: 1001 },
      { id: 'spiffe://example.org/area/pay/uid/1002', uid: 1002 },
      { id: 'spiffe://example.org/area/shop/uid/1001', uid: 1001 },
    ]);
  });

  test('talk over mutual TLS from area to area', async () => {
    const server = workload(opened, 1001, 'serve', pay.node.endpoint);
    const { port } = await server.said.with('port');
    const caller = workload(opened, 1002, 'call', shop.node.endpoint, String(port));
    expect(await caller.said.with('server')).toEqual({
      server: 'spiffe://example.org/area/pay/uid/1001',
      answer: 'hello spiffe://example.org/area/shop/uid/1002',
    });
    expect(await server.said.with('caller')).toEqual({ caller: 'spiffe://example.org/area/shop/uid/1002' });
    expect(await caller.ended).toBe(0);
  });
});

describe('the stolen key of an area', () => {
  const OUTSIDE = /it may speak only for/;

  /** What a thief has who has read the state of the control plane of `pay`. */
  function stolen(): Stolen {
    const [slot] = pay.plane.serving.plane.authorities.slots;
    if (slot === undefined) throw new TypeError('a child authority that serves has an intermediate');
    return {
      chain: [...slot.intermediates, slot.root],
      signer: stolenKey(pay.plane.state, slot.id),
    };
  }
  const mint = (id: string) => forgeLeaf(stolen(), `spiffe://example.org${id}`);

  async function shopSource(): Promise<X509Source> {
    const source = await X509Source.open({ endpoint: shop.node.endpoint });
    opened.later(() => source.close());
    return source;
  }

  test('makes identities of its own area, which are accepted: what follows is about the area alone', async () => {
    const source = await shopSource();
    const inside = mint('/area/pay/anything');
    const verified = verifyX509Svid(inside.chain, { bundles: source.bundles, now: Date.now() });
    expect(verified.spiffeId).toBe('spiffe://example.org/area/pay/anything');
    expect(await judgedServer(opened, inside, source)).toBe('accepted');
    expect(await judgedClient(opened, inside, source)).toBe('accepted');
  });

  test.each(['/area/shop/uid/0', '/area/payment/x', '/uid/0', '/interlock/server'])(
    'makes no %s that the verifier or either end of mutual TLS accepts',
    async (path) => {
      const source = await shopSource();
      const forged = mint(path);
      const context = { bundles: source.bundles, now: Date.now() };
      expect(faultOf(() => verifyX509Svid(forged.chain, context))).toBe('outside_prefixes');
      expect(await judgedServer(opened, forged, source)).toMatch(OUTSIDE);
      expect(await judgedClient(opened, forged, source)).toMatch(OUTSIDE);
    },
  );

  test('makes no authority below it that gets around the area', async () => {
    const { bundles } = await shopSource();
    for (const prefixes of [undefined, ['/area/shop/'], ['/area/']]) {
      const forged = forgeLeaf(forgeAuthority(stolen(), prefixes), 'spiffe://example.org/area/shop/uid/0');
      const fault = faultOf(() => verifyX509Svid(forged.chain, { bundles, now: Date.now() }));
      expect(['outside_prefixes', 'outside_issuer', 'path_length']).toContain(fault);
    }
  });

  test('makes no agent of another area, or of the root, that a control plane lets in', async () => {
    const theirs = [
      [root, '/interlock/agent/join_token/pay'],
      [shop.plane, '/area/shop/interlock/agent/join_token/node-shop'],
    ] as const;
    for (const [plane, path] of theirs) {
      const forged = mint(path);
      const ending = await connectTo(stranger(opened, plane.address, forged));
      expect(ending).toEqual({ code: status.UNAUTHENTICATED, details: expect.stringMatching(OUTSIDE) });
      await plane.log.line('a connection was refused', '127.0.0.1:', path);
      await plane.log.line('a call was refused', '127.0.0.1:', path);
    }
  });

  test('makes no control plane that an agent of another area talks to', async () => {
    const token = await shop.plane.token('node-2');
    const before = await Node.online(opened, { address: shop.plane.address, token });
    await before.agent.close();
    const refusals = {
      '/area/shop/interlock/server': OUTSIDE,
      '/interlock/server': OUTSIDE,
      '/area/pay/interlock/server': /is not the control plane that is expected/,
    };
    for (const [path, reason] of Object.entries(refusals)) {
      const impostor = await tlsServer(mint(path));
      // The node as it is, led to another address.
      const node = await Node.start(opened, { address: `127.0.0.1:${impostor}`, dir: before.dir });
      expect((await node.log.line('not connected to the control plane')).text).toMatch(reason);
      await node.agent.close();
    }
  });

  test('makes no bundle endpoint (https_spiffe) of another area', async () => {
    const { bundles } = await shopSource();
    const own = bundles.get('example.org');
    const fetchBundle = bundleFetcher({ timers: realTimers });
    const port = await tlsServer(mint('/area/shop/bundle'));
    const written = {
      trustDomain: 'other.example',
      endpointUrl: `https://127.0.0.1:${port}/bundle`,
      profile: 'https_spiffe',
      endpointSpiffeId: 'spiffe://example.org/area/shop/bundle',
    };
    const relationship = checkRelationship(written, 'third.example');
    await expect(fetchBundle(relationship, own, new AbortController().signal)).rejects.toMatchObject({
      code: 'untrusted',
      message: expect.stringMatching(OUTSIDE),
    });
  });

  /** A TLS server that shows the identity and says nothing; its port. */
  async function tlsServer(svid: Forged): Promise<number> {
    const { chain: authorities } = stolen();
    const root = authorities.at(-1);
    const chain = [...svid.chain, ...(root === undefined ? [] : [root])];
    const server = createServer({
      key: pem('PRIVATE KEY', exportPkcs8(svid.key)),
      cert: chain.map(({ der }) => certificateToPem(der)).join(''),
      ALPNProtocols: ['h2', 'http/1.1'],
    });
    server.on('tlsClientError', () => {});
    server.on('secureConnection', (socket) => socket.on('error', () => {}));
    opened.later(() => new Promise((resolve) => server.close(resolve)));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }
});
