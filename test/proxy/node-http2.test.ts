import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { sendUnaryData, ServerDuplexStream, ServerUnaryCall } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../src/access/index.ts';
import {
  DEFAULT_TIMEOUTS,
  openNodePorts,
  Proxy,
  type ProxyOptions,
  readNodeProxyDocument,
  Spool,
  stateFiles,
} from '../../src/proxy/index.ts';
import { closeAll } from '../../src/proxy/proxy.test-helper.ts';
import { systemClock, X509Source } from '../../src/workload/index.ts';
import { Node, Opened, Plane } from '../identity/harness.ts';
import { grpcProgram } from './grpc.test-helper.ts';
import { startProgram } from './running.ts';

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0;
if (!isRoot)
  console.log('HTTP/2 through the node proxy is not tested: programs of several users take root on Linux');

const [CART, SHOP, STRANGER] = [40_401, 40_402, 40_403];
const OWN = parseSpiffeId('spiffe://example.org/uid/0');
const RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", selectors: [], when: "unix.uid != ${STRANGER}", ttl: 1h }
`;
const id = (uid: number) => `spiffe://example.org/uid/${uid}`;
/** What the peer is told of a caller. */
const told = (uid: number) => `By=${OWN};URI=${id(uid)}`;

describe.skipIf(!isRoot)('HTTP/2 through a node proxy', () => {
  const opened = new Opened();
  const lines: { event: string; reason: string }[] = [];
  let peer: Proxy;
  let node: Proxy;
  const seen: string[] = [];

  const open = async (
    options: Pick<ProxyOptions, 'instance' | 'sources' | 'inbound'> & Partial<ProxyOptions>,
  ) => {
    const dir = opened.dir();
    const onFault = (error: unknown) => lines.push({ event: 'fault', reason: String(error) });
    const proxy = await Proxy.open({
      version: 'test',
      outbound: [],
      timeouts: DEFAULT_TIMEOUTS,
      authentication: 'strict',
      files: stateFiles(join(dir, 'state')),
      spool: await Spool.open({ dir: join(dir, 'spool'), now: Date.now, onFault }),
      clock: systemClock,
      onLine: (line) => lines.push(line),
      onOnline: () => {},
      onFault,
      ...options,
    });
    opened.later(() => proxy.close());
    return proxy;
  };

  beforeAll(async () => {
    const plane = await Plane.start(opened, { rules: RULE, nodeProxies: [OWN] });
    const agent = await Node.online(opened, {
      address: plane.address,
      token: await plane.token('node-1'),
      delegates: [OWN],
    });
    const own = await X509Source.open({ endpoint: agent.endpoint });
    opened.later(() => own.close());
    const callerOf = ({ metadata }: { metadata: ServerUnaryCall<Buffer, Buffer>['metadata'] }) => {
      const caller = String(metadata.get('x-forwarded-client-cert')[0]);
      seen.push(caller);
      return caller;
    };
    const grpc = await grpcProgram({
      Unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        done(null, Buffer.from(callerOf(call))),
      Chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
        const caller = callerOf(call);
        call.on('data', (bytes: Buffer) => call.write(Buffer.from(`${caller} ${String(bytes)}`)));
        call.on('error', () => {});
        call.on('end', () => call.end());
      },
    });
    opened.later(closeAll);
    const plain = createServer((request, response) =>
      response.end(`${request.httpVersion} ${String(request.headers['x-forwarded-client-cert'])}`),
    );
    await new Promise<void>((done) => plain.listen(0, '127.0.0.1', done));
    opened.later(() => void plain.close());
    const listen = { host: '127.0.0.1', port: 0 };
    const ports = [grpc.address.port, (plain.address() as AddressInfo).port];
    peer = await open({
      instance: 'peer',
      sources: new Map([[OWN, own]]),
      inbound: ports.map((port) => ({
        workload: OWN,
        listen,
        port,
        protocol: 'http',
        forward: { host: '127.0.0.1', port },
      })),
    });
    const document = readNodeProxyDocument(
      JSON.stringify({
        apiVersion: 'interlock.dev/v1alpha1',
        kind: 'NodeProxy',
        metadata: { name: 'node' },
        spec: {
          workloads: [CART, SHOP].map((uid) => ({ id: id(uid) })),
          outbound: peer.addresses.inbound.map(({ port }) => ({
            listen: '127.0.0.1:0',
            to: `127.0.0.1:${port}`,
            peer: OWN,
          })),
        },
      }),
      'node.yaml',
    );
    const adminEndpoint = `unix://${agent.adminSocketPath}`;
    const onFault = () => {};
    node = await open({
      instance: 'node',
      sources: new Map(),
      workloads: document.workloads.map(({ id: workload }) => workload),
      inbound: [],
      openPorts: (parts) =>
        openNodePorts({ document, adminEndpoint, own, clock: systemClock, onFault }, parts),
    });
  });
  afterAll(() => opened.close());

  const portOf = (i: number) => node.addresses.outbound[i]?.port;

  test('gives each gRPC call the identity of its process, over one connection to the peer for each of them', async () => {
    const programs = [CART, SHOP].map((uid) => ({ uid, program: startProgram(opened, uid) }));
    const before = peer.status.counters.accepted;
    for (let round = 0; round < 2; round++) {
      const answers = await Promise.all(
        programs.map(({ program }) => program.ask({ grpc: portOf(0), calls: 25 })),
      );
      expect(answers).toEqual(programs.map(({ uid }) => ({ answers: [told(uid)], calls: 25 })));
    }
    // A hundred calls over four local connections.
    expect(peer.status.counters.accepted - before).toBe(2);
  });

  test('keeps open streams of two workloads apart, and joins those of one', async () => {
    const uids = [CART, SHOP, CART, SHOP];
    const programs = uids.map((uid) => startProgram(opened, uid));
    const before = peer.status.connections;
    const said = async (order: object) => Promise.all(programs.map((program) => program.ask(order)));
    expect(await said({ chat: portOf(0) })).toEqual(uids.map((uid) => ({ came: `${told(uid)} hello` })));
    expect(await said({ word: 'again' })).toEqual(uids.map((uid) => ({ came: `${told(uid)} again` })));
    expect(peer.status.connections).toBe(Math.max(before, 2));
    for (const program of programs) await program.kill();
  });

  test('refuses streams of a process that is no workload, and none of them reaches the peer', async () => {
    const stranger = startProgram(opened, STRANGER);
    const [calls, before] = [seen.length, node.status.counters.strangers];
    // UNAVAILABLE: its connection was broken off before anything was said.
    expect(await stranger.ask({ grpc: portOf(0), calls: 2 })).toMatchObject({ answers: ['code 14'] });
    expect(await stranger.ask({ h2: portOf(0) })).toHaveProperty('refused');
    expect(seen.length).toBe(calls);
    expect(node.status.counters.strangers).toBeGreaterThan(before);
    expect(lines.map(({ reason }) => reason).join()).toContain(
      `process ${stranger.pid} of user ${STRANGER} is no workload of this node`,
    );
  });

  test('takes HTTP/2 that is no gRPC the same way, to a program that speaks HTTP/1.1', async () => {
    for (const uid of [CART, SHOP]) {
      const program = startProgram(opened, uid);
      expect(await program.ask({ h2: portOf(1) })).toEqual({ status: 200, body: `1.1 ${told(uid)}` });
    }
  });
});
