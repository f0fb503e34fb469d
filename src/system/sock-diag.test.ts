import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterAll, describe, expect, test } from 'vitest';
import {
  cgroupMount,
  isConnected,
  markOf,
  originalDestination,
  processesOf,
  setMark,
  SockDiag,
} from './index.ts';

const isLinux = process.platform === 'linux';
const isRoot = process.geteuid?.() === 0;
if (!isLinux) console.log('sock_diag is not tested: this is not Linux');
if (!isRoot) console.log('marks and cgroups are not tested: that takes root');

const fdOf = (socket: Socket) =>
  (socket as Socket & { readonly _handle: { readonly fd: number } })._handle.fd;

describe.skipIf(!isLinux)('sock_diag', () => {
  const diag = new SockDiag();
  const open: (Server | Socket)[] = [];
  afterAll(() => {
    diag.close();
    for (const one of open) {
      if ('destroy' in one) one.destroy();
      else one.close();
    }
  });

  async function pair(host: string, to = host) {
    const server = createServer();
    open.push(server);
    server.listen(0, host);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const client = connect(port, to);
    client.on('error', () => {});
    const [accepted] = (await once(server, 'connection')) as [Socket];
    accepted.on('error', () => {});
    open.push(client, accepted);
    const end = (address: string | undefined, of: number | undefined) => ({
      host: (address ?? '').replace('::ffff:', ''),
      port: of ?? 0,
    });
    return {
      server,
      client,
      accepted,
      port,
      peer: {
        local: end(accepted.remoteAddress, accepted.remotePort),
        remote: end(accepted.localAddress, accepted.localPort),
      },
    };
  }

  test('names the user and the inode of whoever opened a connection', async () => {
    const { client, peer } = await pair('127.0.0.1');
    const { ino } = statSync(`/proc/self/fd/${fdOf(client)}`);
    expect(diag.connection(peer)?.held).toEqual({ uid: process.geteuid?.(), inode: ino });
  });

  test('finds the client of an IPv6 connection, and of IPv4 that is carried in an IPv6 socket', async () => {
    const six = await pair('::1');
    expect(diag.connection(six.peer)?.held?.uid).toBe(process.geteuid?.());
    const mapped = await pair('::', '127.0.0.1');
    expect(diag.connection(mapped.peer)?.held?.uid).toBe(process.geteuid?.());
    const both = await pair('::', '::ffff:127.0.0.1');
    expect(diag.connection(both.peer)?.held?.uid).toBe(process.geteuid?.());
  });

  test('takes no listener, and no other connection, for the one asked about', async () => {
    const { port, peer } = await pair('127.0.0.1');
    // Nobody is connected from port 1; the kernel would name the listener of the port.
    expect(
      diag.connection({ local: { host: '127.0.0.1', port }, remote: { host: '127.0.0.1', port: 1 } }),
    ).toBe(undefined);
    expect(
      diag.connection({ local: { ...peer.local, host: '127.0.0.2' }, remote: peer.remote }),
    ).toBeUndefined();
  });

  test('names no user for a socket that no process holds any more', async () => {
    const { accepted, client, peer } = await pair('127.0.0.1');
    accepted.pause();
    client.end();
    await new Promise((resolve) => client.destroy().once('close', resolve));
    // In FIN-WAIT, or gone: in neither is somebody to be named.
    expect(diag.connection(peer)?.held).toBeUndefined();
  });

  test('tells whether the other end is still there, which it is while it only has no more to say', async () => {
    const { accepted, client } = await pair('127.0.0.1');
    accepted.pause();
    expect(isConnected(fdOf(accepted))).toBe(true);
    client.end('all');
    await once(client, 'finish');
    expect(isConnected(fdOf(accepted))).toBe(true);
    const broken = await pair('::1');
    broken.accepted.pause();
    // What is not read yet hides nothing.
    broken.client.write('bytes');
    await new Promise((resolve) => broken.client.once('close', resolve).resetAndDestroy());
    expect(isConnected(fdOf(broken.accepted))).toBe(false);
    expect(() => isConnected(-1)).toThrow('TCP_INFO');
  });

  test('names whoever listens at an address', async () => {
    const { server, port } = await pair('127.0.0.1');
    const { ino } = statSync(
      `/proc/self/fd/${(server as Server & { readonly _handle: { readonly fd: number } })._handle.fd}`,
    );
    expect(diag.listener({ host: '127.0.0.1', port })?.held?.inode).toBe(ino);
    server.close();
    expect(diag.listener({ host: '127.0.0.1', port })).toBeUndefined();
  });

  test.skipIf(!isRoot)('tells the mark that a launcher has given a socket', async () => {
    const { client, peer } = await pair('127.0.0.1');
    setMark(fdOf(client), 0x49_4c_00_07);
    expect(markOf(fdOf(client))).toBe(0x49_4c_00_07);
    expect(diag.connection(peer)?.mark).toBe(0x49_4c_00_07);
  });

  const mount = cgroupMount();
  if (mount === undefined) console.log('cgroups are not tested: version 2 is not mounted');
  test.skipIf(!isRoot || mount === undefined)('leads over the cgroup to its processes', async () => {
    const dir = `${mount}/interlock-test-${process.pid}`;
    mkdirSync(dir);
    const child = spawn('/bin/sleep', ['1000']);
    try {
      await once(child, 'spawn');
      writeFileSync(`${dir}/cgroup.procs`, String(child.pid));
      const id = statSync(dir, { bigint: true }).ino;
      expect(processesOf(mount ?? '', id)).toEqual([child.pid]);
      const { peer } = await pair('127.0.0.1');
      const own = /^0::(.*)$/m.exec(readFileSync('/proc/self/cgroup', 'latin1'))?.[1] ?? '';
      expect(diag.connection(peer)?.cgroup).toBe(statSync(`${mount}${own}`, { bigint: true }).ino);
    } finally {
      child.kill('SIGKILL');
      await once(child, 'exit');
      rmdirSync(dir);
    }
    expect(
      processesOf(mount ?? '', statSync(mount ?? '', { bigint: true }).ino + 123_456_789n),
    ).toBeUndefined();
  });

  test('knows of no earlier destination for a connection that nobody redirected', async () => {
    const { accepted, port } = await pair('127.0.0.1');
    const found = originalDestination(fdOf(accepted), 4);
    // Where connections are tracked, it is where the connection went.
    expect(found ?? { host: '127.0.0.1', port }).toEqual({ host: '127.0.0.1', port });
  });

  test('refuses to ask once it is closed', () => {
    const closed = new SockDiag();
    closed.close();
    expect(() => closed.listener({ host: '127.0.0.1', port: 1 })).toThrow(TypeError);
  });
});
