import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import {
  closeFd,
  openPidfd,
  openProcess,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerProcess,
  pidfdAlive,
  socketFd,
  tryLock,
} from './index.ts';
import { StartTimeProcess } from './live-process.ts';

const isLinux = process.platform === 'linux';
if (!isLinux) console.log('system calls are not tested: this is not Linux');

describe.skipIf(!isLinux)('system calls', () => {
  const dir = mkdtempSync(join(tmpdir(), 'system-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  async function accepted(): Promise<{ server: Socket; client: Socket; end: () => void }> {
    const path = join(dir, `s${Math.random().toString(36).slice(2)}`);
    const listener = createServer();
    listener.listen(path);
    await once(listener, 'listening');
    const client = connect(path);
    const [server] = (await once(listener, 'connection')) as [Socket];
    return {
      server,
      client,
      end: () => {
        client.destroy();
        server.destroy();
        listener.close();
      },
    };
  }

  async function sleeper() {
    const child = spawn('/bin/sleep', ['1000']);
    await once(child, 'spawn');
    if (child.pid === undefined) throw new Error('no process');
    return { child, pid: child.pid };
  }

  it('name the process, user and group that connected', async () => {
    const { server, end } = await accepted();
    expect(peerCredentials(socketFd(server))).toEqual({
      pid: process.pid,
      uid: process.getuid?.(),
      gid: process.getgid?.(),
    });
    end();
  });

  it('list the supplementary groups of who connected', async () => {
    const { server, end } = await accepted();
    const groups = peerGroups(socketFd(server));
    const [, own = ''] = /^Groups:(.*)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
    if (groups === undefined) console.log('SO_PEERGROUPS is not tested: the kernel is older than 4.13');
    else
      expect(groups).toEqual(
        own
          .split(' ')
          .map((group) => group.trim())
          .filter((group) => group !== '')
          .map(Number),
      );
    end();
  });

  it('give a descriptor of who connected, which tells that it runs', async () => {
    const { server, end } = await accepted();
    const pidfd = peerPidfd(socketFd(server));
    if (pidfd === undefined) console.log('SO_PEERPIDFD is not tested: the kernel is older than 6.5');
    else {
      expect(pidfd).toBeTypeOf('number');
      expect(pidfdAlive(pidfd as number)).toBe(true);
      closeFd(pidfd as number);
    }
    const held = peerProcess(socketFd(server), process.pid);
    expect(held.alive()).toBe(true);
    held.close();
    end();
  });

  it('tell that a process has ended, even before its parent has taken notice', async () => {
    const { child, pid } = await sleeper();
    const pidfd = openPidfd(pid);
    if (typeof pidfd !== 'number') return console.log('pidfds are not tested: the kernel is older than 5.3');
    expect(pidfdAlive(pidfd)).toBe(true);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(pidfdAlive(pidfd)).toBe(false);
    closeFd(pidfd);
    expect(openPidfd(pid)).toBe('gone');
  });

  it('find no process under 0, a negative number or a fraction', () => {
    for (const pid of [0, -1, 1.5, Number.NaN]) expect(openPidfd(pid)).toBe('gone');
    expect(() => openProcess(0)).toThrow('process 0 went away before it was looked at');
  });

  it('a process that was let go counts as gone, and may be let go twice', async () => {
    const held = openProcess(process.pid);
    expect(held.alive()).toBe(true);
    held.close();
    held.close();
    expect(held.alive()).toBe(false);
  });

  it('refuse a descriptor that is no socket, by the name of the error', () => {
    const fd = openSync('/dev/null', 'r');
    expect(() => peerCredentials(fd)).toThrow('the system refused SO_PEERCRED: ENOTSOCK');
    closeSync(fd);
  });

  it('refuse a socket that is closed', async () => {
    const { server, end } = await accepted();
    end();
    await once(server, 'close');
    expect(() => socketFd(server)).toThrow("does not tell a socket's descriptor");
  });

  it('lock a file once, until it is closed', () => {
    const file = join(dir, 'lock');
    const first = openSync(file, 'w');
    const second = openSync(file, 'w');
    expect(tryLock(first)).toBe(true);
    expect(tryLock(second)).toBe(false);
    closeSync(first);
    expect(tryLock(second)).toBe(true);
    closeSync(second);
  });

  it('load without the warning that they are experimental, and leave other warnings alone', async () => {
    const linux = new URL('./linux.ts', import.meta.url).href;
    const code = `import { openPidfd } from '${linux}'; openPidfd(process.pid); process.emitWarning('other');`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', code]);
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    const [exit] = await once(child, 'close');
    expect(exit).toBe(0);
    expect(stderr).toContain('other');
    expect(stderr).not.toContain('experimental');
  });
});

describe('a process told apart by its start time', () => {
  const root = mkdtempSync(join(tmpdir(), 'proc-'));
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, '7'));
  const stat = (name: string, state: string, started: number) =>
    writeFileSync(
      join(root, '7', 'stat'),
      `7 (${name}) ${state} 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 ${started} 1000 200\n`,
    );

  it('is alive while its number starts at the same time, whatever its program is called', () => {
    stat('a) S 1 (b', 'S', 500);
    const held = new StartTimeProcess(7, root);
    stat('other', 'R', 500);
    expect(held.alive()).toBe(true);
    stat('other', 'R', 501);
    expect(held.alive()).toBe(false);
  });

  it('is gone when it is a zombie or was let go', () => {
    stat('sleep', 'S', 500);
    const held = new StartTimeProcess(7, root);
    stat('sleep', 'Z', 500);
    expect(held.alive()).toBe(false);
    stat('sleep', 'S', 500);
    expect(held.alive()).toBe(true);
    held.close();
    expect(held.alive()).toBe(false);
    expect(() => new StartTimeProcess(8, root)).toThrow('went away');
  });
});
