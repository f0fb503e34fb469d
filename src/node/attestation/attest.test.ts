import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { InterlockError } from '../../access/index.ts';
import { type LiveProcess, openProcess } from '../../system/index.ts';
import { SlowFiles } from './slow-files.ts';
import { type AttestorOptions, DockerEngine, type FoundContainer, WorkloadAttestor } from './index.ts';

const ID = '1f'.repeat(32);
const UID = '0a1b2c3d-1111-2222-3333-0123456789ab';
const POD_CGROUP = `0::/kubepods/burstable/pod${UID}/${ID}\n`;
const FOUND: FoundContainer = {
  pod: {
    uid: UID,
    name: 'web-1',
    namespace: 'shop',
    serviceAccount: 'web',
    nodeName: 'node-1',
    labels: { team: 'pay' },
    owners: ['ReplicaSet:web'],
    containers: [],
  },
  container: { name: 'app', id: ID, image: 'web:1', imageId: 'sha256:77' },
};

const dirs: string[] = [];
afterAll(() => dirs.forEach((dir) => rmSync(dir, { recursive: true, force: true })));

/** A tree like /proc with one process, number 42, of user 1000, and the account files beside it. */
function tree(cgroup: string, program = 'program text') {
  const dir = mkdtempSync(join(tmpdir(), 'attest-'));
  dirs.push(dir);
  const at = (name: string) => join(dir, name);
  mkdirSync(at('proc/42/ns'), { recursive: true });
  mkdirSync(at('proc/self/ns'), { recursive: true });
  mkdirSync(at('etc'));
  mkdirSync(at('root/usr/lib/systemd/system'), { recursive: true });
  writeFileSync(at('program'), program);
  symlinkSync(at('program'), at('proc/42/exe'));
  symlinkSync('mnt:[1]', at('proc/42/ns/mnt'));
  symlinkSync('mnt:[2]', at('proc/self/ns/mnt'));
  const status = (uid: number, gid = 100) =>
    writeFileSync(
      at('proc/42/status'),
      `Name:\tevil\\nUid:\t0\nUid:\t5\t${uid}\t${uid}\t${uid}\nGid:\t5\t${gid}\t${gid}\t${gid}\nGroups:\t100 200 \n`,
    );
  status(1000);
  writeFileSync(at('proc/42/cgroup'), cgroup);
  writeFileSync(
    at('etc/passwd'),
    'root:x:0:0::/:/bin/sh\nalice:x:1000:100::/:/bin/sh\nbob:x:1000:100::/:/bin/sh\n',
  );
  writeFileSync(at('etc/group'), 'root:x:0:\nstaff:x:100:alice\n');
  const attestor = (options: AttestorOptions = {}) =>
    new WorkloadAttestor({ procRoot: at('proc'), etc: at('etc'), unitRoot: at('root'), ...options });
  return { at, status, attestor };
}

/** A process that is alive for so many looks. */
function living(looks = Number.POSITIVE_INFINITY): LiveProcess {
  let left = looks;
  return {
    pid: 42,
    hold: 'peer',
    alive() {
      left -= 1;
      return left >= 0;
    },
    close: () => undefined,
  };
}

const pods = (answer: () => FoundContainer | undefined) => ({ find: async () => answer() });

describe('a workload', () => {
  it('has the user, groups, path and hash of its process', async () => {
    const { at, attestor } = tree('0::/\n');
    const { attributes, faults } = await attestor().attest(living(), { uid: 1000, gid: 100 });
    expect(attributes).toEqual({
      unix: {
        uid: 1000,
        gid: 100,
        user: 'alice',
        group: 'staff',
        groups: [100, 200],
        path: at('program'),
        sha256: createHash('sha256').update('program text').digest('hex'),
      },
    });
    expect(faults).toEqual([]);
  });

  it('has no names where the files have none, and its hash follows its program', async () => {
    const { at, attestor, status } = tree('0::/\n');
    status(77, 78);
    const one = attestor();
    const first = (await one.attest(living())).attributes.unix;
    expect(first).not.toHaveProperty('user');
    expect(first).not.toHaveProperty('group');
    writeFileSync(at('program'), 'program tex2');
    expect((await one.attest(living())).attributes.unix?.sha256).toBe(
      createHash('sha256').update('program tex2').digest('hex'),
    );
  });

  it('is in the pod that the kubelet lists for its container', async () => {
    const { attestor } = tree(POD_CGROUP);
    const { attributes, faults } = await attestor({ pods: pods(() => FOUND) }).attest(living());
    expect(attributes.k8s).toEqual({
      namespace: 'shop',
      service_account: 'web',
      pod_name: 'web-1',
      pod_uid: UID,
      node_name: 'node-1',
      container_name: 'app',
      image: 'web:1',
      image_id: 'sha256:77',
      labels: { team: 'pay' },
      owners: ['ReplicaSet:web'],
    });
    expect(faults).toEqual([]);
  });

  it('is in no pod when the kubelet lists none for the cgroup that it shows', async () => {
    const { attestor } = tree(POD_CGROUP);
    const { attributes, faults } = await attestor({ pods: pods(() => undefined) }).attest(living());
    expect(attributes).not.toHaveProperty('k8s');
    expect(faults).toEqual([
      { part: 'k8s', reason: `no pod of this node has the container of its cgroup, pod ${UID}` },
    ]);
  });

  it('is in no pod when it names the cgroup below its own, and the kubelet is not even asked', async () => {
    const { attestor } = tree(`0::/user.slice/user-1000.slice/user@1000.service/kubepods/pod${UID}/${ID}\n`);
    const asked = pods(() => {
      throw new Error('asked');
    });
    const { attributes, faults } = await attestor({ pods: asked }).attest(living());
    expect(attributes).not.toHaveProperty('k8s');
    expect(attributes.systemd).toEqual({ unit: 'user@1000.service' });
    expect(faults).toEqual([]);
  });

  it('is in no container when its cgroups name two', async () => {
    const { attestor } = tree(`1:cpu:/docker/${ID}\n2:memory:/docker/${'2e'.repeat(32)}\n`);
    const { attributes, faults } = await attestor({ pods: pods(() => FOUND) }).attest(living());
    expect(Object.keys(attributes)).toEqual(['unix']);
    expect(faults.map(({ part }) => part)).toEqual(['k8s', 'docker']);
  });

  it('keeps its other attributes when the kubelet does not answer', async () => {
    const { attestor } = tree(POD_CGROUP);
    const down = pods(() => {
      throw new InterlockError('unavailable', 'pods', 'the list of pods gave no answer in 5000 ms');
    });
    const { attributes, faults } = await attestor({ pods: down }).attest(living());
    expect(attributes.unix?.uid).toBe(1000);
    expect(attributes).not.toHaveProperty('k8s');
    expect(faults).toEqual([{ part: 'k8s', reason: 'the list of pods gave no answer in 5000 ms' }]);
  });

  it('has only what its process says when its cgroup cannot be read', async () => {
    const { at, attestor } = tree('0::/\n');
    unlinkSync(at('proc/42/cgroup'));
    const { attributes, faults } = await attestor({ pods: pods(() => FOUND) }).attest(living());
    expect(Object.keys(attributes)).toEqual(['unix']);
    expect(faults.map(({ part }) => part)).toEqual(['systemd', 'k8s', 'docker']);
    expect(faults[0]?.reason).toBe(`${at('proc/42/cgroup')} cannot be read (ENOENT)`);
  });

  it("shares the agent's pod when it is in the agent's own container, and only then", async () => {
    const { at, attestor } = tree('0::/\n');
    const asked: unknown[] = [];
    const source = { find: async (query: unknown) => (asked.push(query), FOUND) };
    const mount = `1 2 8:1 /var/lib/kubelet/pods/${UID}/containers/app/77 /dev/termination-log rw - ext4 /dev/sda rw\n`;
    writeFileSync(at('proc/42/mountinfo'), mount);
    expect((await attestor({ pods: source }).attest(living())).attributes).not.toHaveProperty('k8s');
    unlinkSync(at('proc/self/ns/mnt'));
    symlinkSync('mnt:[1]', at('proc/self/ns/mnt'));
    expect((await attestor({ pods: source }).attest(living())).attributes.k8s?.pod_name).toBe('web-1');
    expect(asked).toEqual([{ podUid: UID, containerName: 'app' }]);
  });

  it('has the systemd unit with the file that defines it', async () => {
    const { at, attestor } = tree('0::/system.slice/system-worker.slice/worker@7.service\n');
    writeFileSync(at('root/usr/lib/systemd/system/worker@.service'), '');
    expect((await attestor().attest(living())).attributes.systemd).toEqual({
      unit: 'worker@7.service',
      fragment_path: '/usr/lib/systemd/system/worker@.service',
    });
    const { attributes } = await attestor({ systemd: false }).attest(living());
    expect(attributes).not.toHaveProperty('systemd');
  });

  it('has the image and labels of its Docker container, without its environment', async () => {
    const { at, attestor } = tree(`0::/system.slice/docker-${ID}.scope\n`);
    let running = true;
    const engine = createServer((request, response) => {
      if (request.url !== `/containers/${ID}/json`) return void response.writeHead(404).end('{}');
      response.end(
        JSON.stringify({
          Id: ID,
          State: { Running: running },
          Config: { Image: 'web:1', Labels: { a: 'b' }, Env: ['S=1'] },
        }),
      );
    });
    engine.listen(at('docker.sock'));
    await once(engine, 'listening');
    const look = () =>
      attestor({ containers: new DockerEngine(at('docker.sock')), systemd: false }).attest(living());
    expect((await look()).attributes.docker).toEqual({
      container_id: ID,
      image: 'web:1',
      labels: { a: 'b' },
    });
    running = false;
    expect((await look()).attributes).not.toHaveProperty('docker');
    engine.close();
    await once(engine, 'close');
    const { attributes, faults } = await look();
    expect(attributes.unix?.uid).toBe(1000);
    expect(faults).toEqual([
      { part: 'docker', reason: expect.stringContaining('the Docker Engine cannot be asked') },
    ]);
  });
});

describe('a process is refused', () => {
  it('that has ended at the start, or at any later look', async () => {
    for (const looks of [0, 1]) {
      const { attestor } = tree('0::/\n');
      await expect(attestor().attest(living(looks))).rejects.toMatchObject({
        code: 'unavailable',
        message: 'process 42 went away while it was looked at',
      });
    }
  });

  it('whose number is taken by another while the kubelet is asked', async () => {
    const { attestor } = tree(POD_CGROUP);
    let isAlive = true;
    const held: LiveProcess = { pid: 42, hold: 'peer', alive: () => isAlive, close: () => undefined };
    const source = pods(() => {
      isAlive = false;
      return FOUND;
    });
    await expect(attestor({ pods: source }).attest(held)).rejects.toThrow('went away while it was looked at');
  });

  it('that runs as another user or group than the one that connected', async () => {
    const { attestor } = tree('0::/\n');
    await expect(attestor().attest(living(), { uid: 0, gid: 100 })).rejects.toMatchObject({
      code: 'forbidden',
      message: 'process 42 connected as 0:100 and now runs as 1000:100',
    });
    await expect(attestor().attest(living(), { uid: 1000, gid: 0 })).rejects.toMatchObject({
      code: 'forbidden',
    });
  });

  it('that becomes another user, or starts another program, while the kubelet is asked', async () => {
    const { at, attestor, status } = tree(POD_CGROUP);
    const changing = (change: () => void) => ({ pods: pods(() => (change(), FOUND)) });
    await expect(attestor(changing(() => status(0))).attest(living())).rejects.toMatchObject({
      code: 'forbidden',
    });
    status(1000);
    writeFileSync(at('other'), '');
    const swap = changing(() => {
      unlinkSync(at('proc/42/exe'));
      symlinkSync(at('other'), at('proc/42/exe'));
    });
    await expect(attestor(swap).attest(living())).rejects.toThrow(
      'started another program while it was looked at',
    );
  });

  it('that says nothing of its user', async () => {
    const { at, attestor } = tree('0::/\n');
    writeFileSync(at('proc/42/status'), 'Name:\tx\n');
    await expect(attestor().attest(living())).rejects.toMatchObject({ code: 'unavailable' });
    unlinkSync(at('proc/42/status'));
    await expect(attestor().attest(living())).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('an executable', () => {
  it('has no path once it was deleted', async () => {
    const { at, attestor } = tree('0::/\n');
    unlinkSync(at('proc/42/exe'));
    symlinkSync(`${at('program')} (deleted)`, at('proc/42/exe'));
    writeFileSync(`${at('program')} (deleted)`, 'put there');
    const { attributes, faults } = await attestor().attest(living());
    expect(attributes.unix).not.toHaveProperty('path');
    expect(faults).toEqual([
      { part: 'unix', reason: 'its executable was deleted or replaced since it started' },
    ]);
  });

  it('that is too large is not hashed, and none is when hashing is off', async () => {
    const { attestor } = tree('0::/\n');
    const { attributes, faults } = await attestor({ maxExecutableBytes: 3 }).attest(living());
    expect(attributes.unix).not.toHaveProperty('sha256');
    expect(faults).toEqual([{ part: 'unix', reason: 'its executable is larger than 3 bytes' }]);
    const off = await attestor({ maxExecutableBytes: 0 }).attest(living());
    expect(off.attributes.unix).not.toHaveProperty('sha256');
    expect(off.faults).toEqual([]);
  });
});

const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
if (!isRoot)
  console.log('processes of other users are not attested in tests: only root on Linux can start them');

describe('an executable on a file system that does not answer', () => {
  const never = () => new Promise<never>(() => undefined);
  /** Looks at files that are there; those on the dead file system never answer. */
  function access(dead: readonly string[]) {
    const asked: string[] = [];
    const look = (path: string) => {
      asked.push(path);
      return dead.some((prefix) => path.startsWith(prefix)) ? never() : stat(path, { bigint: true });
    };
    return { asked, executables: { files: new SlowFiles({ deadlineMs: 20 }), stat: look } };
  }

  it('costs its process what is known of it, and nobody else anything', async () => {
    const hung = tree('');
    const fine = tree('');
    fine.status(1001);
    const { executables } = access([hung.at('proc')]);
    const first = await hung.attestor({ executables }).attest(living());
    expect(first.attributes.unix).toEqual({
      uid: 1000,
      gid: 100,
      user: 'alice',
      group: 'staff',
      groups: [100, 200],
    });
    expect(first.faults.map(({ reason }) => reason)).toContain(
      `${hung.at('proc/42/exe')} cannot be looked at: its file system does not answer`,
    );
    const second = await fine.attestor({ executables }).attest(living());
    expect(second.attributes.unix).toMatchObject({
      uid: 1001,
      path: fine.at('program'),
      sha256: expect.any(String),
    });
    expect(second.faults).toEqual([]);
  });

  it('is asked for once, however often its user comes', async () => {
    const hung = tree('');
    const { asked, executables } = access([hung.at('proc')]);
    for (let i = 0; i < 5; i++) await hung.attestor({ executables }).attest(living());
    expect(asked).toEqual([hung.at('proc/42/exe')]);
    expect(executables.files.late).toBe(1);
  });
});

describe('files that may be slow', () => {
  const open = () => Promise.withResolvers<string>();

  it('are asked for one by one for a user, and for so many users at a time', async () => {
    const files = new SlowFiles({ atOnce: 2 });
    const [a, b] = [open(), open()];
    const begun: string[] = [];
    const run = (owner: string, name: string, promise: Promise<string>) =>
      files.run(owner, name, () => {
        begun.push(name);
        return promise;
      });
    const all = [
      run('1', 'a1', a.promise),
      run('1', 'a2', a.promise),
      run('2', 'b', b.promise),
      run('3', 'c', b.promise),
    ];
    expect(begun).toEqual(['a1', 'b']);
    b.resolve('b');
    await all[2];
    await all[3];
    expect(begun).toEqual(['a1', 'b', 'c']);
    a.resolve('a');
    expect(await Promise.all(all)).toEqual(['a', 'a', 'b', 'b']);
  });

  it('that are late keep their places until they come back, and are let go then', async () => {
    const files = new SlowFiles({ deadlineMs: 5, atOnce: 1 });
    const [slow, back] = [open(), open()];
    await expect(files.run('1', '/x', () => slow.promise, back.resolve)).rejects.toMatchObject({
      code: 'unavailable',
    });
    await expect(files.run('2', '/y', () => Promise.resolve('y'))).rejects.toThrow('/y cannot be looked at');
    slow.resolve('late');
    expect(await back.promise).toBe('late');
    await new Promise(setImmediate);
    expect(await files.run('2', '/y', () => Promise.resolve('y'))).toBe('y');
    expect(files.late).toBe(0);
  });
});

describe.skipIf(!isRoot)('a running process', () => {
  const started: { kill: () => void }[] = [];
  afterEach(() => started.splice(0).forEach(({ kill }) => kill()));
  const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');

  async function run(command: string, args: string[], options: { uid?: number; gid?: number } = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options });
    await once(child, 'spawn');
    const held = openProcess(child.pid ?? 0);
    started.push({ kill: () => (child.kill('SIGKILL'), held.close()) });
    return { child, held };
  }

  function folder() {
    const dir = mkdtempSync(join(tmpdir(), 'exe-'));
    chmodSync(dir, 0o755);
    dirs.push(dir);
    return dir;
  }

  it('of another user is what the system says', async () => {
    const { child, held } = await run('/usr/bin/setpriv', [
      '--reuid=1001',
      '--regid=2001',
      '--groups=3001,3002',
      '/bin/sh',
      '-c',
      'echo; exec sleep 1000',
    ]);
    await once(child.stdout ?? child, 'data');
    const program = join(folder(), 'sleep');
    copyFileSync('/bin/sleep', program);
    // The shell has written; the program that it becomes is there a moment later.
    await until(() => readFileSync(`/proc/${held.pid}/comm`, 'utf8') === 'sleep\n');
    const { attributes } = await new WorkloadAttestor().attest(held, { uid: 1001, gid: 2001 });
    expect(attributes.unix).toMatchObject({
      uid: 1001,
      gid: 2001,
      groups: [3001, 3002],
      sha256: sha256(program),
    });
    expect(attributes.unix?.path).toMatch(/\/sleep$/);
  });

  it('keeps its hash and loses its path when its executable is deleted', async () => {
    const program = join(folder(), 'sleep');
    copyFileSync('/bin/sleep', program);
    const { held } = await run(program, ['1000']);
    const attestor = new WorkloadAttestor();
    expect((await attestor.attest(held)).attributes.unix?.path).toBe(program);
    const hash = sha256(program);
    unlinkSync(program);
    symlinkSync('/bin/true', program);
    const { attributes, faults } = await attestor.attest(held);
    expect(attributes.unix).not.toHaveProperty('path');
    expect(attributes.unix?.sha256).toBe(hash);
    expect(faults).toEqual([
      { part: 'unix', reason: 'its executable was deleted or replaced since it started' },
    ]);
  });

  const canUnshare = isRoot && spawnSync('/usr/bin/unshare', ['-m', 'true']).status === 0;
  if (!canUnshare) console.log('paths in another mount namespace are not tested: unshare does not work here');

  it.skipIf(!canUnshare)(
    'has no path when it put another file there in a mount namespace of its own',
    async () => {
      const dir = folder();
      const trusted = join(dir, 'trusted');
      writeFileSync(trusted, '');
      const { child, held } = await run('/usr/bin/unshare', [
        '-m',
        'sh',
        '-c',
        `mount --bind /bin/sleep ${trusted} && echo && exec ${trusted} 1000`,
      ]);
      await once(child.stdout ?? child, 'data');
      await until(() => readFileSync(`/proc/${held.pid}/comm`, 'utf8') === 'trusted\n');
      const { attributes, faults } = await new WorkloadAttestor().attest(held);
      expect(attributes.unix).not.toHaveProperty('path');
      expect(faults).toContainEqual({
        part: 'unix',
        reason: `the file at ${trusted} is not its executable as seen from the agent`,
      });
    },
  );

  it('is refused after it has ended, though its number is asked for', async () => {
    const { child, held } = await run('/bin/sleep', ['1000']);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await expect(new WorkloadAttestor().attest(held)).rejects.toThrow('went away while it was looked at');
    expect(() => openProcess(held.pid)).toThrow('went away');
  });
});

/** Lets the event loop go round until it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
}
