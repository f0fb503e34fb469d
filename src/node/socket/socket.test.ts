import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import {
  type Caller,
  type ConnectionFault,
  listenUnix,
  type UnixListener,
  type UnixOptions,
} from './index.ts';

/** What the kernel lets wait at a socket (/proc/sys/net/core/somaxconn). */
const waiting = existsSync('/proc/sys/net/core/somaxconn')
  ? Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))
  : 0;
if (waiting < 1000) console.log('a thousand callers at once are not tested: the kernel lets fewer wait');
const isLinux = process.platform === 'linux';
if (!isLinux) console.log('Unix sockets are not tested: this is not Linux');
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.log('callers of other users are not tested: only root can start them');

describe.skipIf(!isLinux)('a Unix socket', () => {
  const dir = mkdtempSync(join(tmpdir(), 'sock-'));
  chmodSync(dir, 0o755);
  const open: UnixListener[] = [];
  const children: ChildProcess[] = [];
  let count = 0;
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(open.splice(0).map((listener) => listener.close()));
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  const fresh = () => {
    count += 1;
    return join(dir, `${count}.sock`);
  };

  async function listen(path: string, options: Partial<UnixOptions> = {}): Promise<UnixListener> {
    const listener = await listenUnix(path, { mode: 0o777, onCaller: () => undefined, ...options });
    open.push(listener);
    return listener;
  }

  /** A process of the runtime that runs a piece of code, with its standard input as the way to tell it something. */
  function run(code: string, options: { uid?: number; gid?: number } = {}): ChildProcess {
    const child = spawn(process.execPath, ['-e', code], { stdio: ['pipe', 'pipe', 'inherit'], ...options });
    children.push(child);
    return child;
  }

  const CONNECT = (path: string) =>
    `require('node:net').connect(${JSON.stringify(path)}).on('connect', () => console.log('in'))
       .on('close', () => console.log('out'))`;

  it.skipIf(!isRoot)('tells callers of different users apart, before they send anything', async () => {
    const path = fresh();
    const callers: Caller[] = [];
    const seen = Promise.withResolvers<void>();
    await listen(path, {
      onCaller(caller, socket) {
        expect(socket.bytesRead).toBe(0);
        callers.push(caller);
        if (callers.length === 3) seen.resolve();
      },
    });
    const ids = [
      { uid: 1001, gid: 2001 },
      { uid: 1002, gid: 2002 },
      { uid: 65_534, gid: 65_534 },
    ];
    const started = ids.map((id) => ({ ...id, pid: run(CONNECT(path), id).pid }));
    await seen.promise;
    const byPid = (a: { pid?: number | undefined }, b: { pid?: number | undefined }) =>
      (a.pid ?? 0) - (b.pid ?? 0);
    expect(callers.map(({ credentials }) => credentials).toSorted(byPid)).toEqual(started.toSorted(byPid));
    expect(new Set(callers.map(({ key }) => key)).size).toBe(3);
    expect(callers.every(({ process }) => process.alive())).toBe(true);
  });

  it('knows that a caller has ended while another process keeps its connection open', async () => {
    const path = fresh();
    const { promise, resolve } = Promise.withResolvers<Caller>();
    await listen(path, { onCaller: resolve });
    // The child connects, hands the connection to a grandchild that outlives it, and ends.
    const child = run(`const socket = require('node:net').connect(${JSON.stringify(path)}, () => {
      const { spawn } = require('node:child_process');
      const heir = spawn('/bin/sleep', ['1000'], { stdio: [socket._handle, 'ignore', 'ignore'], detached: true });
      console.log(heir.pid);
      process.stdin.once('data', () => process.exit(0));
    })`);
    const caller = await promise;
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    expect(caller.process.alive()).toBe(true);
    child.stdin?.write('go');
    await once(child, 'exit');
    expect(caller.process.alive()).toBe(false);
    process.kill(Number(line.toString()), 'SIGKILL');
  });

  it('lets the process of a closed connection go', async () => {
    const path = fresh();
    const { promise, resolve } = Promise.withResolvers<[Caller, Socket]>();
    const listener = await listen(path, { onCaller: (caller, socket) => resolve([caller, socket]) });
    const client = connect(path);
    const [caller, socket] = await promise;
    expect(listener.connections).toBe(1);
    socket.resume();
    client.destroy();
    await once(socket, 'close');
    expect(listener.connections).toBe(0);
    expect(caller.process.alive()).toBe(false);
  });

  it('takes over what a killed process left', async () => {
    const path = fresh();
    const child = run(
      `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`,
    );
    await once(child.stdout ?? child, 'data');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(lstatSync(path).isSocket()).toBe(true);
    await listen(path);
    const client = connect(path);
    await once(client, 'connect');
    client.destroy();
  });

  it('is refused while another process of ours has it, and taken over when that one is killed', async () => {
    const path = fresh();
    const ours = new URL('./listen.ts', import.meta.url).href;
    const child = run(`import('${ours}').then(({ listenUnix }) =>
      listenUnix(${JSON.stringify(path)}, { mode: 0o777, onCaller() {} })).then(() => console.log('up'))`);
    await once(child.stdout ?? child, 'data');
    await expect(listen(path)).rejects.toMatchObject({
      code: 'conflict',
      message: `another process already serves ${path}: stop it first, or give this one another socket`,
    });
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(existsSync(path)).toBe(true);
    expect(existsSync(`${path}.lock`)).toBe(true);
    await (await listen(path)).close();
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it('is refused where a process of another make listens, by its number, which goes on', async () => {
    const path = fresh();
    const other = createServer();
    other.listen(path);
    await once(other, 'listening');
    await expect(listen(path)).rejects.toMatchObject({
      code: 'conflict',
      message: `process ${process.pid} already serves ${path}: stop it first, or give this one another socket`,
    });
    const client = connect(path);
    await once(client, 'connect');
    client.destroy();
    other.close();
  });

  it('belongs to one of many that ask for it at once', async () => {
    const path = fresh();
    const asked = await Promise.allSettled(Array.from({ length: 8 }, () => listen(path)));
    expect(asked.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const result of asked)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'conflict' });
    const client = connect(path);
    await once(client, 'connect');
    client.destroy();
  });

  it('never takes the place of a file', async () => {
    const path = fresh();
    writeFileSync(path, 'mine');
    await expect(listen(path)).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringContaining('is no socket'),
    });
    expect(lstatSync(path).isFile()).toBe(true);
    expect(existsSync(`${path}.lock`)).toBe(false);
  });

  it('has the mode that was asked for, in a folder that is made, and leaves nothing behind', async () => {
    const path = join(dir, 'made', 'deep', 'agent.sock');
    const listener = await listen(path, { mode: 0o760 });
    expect(lstatSync(path).mode & 0o777).toBe(0o760);
    expect(lstatSync(join(dir, 'made')).mode & 0o777).toBe(0o755);
    await listener.close();
    expect(readdirSync(join(dir, 'made', 'deep'))).toEqual([]);
  });

  it('is left where it is when it is no longer ours', async () => {
    const path = fresh();
    const listener = await listen(path);
    const other = createServer();
    other.listen(`${path}2`);
    await once(other, 'listening');
    renameSync(`${path}2`, path);
    await listener.close();
    expect(lstatSync(path).isSocket()).toBe(true);
    other.close();
  });

  it('can be had again after it was closed', async () => {
    const path = fresh();
    await (await listen(path)).close();
    await (await listen(path)).close();
    expect(existsSync(path)).toBe(false);
  });

  it.each([
    ['relative.sock', 'is no absolute path'],
    ['/tmp/', 'is no absolute path'],
    ['/tmp/a\0b', 'is no absolute path'],
    [`/tmp/${'x'.repeat(103)}`, 'is too long for a socket'],
    [`/tmp/${'x'.repeat(93)}/y`, 'is too long for a socket'],
  ])('is refused at %j', async (path, reason) => {
    await expect(listen(path)).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(reason),
    });
  });

  it('says that the system refuses a folder', async () => {
    writeFileSync(join(dir, 'file'), '');
    await expect(listen(join(dir, 'file', 'a.sock'))).rejects.toMatchObject({ code: 'io' });
  });

  it.skipIf(!isRoot)('refuses one connection more of a user, and not those of others', async () => {
    const path = fresh();
    const faults: ConnectionFault[] = [];
    await listen(path, { maxConnectionsPerUser: 2, onFault: (fault) => faults.push(fault) });
    const first = connect(path);
    const second = connect(path);
    await Promise.all([once(first, 'connect'), once(second, 'connect')]);
    const third = connect(path).resume();
    await once(third, 'close');
    expect(faults).toEqual([
      {
        path,
        credentials: { pid: process.pid, uid: 0, gid: 0 },
        reason: 'user 0 has 2 connections already',
      },
    ]);
    const child = run(CONNECT(path), { uid: 1003, gid: 1003 });
    const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
    expect(line.toString()).toBe('in\n');
    first.destroy();
    second.destroy();
  });

  it.skipIf(waiting < 1000)('takes a node of callers that come at one time', async () => {
    const path = fresh();
    const all = Promise.withResolvers<void>();
    let taken = 0;
    const listener = await listen(path, {
      onCaller() {
        taken += 1;
        if (taken === 1000) all.resolve();
      },
    });
    const clients = Array.from({ length: 1000 }, () => connect(path));
    await Promise.all(clients.map((client) => once(client, 'connect')));
    await all.promise;
    expect(listener.connections).toBe(1000);
    for (const client of clients) client.destroy();
  });

  it('refuses more connections than it may have in all, and takes new ones when others have gone', async () => {
    const path = fresh();
    const faults: ConnectionFault[] = [];
    const sockets: Socket[] = [];
    await listen(path, {
      maxConnections: 1,
      onFault: (fault) => faults.push(fault),
      onCaller: (_, s) => sockets.push(s),
    });
    const first = connect(path);
    await once(first, 'connect');
    await once(connect(path).resume(), 'close');
    expect(faults.map(({ reason }) => reason)).toEqual(['1 connections are open already']);
    const [server] = sockets;
    server?.resume();
    first.destroy();
    if (server !== undefined) await once(server, 'close');
    const next = connect(path);
    await once(next, 'connect');
    expect(faults).toHaveLength(1);
    next.destroy();
  });
});
