import { mkdtempSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Report } from '../../src/proto/proxy/index.ts';
import {
  DEFAULT_TIMEOUTS,
  Proxy,
  type ProxyOptions,
  readProxyDocument,
  Spool,
  stateFiles,
} from '../../src/proxy/index.ts';
import type { LogLine } from '../../src/proxy/inbound/connection.ts';
import { guardOf } from '../../src/proxy/outbound/users.ts';
import { closeAll, closeLater, DB, db, readAll, view, WEB, web } from '../../src/proxy/proxy.test-helper.ts';
import { systemClock } from '../../src/workload/index.ts';
import { startProgram } from './running.ts';

const isRoot = process.platform === 'linux' && process.geteuid?.() === 0;
if (!isRoot)
  console.log(
    "whose a sidecar's connections are is not tested: programs of several users take root on Linux",
  );

/** The workload's user, another of its pod, and one who has nothing to do with it. */
const [OWN, POD, STRANGER] = [40_301, 40_302, 40_303];

const opened = { later: (end: () => unknown) => void closeLater({ close: end }) };

/** A proxy as `interlock proxy` runs it: its document, and what it logs, counts and reports. */
async function sidecar(spec: object, more: Partial<ProxyOptions> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-proxy-'));
  const lines: LogLine[] = [];
  const reports: Report[] = [];
  const document = readProxyDocument(
    JSON.stringify({ apiVersion: 'interlock.dev/v1alpha1', kind: 'Proxy', metadata: { name: 'a' }, spec }),
    'a.yaml',
  );
  const onFault = (error: unknown) => {
    throw error;
  };
  const spool = await Spool.open({ dir: join(dir, 'spool'), now: Date.now, onFault });
  const add = spool.add.bind(spool);
  spool.add = (drained) => {
    reports.push(drained.report);
    add(drained);
  };
  const proxy = await Proxy.open({
    instance: 'a',
    version: 'test',
    sources: new Map([[WEB, web]]),
    inbound: document.inbound.map((route) => ({ ...route, workload: WEB })),
    outbound: document.outbound.map((route) => ({ ...route, workload: WEB })),
    outboundUsers: document.outboundUsers,
    timeouts: document.timeouts,
    authentication: document.authentication,
    files: stateFiles(dir),
    spool,
    clock: systemClock,
    onLine: (line) => lines.push(line),
    onOnline: () => {},
    onFault,
    ...more,
  });
  let isOpen = true;
  const close = async () => {
    if (isOpen) await proxy.close();
    isOpen = false;
  };
  closeLater({
    close: async () => {
      await close();
      rmSync(dir, { recursive: true });
    },
  });
  /** What it has reported once it has ended. */
  const unreached = async () => {
    await close();
    return reports.flatMap((report) => report.unreached);
  };
  return { proxy, lines, unreached, ports: proxy.addresses.outbound.map(({ port }) => port) };
}

describe.skipIf(!isRoot)("a sidecar's outbound ports", () => {
  const ended: (() => Promise<void>)[] = [];
  const calls: string[] = [];
  let to = '';
  beforeAll(async () => {
    const app = createServer((request, response) => {
      calls.push(String(request.headers['x-forwarded-client-cert']));
      response.end('ok');
    });
    await new Promise<void>((done) => app.listen(0, '127.0.0.1', done));
    const dir = mkdtempSync(join(tmpdir(), 'interlock-proxy-'));
    const far = await Proxy.open({
      instance: 'far',
      version: 'test',
      sources: new Map([[DB, db]]),
      inbound: [
        {
          workload: DB,
          listen: { host: '127.0.0.1', port: 0 },
          forward: { host: '127.0.0.1', port: (app.address() as AddressInfo).port },
          port: 5432,
          protocol: 'http',
        },
      ],
      outbound: [],
      timeouts: DEFAULT_TIMEOUTS,
      authentication: 'strict',
      files: stateFiles(dir),
      spool: await Spool.open({ dir: join(dir, 'spool'), now: Date.now, onFault: () => {} }),
      clock: systemClock,
      onLine: () => {},
      onOnline: () => {},
      onFault: () => {},
    });
    to = `127.0.0.1:${far.addresses.inbound[0]?.port}`;
    ended.push(async () => {
      await far.close();
      app.close();
      rmSync(dir, { recursive: true });
    });
  });
  afterEach(closeAll);
  afterAll(async () => {
    for (const end of ended) await end();
  });

  const route = (more: object = {}) => ({ listen: '127.0.0.1:0', to, peer: DB, ...more });
  const get = (port = 0, host = '127.0.0.1') => ({ get: `http://${host}:${port}/` });
  const ok = { status: 200, body: 'ok' };

  test("are for the proxy's own user, root, and whom the document names: others get nothing, and are recorded", async () => {
    const { proxy, lines, unreached, ports } = await sidecar({
      outbound: [route(), route({ protocol: 'tcp' })],
      outboundUsers: [POD, 'root'],
    });
    const [pod, stranger] = [startProgram(opened, POD), startProgram(opened, STRANGER)];
    expect(await pod.ask(get(ports[0]))).toEqual(ok);
    const before = calls.length;
    expect(await stranger.ask(get(ports[0]))).toHaveProperty('refused');
    expect(await stranger.ask({ send: 'GET / HTTP/1.1\r\nhost: a\r\n\r\n', port: ports[1] })).toHaveProperty(
      'refused',
    );
    expect(calls.length).toBe(before);
    expect(await (await fetch(`http://127.0.0.1:${ports[0]}/`)).text()).toBe('ok');
    expect(proxy.status.counters).toMatchObject({ refused: 2, strangers: 2 });
    expect(proxy.metrics).toContain('\ninterlock_proxy_strangers_total 2\n');
    expect(lines).toMatchObject(
      [1, 2].map(() => ({
        event: 'refused',
        workload: WEB,
        from: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        reason: `a local connection to ${DB}: it is user ${STRANGER}'s, who is not among its outboundUsers`,
      })),
    );
    const port = Number(to.split(':')[1]);
    expect(await unreached()).toMatchObject([
      { workload: WEB, peer: DB, host: '127.0.0.1', port, reason: 'owner', count: 2n },
    ]);
  });

  test('are for everybody who reaches them where the document says so', async () => {
    const { ports, proxy } = await sidecar({ outbound: [route()], outboundUsers: 'any' });
    expect(await startProgram(opened, STRANGER).ask(get(ports[0]))).toEqual(ok);
    expect(proxy.status.counters.strangers).toBe(0);
  });

  test.each(['::1', '::ffff:127.0.0.1', 'other'])('tell users apart by way of %s too', async (by) => {
    const others = Object.values(networkInterfaces()).flatMap((each) => each ?? []);
    const host = by === 'other' ? others.find(({ internal }) => !internal)?.address : by;
    if (host === undefined) return console.log('this machine has no address beside loopback');
    const { ports } = await sidecar({ outbound: [route({ listen: '[::]:0' })], outboundUsers: [POD] });
    const url = get(ports[0], host.includes(':') ? `[${host}]` : host);
    expect(await startProgram(opened, POD).ask(url)).toEqual(ok);
    expect(await startProgram(opened, STRANGER).ask(url)).toHaveProperty('refused');
  });

  test('report a peer that is somebody else, and one that nobody answers for', async () => {
    const nobody = createServer();
    await new Promise<void>((done) => nobody.listen(0, '127.0.0.1', done));
    const { port: closed } = nobody.address() as AddressInfo;
    await new Promise((done) => nobody.close(done));
    const other = view('/other').state.svid.spiffeId;
    const { proxy, ports, unreached } = await sidecar({
      outbound: [
        route({ peer: other }),
        route({ to: `127.0.0.1:${closed}` }),
        route({ peer: other, protocol: 'tcp' }),
      ],
    });
    for (const port of [ports[0], ports[0], ports[1]])
      expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(503);
    const socket = connect(ports[2] ?? 0, '127.0.0.1');
    socket.on('error', () => {});
    expect(await readAll(socket)).toBe('');
    expect(proxy.status.counters).toMatchObject({ unreached: 4, strangers: 0 });
    expect(proxy.metrics).toContain('\ninterlock_proxy_unreached_total 4\n');
    const added: Record<string, unknown> = {};
    for (const { workload, peer, reason, detail, count } of await unreached()) {
      const key = `${workload} ${peer} ${reason}`;
      added[key] = Number(added[key] ?? 0) + Number(count);
      expect(detail).toContain(reason === 'untrusted' ? `${other} is expected` : 'ECONNREFUSED');
    }
    expect(added).toEqual({ [`${WEB} ${other} untrusted`]: 3, [`${WEB} ${DB} unreachable`]: 1 });
  });
});

describe.skipIf(process.platform !== 'linux')('who may use outbound ports', () => {
  const held = (uid: number) => ({ held: { uid, inode: 1 } });
  const at = (remoteAddress: string) =>
    ({ remoteAddress, remotePort: 5, localAddress: '127.0.0.1', localPort: 9, _handle: { fd: -1 } }) as never;
  const guard = (uid: number | undefined, more: object = {}) => {
    const connection = () => (uid === undefined ? undefined : held(uid));
    return guardOf({ users: [], self: OWN, diag: { connection, close: () => {} }, ...more });
  };

  test('is nobody from another machine, whatever the kernel knows of such an address', () =>
    expect(guard(OWN).refusal(at('192.0.2.7'))).toContain('192.0.2.7, and only users of this machine may'));

  test('is nobody of whom the kernel knows nothing', () =>
    expect(guard(undefined).refusal(at('127.0.0.1'))).toContain('nobody holds'));

  test('is nobody who has broken the connection off: another one could have its address by now', async () => {
    const server = createTcpServer({ pauseOnConnect: true, allowHalfOpen: true });
    closeLater(server);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const came = once(server, 'connection') as Promise<[Socket]>;
    const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' });
    const [[accepted]] = await Promise.all([came, once(client, 'connect')]);
    accepted.on('error', () => {});
    const alike = guard(0);
    const kernels = guardOf({ users: [] });
    expect([alike.refusal(accepted), kernels.refusal(accepted)]).toEqual([undefined, undefined]);
    expect(guard(OWN).refusal(accepted)).toBeUndefined();
    expect(guard(STRANGER).refusal(accepted)).toContain(`user ${STRANGER}'s`);
    // In a user namespace this number stands for everybody whom it does not know.
    expect(guard(OWN, { strangers: OWN }).refusal(accepted)).toContain(`user ${OWN}'s`);
    client.write('bytes that were read before');
    client.resetAndDestroy();
    await once(client, 'close');
    expect(alike.refusal(accepted)).toContain('nobody holds its other end any more');
    expect(kernels.refusal(accepted)).toContain('nobody holds its other end any more');
    accepted.destroy();
    kernels.close();
    await closeAll();
  });

  test('is nobody where the kernel fails', () => {
    const diag = {
      connection: () => {
        throw new Error('no answer');
      },
      close: () => {},
    };
    expect(guard(0, { diag }).refusal(at('127.0.0.1'))).toContain('cannot be found out: Error: no answer');
  });

  test('is not known by a name that nobody has', () =>
    expect(() => guard(0, { users: ['no-such-user-here'] })).toThrow('give its number'));
});
