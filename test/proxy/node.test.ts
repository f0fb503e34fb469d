import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { promisify } from 'node:util';
import { parseSpiffeId } from '../../src/access/index.ts';
import {
  DEFAULT_TIMEOUTS,
  openControlStream,
  openNodePorts,
  Proxy,
  type ProxyOptions,
  readNodeProxyDocument,
  Spool,
  stateFiles,
} from '../../src/proxy/index.ts';
import type { Report } from '../../src/proto/proxy/index.ts';
import {
  authorizeAny,
  connectMtls,
  mtlsClientOptions,
  provePeer,
  systemClock,
  X509Source,
} from '../../src/workload/index.ts';
import { Node, Opened, Plane } from '../identity/harness.ts';
import { type Program, startProgram } from './running.ts';

const execute = promisify(execFile);
const isRoot = process.platform === 'linux' && process.geteuid?.() === 0;
if (!isRoot)
  console.log('the node proxy is not tested end to end: programs of several users take root on Linux');

/** Users of this test; the last one is registered nowhere. */
const [CART, SHOP, STRANGER, OTHER] = [40_101, 40_102, 40_103, 40_104];
const OWN = parseSpiffeId('spiffe://example.org/uid/0');
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", selectors: [], when: "unix.uid != ${STRANGER}", ttl: 1h }
---
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: job }
spec: { spiffeId: "/job", selectors: ["unix:uid:0"], ttl: 1h }
`;
/** How a caller learns that it was refused: nothing is said. */
const CLOSED = /closed|reset|ECONNRESET|disconnected/;
const id = (uid: number) => `spiffe://example.org/uid/${uid}`;

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}

/** A launcher marks a socket before it connects, which Node has no way to do. */
async function markedGet(port: number, mark: number): Promise<string> {
  const script = `
import socket, sys
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, 36, ${mark})
s.connect(('127.0.0.1', ${port}))
try:
  s.sendall(b'GET / HTTP/1.1\\r\\nhost: a\\r\\nconnection: close\\r\\n\\r\\n')
  while True:
    came = s.recv(65536)
    if not came: break
    sys.stdout.write(came.decode())
except ConnectionError:
  pass`;
  return (await execute('/usr/bin/python3', ['-c', script])).stdout;
}

describe.skipIf(!isRoot)('a node proxy', () => {
  const opened = new Opened();
  const lines: { event: string; from?: string; reason: string }[] = [];
  let plane: Plane;
  let agent: Node;
  let own: X509Source;
  let proxy: Proxy;
  let sidecar: Proxy;
  let appPort = 0;
  const calls: string[] = [];
  let keeper: Program;

  const base = (
    dir: string,
    spool: Spool,
  ): Omit<ProxyOptions, 'instance' | 'sources' | 'inbound' | 'outbound'> => ({
    version: 'test',
    timeouts: DEFAULT_TIMEOUTS,
    authentication: 'strict',
    files: stateFiles(join(dir, 'state')),
    spool,
    clock: systemClock,
    onLine: (line) => lines.push(line),
    onOnline: () => {},
    onFault: (error) => lines.push({ event: 'fault', reason: String(error) }),
  });
  const reports: Report[] = [];
  const spoolIn = async (dir: string) => {
    const spool = await Spool.open({ dir: join(dir, 'spool'), now: () => Date.now(), onFault: () => {} });
    const add = spool.add.bind(spool);
    spool.add = (drained) => {
      reports.push(drained.report);
      add(drained);
    };
    return spool;
  };

  beforeAll(async () => {
    plane = await Plane.start(opened, { rules: RULE, nodeProxies: [OWN] });
    agent = await Node.online(opened, {
      address: plane.address,
      token: await plane.token('node-1'),
      delegates: [OWN],
    });
    own = await X509Source.open({
      endpoint: agent.endpoint,
      pick: (svids) => svids.find(({ spiffeId }) => spiffeId === OWN),
    });
    opened.later(() => own.close());
    // The peer: a program behind a sidecar of its own.
    const app = createServer((request, response) => {
      calls.push(String(request.headers['x-forwarded-client-cert']));
      response.end(`you are ${String(request.headers['x-forwarded-client-cert'])}`);
    });
    await new Promise<void>((done) => app.listen(0, '127.0.0.1', done));
    opened.later(() => void app.close());
    const { port } = app.address() as AddressInfo;
    // A program that speaks first, and goes on after its caller has stopped sending.
    const mail = createTcpServer({ allowHalfOpen: true }, (socket) => {
      socket.write('220 ready\n');
      let came = '';
      socket.on('data', (bytes) => (came += String(bytes)));
      socket.on('end', () => socket.end(`got ${came}`));
    });
    await new Promise<void>((done) => mail.listen(0, '127.0.0.1', done));
    opened.later(() => void mail.close());
    const peerDir = opened.dir();
    sidecar = await Proxy.open({
      ...base(peerDir, await spoolIn(peerDir)),
      instance: 'peer',
      sources: new Map([[OWN, own]]),
      inbound: [
        {
          workload: OWN,
          listen: { host: '127.0.0.1', port: 0 },
          forward: { host: '127.0.0.1', port },
          port,
          protocol: 'http',
        },
        {
          workload: OWN,
          listen: { host: '127.0.0.1', port: 0 },
          forward: { host: '127.0.0.1', port: (mail.address() as AddressInfo).port },
          port: 25,
          protocol: 'tcp',
        },
      ],
      outbound: [],
    });
    opened.later(() => sidecar.close());
    appPort = await freePort();
    const [peer, mailPeer] = sidecar.addresses.inbound.map(({ port }) => port);
    const document = readNodeProxyDocument(
      `
apiVersion: interlock.dev/v1alpha1
kind: NodeProxy
metadata: { name: node }
spec:
  authentication: strict
  workloads:
    - { id: "${id(CART)}", mark: 1 }
    - { id: "${id(SHOP)}", mark: 2 }
    - { id: "spiffe://example.org/uid/0" , mark: 3 }
    - { id: "spiffe://example.org/job", mark: 4 }
  inbound:
    - { workload: "${id(CART)}", listen: "127.0.0.1:0", forward: "127.0.0.1:${appPort}", protocol: http }
    - workload: "${id(CART)}"
      listen: 127.0.0.2:0
      forward: 127.0.0.1:${appPort}
      destination: 8443
      trustProxyHeader: { addresses: [127.0.0.9/32] }
  outbound:
    - { listen: "127.0.0.1:0", to: "127.0.0.1:${peer}", peer: "${OWN}", protocol: http }
    - { listen: "127.0.0.1:0", to: "127.0.0.1:${mailPeer}", peer: "${OWN}", protocol: tcp }
`,
      'node.yaml',
    );
    const dir = opened.dir();
    proxy = await Proxy.open({
      ...base(dir, await spoolIn(dir)),
      instance: 'node',
      sources: new Map(),
      workloads: document.workloads.map(({ id: workload }) => workload),
      inbound: [],
      outbound: [],
      openPorts: (parts) =>
        openNodePorts(
          {
            document,
            adminEndpoint: `unix://${agent.adminSocketPath}`,
            own,
            clock: systemClock,
            onFault: (error) => lines.push({ event: 'fault', reason: error.message }),
          },
          parts,
        ),
      openStream: (handlers) =>
        openControlStream(
          {
            address: plane.address,
            server: parseSpiffeId('spiffe://example.org/interlock/server'),
            source: own,
          },
          handlers,
        ),
    });
    opened.later(() => proxy.close());
  });
  afterAll(() => opened.close());

  const outboundUrl = () => `http://127.0.0.1:${proxy.addresses.outbound[0]?.port}/`;

  test('calls under the identity of the process whose connection it is, and never shares an upstream', async () => {
    const cart = startProgram(opened, CART);
    const shop = startProgram(opened, SHOP);
    const before = sidecar.status.counters.accepted;
    for (let i = 0; i < 3; i++) {
      expect(await cart.ask({ get: outboundUrl() })).toEqual({
        status: 200,
        body: `you are By=${OWN};URI=${id(CART)}`,
      });
      expect(await shop.ask({ get: outboundUrl() })).toEqual({
        status: 200,
        body: `you are By=${OWN};URI=${id(SHOP)}`,
      });
    }
    // Six requests over six local connections: one upstream connection for each identity.
    expect(sidecar.status.counters.accepted - before).toBe(2);
  });

  test('refuses a process that has no identity, and one that is no workload of this node', async () => {
    const before = calls.length;
    for (const uid of [STRANGER, OTHER]) {
      lines.length = 0;
      const stranger = startProgram(opened, uid);
      expect(await stranger.ask({ get: outboundUrl() })).toHaveProperty('refused');
      expect(lines).toContainEqual(
        expect.objectContaining({
          event: 'refused',
          reason: expect.stringContaining(
            `process ${stranger.pid} of user ${uid} is no workload of this node`,
          ),
        }),
      );
    }
    expect(calls.length).toBe(before);
  });

  test('takes a mark for a choice among what the process is, and for nothing more', async () => {
    const { port = 0 } = proxy.addresses.outbound[0] ?? {};
    expect(await markedGet(port, 0x49_4c_00_04)).toContain(`you are By=${OWN};URI=spiffe://example.org/job`);
    expect(await markedGet(port, 0x49_4c_00_03)).toContain(`you are By=${OWN};URI=${OWN}`);
    lines.length = 0;
    expect(await markedGet(port, 0x49_4c_00_01)).toBe('');
    expect(lines[0]?.reason).toContain(`names ${id(CART)}, which it is not`);
  });

  test('takes calls for a workload as that workload, once its program listens', async () => {
    const at = { host: '127.0.0.1', port: proxy.addresses.inbound[0]?.port ?? 0 };
    const options = { source: own, authorize: authorizeAny() };
    await expect(connectMtls(at, options)).rejects.toThrow(CLOSED);
    expect(lines.map(({ reason }) => reason).join()).toContain(
      `no program of this node listens at 127.0.0.1:${appPort}`,
    );
    const thief = startProgram(opened, SHOP);
    await thief.ask({ listen: appPort });
    await expect(connectMtls(at, options)).rejects.toThrow(CLOSED);
    expect(lines.map(({ reason }) => reason).join()).toContain(`process ${thief.pid}, is not ${id(CART)}`);
    await thief.kill();
    const cart = startProgram(opened, CART);
    await cart.ask({ listen: appPort });
    const { socket, peer } = await connectMtls(at, options);
    expect(peer.spiffeId).toBe(id(CART));
    socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    let answer = '';
    for await (const bytes of socket) answer += String(bytes);
    expect(answer).toContain(`user ${CART} caller By=${id(CART)};URI=${OWN}`);
    await cart.kill();
  });

  test('carries bytes both ways, whoever speaks first and whoever ends first', async () => {
    const cart = startProgram(opened, CART);
    const { port } = proxy.addresses.outbound[1] ?? {};
    expect(await cart.ask({ send: 'hello', port })).toEqual({ came: '220 ready\ngot hello' });
  });

  test('believes the destination of a PROXY header from the peers that are trusted with one', async () => {
    const cart = startProgram(opened, CART);
    const listened = await cart.ask({ listen: appPort });
    expect(listened).toEqual({ port: appPort });
    const { port = 0 } = proxy.addresses.inbound[1] ?? {};
    const { socket, answer } = await viaHeader(port, '127.0.0.9', 8443);
    expect(answer).toContain(`user ${CART} caller By=${id(CART)};URI=${OWN}`);
    socket.destroy();
    await cart.kill();
  });

  test.each([
    ['of another destination', '127.0.0.9', 8444, 'a destination that is not served here'],
    ['of a peer that is not trusted', '127.0.0.8', 8443, 'whose PROXY header is not believed'],
  ])('refuses a PROXY header %s, and records it', async (_, from, destination, reason) => {
    lines.length = 0;
    const { port = 0 } = proxy.addresses.inbound[1] ?? {};
    await expect(viaHeader(port, from, destination)).rejects.toThrow(CLOSED);
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'refused', reason: expect.stringContaining(reason) }),
    );
    // One line for one refusal, and none that speaks of policies: none was asked.
    expect(lines.filter(({ event }) => event === 'denied')).toEqual([]);
  });

  test('tells the control plane of all its workloads', async () => {
    const { points } = await plane.api.get<{ points: { workloads: string[]; connected: boolean }[] }>(
      '/v1/points',
    );
    expect(points).toContainEqual(
      expect.objectContaining({
        workloads: expect.arrayContaining([id(CART), id(SHOP), 'spiffe://example.org/job']),
        connected: true,
      }),
    );
  });

  test('records which workload of the machine still calls in plain text', async () => {
    const [cart, shop] = [startProgram(opened, CART), startProgram(opened, SHOP)];
    await cart.ask({ listen: appPort });
    await plane.api.call('rollouts.authenticate', {
      params: { workload: id(CART) },
      body: { stage: 'permissive' },
    });
    await until(() =>
      proxy.policies.enforcements.some(
        (each) => each.workload === id(CART) && each.authentication === 'permissive',
      ),
    );
    const { port } = proxy.addresses.inbound[0] ?? {};
    expect(await shop.ask({ get: `http://127.0.0.1:${port}/` })).toEqual({
      status: 200,
      body: `user ${CART} caller `,
    });
    const seen = () => reports.flatMap(({ plaintext }) => plaintext);
    await until(() => seen().length > 0);
    expect(seen()).toMatchObject([
      { to: id(CART), from: { spiffeId: '', address: '127.0.0.1', workload: id(SHOP) } },
    ]);
    await cart.kill();
  });

  test('takes a new SVID as soon as the old one is revoked, and nobody whose identity is', async () => {
    const [cart, shop] = [startProgram(opened, CART), startProgram(opened, SHOP)];
    expect(await cart.ask({ get: outboundUrl() })).toMatchObject({ status: 200 });
    expect(await shop.ask({ get: outboundUrl() })).toMatchObject({ status: 200 });
    const serialOf = (uid: number) => {
      const { identities } = proxy.status.node as { identities: { workload: string; serial: string }[] };
      return identities.find(({ workload }) => workload === id(uid))?.serial;
    };
    const before = serialOf(CART);
    await plane.api.post('/v1/revocations', { serial: before, reason: 'keyCompromise' });
    await until(() => serialOf(CART) !== before);
    expect(await cart.ask({ get: outboundUrl() })).toMatchObject({ status: 200 });
    await plane.api.post('/v1/revocations', { spiffeId: id(SHOP) });
    // The word goes from the control plane over the agent to the proxy; until it has come, calls are the old ones.
    let answer: Record<string, unknown> = {};
    while (!('refused' in answer)) answer = await shop.ask({ get: outboundUrl() });
    expect(await shop.ask({ get: outboundUrl() })).toHaveProperty('refused');
    expect(await cart.ask({ get: outboundUrl() })).toMatchObject({ status: 200 });
  });

  test('goes on with what it knows while the agent is away, and knows nobody new', async () => {
    const cart = startProgram(opened, CART);
    keeper = cart;
    const body = `you are By=${OWN};URI=${id(CART)}`;
    expect(await cart.ask({ get: outboundUrl() })).toMatchObject({ body });
    await agent.agent.close();
    expect(await cart.ask({ get: outboundUrl() })).toMatchObject({ body });
    const late = startProgram(opened, CART);
    expect(await late.ask({ get: outboundUrl() })).toHaveProperty('refused');
  });

  test('ends what is open when it is closed', async () => {
    const { port } = proxy.addresses.outbound[1] ?? {};
    expect(await keeper.ask({ hold: port })).toEqual({ came: '220 ready\n' });
    await proxy.drain(0);
    expect(await keeper.ask({ ended: true })).toEqual({ ended: true });
    expect(proxy.status.connections).toBe(0);
  });

  /** Mutual TLS after a PROXY header, as a load balancer in front of the node speaks. */
  async function viaHeader(port: number, from: string, destination: number) {
    const socket = connect({ host: '127.0.0.2', port, localAddress: from });
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(`PROXY TCP4 192.0.2.7 192.0.2.8 5555 ${destination}\r\n`);
    const { checkServerIdentity: _, ...options } = mtlsClientOptions({
      source: own,
      authorize: authorizeAny(),
    });
    const secure = connectTls({ ...options, socket, checkServerIdentity: () => undefined });
    await new Promise((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
      secure.once('close', () => reject(new Error('it was closed')));
    });
    expect(provePeer(secure, { source: own, authorize: authorizeAny() }, Date.now()).spiffeId).toBe(id(CART));
    secure.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    let answer = '';
    for await (const bytes of secure) answer += String(bytes);
    return { socket, answer };
  }
});
