import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openProcess } from '../../system/index.ts';
import { type FoundContainer, WorkloadAttestor } from './index.ts';
import type { PodQuery } from './pod-source.ts';

// Of this run: another one on the same machine may be under way.
const RUN = process.pid.toString(16).padStart(12, '0');
const ID = `${'ab12'.repeat(13)}${RUN}`;
const UID = `0a1b2c3d-1111-2222-3333-${RUN}`;
const SLICE = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID.replaceAll('-', '_')}.slice`;
const FOUND: FoundContainer = {
  pod: {
    uid: UID,
    name: 'web-1',
    namespace: 'shop',
    serviceAccount: 'web',
    nodeName: 'node-1',
    labels: {},
    owners: [],
    containers: [],
  },
  container: { name: 'app', id: ID, image: 'web:1', imageId: 'sha256:77' },
};

/** Where cgroup v2 is mounted, alone or beside v1. */
const ROOT = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find((root) =>
  existsSync(join(root, 'cgroup.controllers')),
);

/** Why no cgroup can be made here as a container runtime makes it, or undefined. */
function noCgroups(): string | undefined {
  if (ROOT === undefined) return 'cgroup v2 is not mounted';
  if (['kubepods', 'kubepods.slice', 'docker'].some((name) => existsSync(join(ROOT, name))))
    return 'this machine runs containers of its own';
  try {
    mkdirSync(join(ROOT, 'interlock-probe'));
    rmdirSync(join(ROOT, 'interlock-probe'));
    return undefined;
  } catch {
    return 'this user may make no cgroup';
  }
}
const reason = noCgroups();
if (reason !== undefined) console.log(`attestation in real cgroups is not tested: ${reason}`);

/** Makes a cgroup with a process in it, and takes both away again. */
async function within<T>(path: string, look: (pid: number) => Promise<T>): Promise<T> {
  const root = ROOT ?? '';
  const made: string[] = [];
  for (let at = path; at !== '.'; at = dirname(at))
    if (!existsSync(join(root, at))) made.push(join(root, at));
  mkdirSync(join(root, path), { recursive: true });
  let child: ChildProcess | undefined;
  try {
    child = spawn('/bin/sleep', ['1000']);
    await once(child, 'spawn');
    writeFileSync(join(root, path, 'cgroup.procs'), String(child.pid));
    return await look(child.pid ?? 0);
  } finally {
    child?.kill('SIGKILL');
    if (child !== undefined) await once(child, 'exit');
    await expect
      .poll(() => {
        // Busy until the kernel has let the process go; what another run has put beside it stays.
        for (const dir of made) removed(dir);
        return existsSync(join(root, path));
      })
      .toBe(false);
  }
}

function removed(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Gone already, or in use.
  }
}

describe.skipIf(reason !== undefined)('a process in a real cgroup', () => {
  const attest = async (path: string) => {
    const asked: PodQuery[] = [];
    const attestor = new WorkloadAttestor({
      maxExecutableBytes: 0,
      pods: {
        find: (query) => {
          asked.push(query);
          return Promise.resolve(query.containerId === ID && query.podUid === UID ? FOUND : undefined);
        },
      },
      containers: {
        inspect: (id) => Promise.resolve({ container_id: id, image: 'web:1', labels: {} }),
      },
    });
    const held = await within(path, async (pid) => {
      const process = openProcess(pid);
      const attested = await attestor.attest(process);
      process.close();
      return attested;
    });
    return { asked, attributes: held.attributes };
  };

  // containerd and CRI-O as the kubelet of each driver has them named.
  test.each([
    ['containerd, systemd', `${SLICE}/cri-containerd-${ID}.scope`],
    ['containerd, cgroupfs', `kubepods/burstable/pod${UID}/${ID}`],
    ['CRI-O, systemd', `${SLICE}/crio-${ID}.scope`],
    ['CRI-O, systemd, a cgroup of its own below', `${SLICE}/crio-${ID}.scope/container`],
    ['CRI-O, cgroupfs', `kubepods/burstable/pod${UID}/crio-${ID}`],
    ['guaranteed', `kubepods.slice/kubepods-pod${UID.replaceAll('-', '_')}.slice/cri-containerd-${ID}.scope`],
  ])('of a pod is known by it (%s)', async (_, path) => {
    const { asked, attributes } = await attest(path);
    expect(asked).toEqual([{ containerId: ID, podUid: UID }]);
    expect(attributes.k8s).toMatchObject({
      namespace: 'shop',
      service_account: 'web',
      container_name: 'app',
    });
  });

  test.each([
    ['systemd', `system.slice/docker-${ID}.scope`],
    ['cgroupfs', `docker/${ID}`],
  ])('of Docker is known by it (%s)', async (_, path) => {
    const { attributes } = await attest(path);
    expect(attributes.docker).toEqual({ container_id: ID, image: 'web:1', labels: {} });
    expect(attributes.k8s).toBeUndefined();
  });

  test('that a user named himself is in no container', async () => {
    const { asked, attributes } = await attest(`interlock-test/${SLICE}/cri-containerd-${ID}.scope`);
    expect(asked).toEqual([]);
    expect(attributes.k8s).toBeUndefined();
    expect(attributes.docker).toBeUndefined();
  });
});
