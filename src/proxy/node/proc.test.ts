import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { socketFd } from '../../system/index.ts';
import { Proc } from './proc.ts';

const isLinux = process.platform === 'linux';
if (!isLinux) console.log('/proc is not read: this is not Linux');

describe.skipIf(!isLinux)('/proc', () => {
  const dir = mkdtempSync(join(tmpdir(), 'proc-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  test('tells whether a process holds a socket', async () => {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as { port: number }).port, '127.0.0.1');
    const [accepted] = (await once(server, 'connection')) as [Socket];
    const proc = new Proc(undefined);
    const inode = statSync(`/proc/self/fd/${socketFd(client)}`).ino;
    expect(await proc.holds(process.pid, inode)).toBe(true);
    client.destroy();
    await once(client, 'close');
    expect(await proc.holds(process.pid, inode)).toBe(false);
    expect(await proc.holds(2 ** 30, inode)).toBe(false);
    accepted.destroy();
    server.close();
  });

  test('tells who a process is, and nothing of one that is gone', () => {
    const proc = new Proc(undefined);
    expect(proc.marksOf(process.pid)).toEqual({ uid: process.geteuid?.(), executable: process.execPath });
    expect(proc.marksOf(2 ** 30)).toBeUndefined();
    expect(proc.uidOf(2 ** 30)).toBeUndefined();
  });

  test('lists the processes of a user, in the cgroup of the socket alone', async () => {
    const mount = join(dir, 'cgroup');
    const root = join(dir, 'proc');
    for (const name of ['web', 'job']) mkdirSync(join(mount, name), { recursive: true });
    const add = (pid: number, uid: number, cgroup: string) => {
      mkdirSync(join(root, String(pid)), { recursive: true });
      // What a program calls itself may look like another line.
      writeFileSync(
        join(root, `${pid}/status`),
        `Name:\tx Uid:\t9\nUid:\t1\t${uid}\t1\t1\nGid:\t1\t1\t1\t1\n`,
      );
      writeFileSync(join(root, `${pid}/cgroup`), `3:cpu:/web\n0::/${cgroup}\n`);
      symlinkSync('/bin/x', join(root, `${pid}/exe`));
    };
    add(11, 7, 'web');
    add(12, 7, 'job');
    add(13, 8, 'web');
    add(14, 7, 'gone');
    mkdirSync(join(root, 'sys'));
    const { ino } = statSync(join(mount, 'web'), { bigint: true });
    // This is no hierarchy of the kernel's, which therefore cannot list it.
    expect(await new Proc(mount, root).candidates(7, ino)).toEqual([11]);
    expect(await new Proc(undefined, root).candidates(7, undefined)).toEqual([11, 12, 14]);
    expect(await new Proc(mount, root).candidates(9, ino)).toEqual([]);
  });
});
