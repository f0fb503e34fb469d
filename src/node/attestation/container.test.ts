import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCgroups, unitOf } from './cgroup.ts';
import { locateContainer } from './container.ts';
import { parseMounts } from './mountinfo.ts';

const ID = '1f'.repeat(32);
const OTHER = '2e'.repeat(32);
const UID = '0a1b2c3d-1111-2222-3333-0123456789ab';
const UNDER = UID.replaceAll('-', '_');
const STATIC = 'abcdef0123456789abcdef0123456789';
const SLICE = `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UNDER}.slice`;

const locate = (...paths: string[]) =>
  locateContainer(
    parseCgroups(
      paths.map((path) => (path.includes(':') && /^\d/.test(path) ? path : `0::${path}`)).join('\n'),
    ),
  );

describe('a container is found in the cgroup', () => {
  it.each([
    ['containerd, systemd driver', `/${SLICE}/cri-containerd-${ID}.scope`, UID],
    ['containerd, cgroupfs driver', `/kubepods/burstable/pod${UID}/${ID}`, UID],
    ['a guaranteed pod, cgroupfs', `/kubepods/pod${UID}/${ID}`, UID],
    [
      'a guaranteed pod, systemd',
      `/kubepods.slice/kubepods-pod${UNDER}.slice/cri-containerd-${ID}.scope`,
      UID,
    ],
    ['CRI-O, systemd driver', `/${SLICE}/crio-${ID}.scope`, UID],
    ['CRI-O with a cgroup below its scope', `/${SLICE}/crio-${ID}.scope/container`, UID],
    ['CRI-O, cgroupfs driver', `/kubepods/besteffort/pod${UID}/crio-${ID}`, UID],
    ['Docker under Kubernetes', `/${SLICE}/docker-${ID}.scope`, UID],
    ['a static pod', `/kubepods/burstable/pod${STATIC}/${ID}`, STATIC],
    [
      'kubelet in a slice of its own (kind)',
      `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${UNDER}.slice/cri-containerd-${ID}.scope`,
      UID,
    ],
    ['kubelet in a cgroup of its own', `/kubelet/kubepods/besteffort/pod${UID}/${ID}`, UID],
    [
      'containerd told systemd names without systemd',
      `/system.slice/containerd.service/kubepods-burstable-pod${UNDER}.slice:cri-containerd:${ID}`,
      UID,
    ],
    ['a service below the container', `/${SLICE}/cri-containerd-${ID}.scope/system.slice/nginx.service`, UID],
    ['Docker in a pod: the pod', `/kubepods/burstable/pod${UID}/${ID}/docker/${OTHER}`, UID],
    [
      'from an agent in a pod, systemd driver',
      `/../../kubepods-burstable-pod${UNDER}.slice/cri-containerd-${ID}.scope`,
      UID,
    ],
    [
      'from an agent in another class, systemd driver',
      `/../../../kubepods-besteffort.slice/kubepods-besteffort-pod${UNDER}.slice/cri-containerd-${ID}.scope`,
      UID,
    ],
    ['from an agent in a pod, cgroupfs driver', `/../../pod${UID}/${ID}`, UID],
    ['from an agent in another class, cgroupfs driver', `/../../../burstable/pod${UID}/${ID}`, UID],
    ['from an agent in the same pod', `/../cri-containerd-${ID}.scope`, undefined],
    ['Docker, systemd driver', `/system.slice/docker-${ID}.scope`, undefined],
    ['Docker, cgroupfs driver', `/docker/${ID}`, undefined],
    ['Docker, from an agent in Docker', `/../docker-${ID}.scope`, undefined],
    ['Docker in Docker: the outer', `/docker/${ID}/docker/${OTHER}`, undefined],
  ])('%s', (_, path, podUid) => {
    expect(locate(path)).toEqual({ kind: 'container', place: { containerId: ID, podUid } });
  });

  it('from the controllers of version 1, which agree', () => {
    const path = `/kubepods/burstable/pod${UID}/${ID}`;
    expect(locate(`12:cpu,cpuacct:${path}`, `4:memory:${path}`, `1:name=systemd:${path}`, '0::/')).toEqual({
      kind: 'container',
      place: { containerId: ID, podUid: UID },
    });
  });
});

describe('no container is believed', () => {
  it.each([
    [
      'a user with a delegated cgroup',
      `/user.slice/user-1000.slice/user@1000.service/${SLICE}/cri-containerd-${ID}.scope`,
    ],
    [
      'the same, as an agent in a pod sees it',
      `/../../../../user.slice/user-1000.slice/user@1000.service/kubepods/pod${UID}/${ID}`,
    ],
    ['a service with a delegated cgroup', `/system.slice/evil.service/kubepods/pod${UID}/${ID}`],
    [
      'a service of that form of name',
      `/system.slice/evil.service/kubepods-pod${UNDER}.slice:cri-containerd:${ID}`,
    ],
    ['a service that names a Docker scope below itself', `/system.slice/evil.service/docker-${ID}.scope`],
    ['a rootless Docker', `/user.slice/user-1000.slice/user@1000.service/user.slice/docker-${ID}.scope`],
    ['a name that only begins like kubepods', `/kubepodsX/pod${UID}/${ID}`],
    ['a pod without dashes in the right places', `/kubepods/pod0a1b2c3d11112222-3333-0123456789ab/${ID}`],
    ['a container ID that is too short', `/kubepods/pod${UID}/${ID.slice(1)}`],
    ['a container ID in capitals', `/kubepods/pod${UID}/${'AB'.repeat(32)}`],
    ["CRI-O's monitor", `/${SLICE}/crio-conmon-${ID}.scope`],
    ['the pod itself', `/kubepods/pod${UID}`],
    ['a runtime unit that is not one', `/system.slice/containerd-evil.service/kubepods/pod${UID}/${ID}`],
    ['the root', '/'],
    ['a session', '/user.slice/user-1000.slice/session-3.scope'],
    ['no path at all', ''],
  ])('for %s', (_, path) => {
    expect(locate(path)).toEqual({ kind: 'none' });
  });

  it('when two hierarchies name two containers, or two pods', () => {
    const path = (uid: string, id: string) => `/kubepods/pod${uid}/${id}`;
    expect(locate(`1:cpu:${path(UID, ID)}`, `2:memory:${path(UID, OTHER)}`)).toEqual({ kind: 'ambiguous' });
    expect(locate(`1:cpu:${path(UID, ID)}`, `2:memory:${path(STATIC, ID)}`)).toEqual({ kind: 'ambiguous' });
  });

  it('for anything below a slice of users, whatever is put there', () => {
    const names = fc.constantFrom(
      'kubepods',
      'kubepods.slice',
      `pod${UID}`,
      ID,
      `docker-${ID}.scope`,
      'docker',
      'x',
      SLICE,
      `cri-containerd-${ID}.scope`,
      '..',
      'system.slice',
      'kubelet',
      `kubepods-pod${UNDER}.slice:cri-containerd:${ID}`,
    );
    fc.assert(
      fc.property(
        fc.array(
          names.filter((name) => name !== '..'),
          { maxLength: 8 },
        ),
        fc.nat(4),
        (below, up) => {
          const path = [
            '',
            ...Array.from({ length: up }, () => '..'),
            'user.slice',
            'user-7.slice',
            ...below,
          ].join('/');
          expect(locate(path)).toEqual({ kind: 'none' });
        },
      ),
    );
  });
});

describe('the systemd unit', () => {
  it.each([
    ['a service', '/system.slice/nginx.service', 'nginx.service'],
    [
      'an instance of a template',
      '/system.slice/system-getty.slice/getty@tty1.service',
      'getty@tty1.service',
    ],
    ['a cgroup below the service', '/system.slice/nginx.service/workers', 'nginx.service'],
    ['a unit below a service that may delegate', '/system.slice/a.service/postgres.service', 'a.service'],
    [
      "a user's own unit is his manager's",
      '/user.slice/user-1000.slice/user@1000.service/app.slice/postgres.service',
      'user@1000.service',
    ],
    ['a session', '/user.slice/user-1000.slice/session-3.scope', 'session-3.scope'],
    ['the manager itself', '/init.scope', 'init.scope'],
    ['an escaped name', '/system.slice/_tasks.service', 'tasks.service'],
    ['from an agent in a container', '/../../../system.slice/nginx.service', 'nginx.service'],
    ['a slice alone', '/system.slice', undefined],
    ['a name outside of slices', '/nginx.service', undefined],
    ['a container', `/docker/${ID}`, undefined],
    ['the root', '/', undefined],
    ['a name with other characters', '/system.slice/a b.service', undefined],
  ])('%s', (_, path, unit) => {
    expect(unitOf(parseCgroups(`0::${path}`))).toBe(unit);
  });

  it('is read from the hierarchy named systemd where there is one', () => {
    const text = '5:cpu:/user.slice\n1:name=systemd:/system.slice/a.service\n0::/system.slice/b.service\n';
    expect(unitOf(parseCgroups(text))).toBe('a.service');
  });
});

describe("the kubelet's mounts", () => {
  const line = (root: string, point: string) =>
    `936 930 8:1 ${root} ${point} rw,relatime - ext4 /dev/sda1 rw`;
  it('name the pod and the container', () => {
    const text = [
      line('/', '/'),
      line(`/var/lib/kubelet/pods/${UID}/etc-hosts`, '/etc/hosts'),
      line(`/var/lib/kubelet/pods/${UID}/containers/agent/9f8e7d6c`, '/dev/termination-log'),
    ].join('\n');
    expect(parseMounts(text)).toEqual({ podUid: UID, containerName: 'agent' });
  });

  it('name nothing when they are missing, twice there or of another form', () => {
    const log = line(`/pods/${UID}/containers/agent/9f8e7d6c`, '/dev/termination-log');
    for (const text of [
      '',
      'x',
      line('/', '/'),
      `${log}\n${log}`,
      line('/etc/passwd', '/dev/termination-log'),
    ]) {
      expect(parseMounts(text)).toBeUndefined();
    }
  });
});
