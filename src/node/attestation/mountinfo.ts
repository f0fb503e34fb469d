import { readlinkSync } from 'node:fs';
import type { Hierarchy } from './cgroup.ts';
import { readSmall } from './files.ts';

const MAX_MOUNTINFO_BYTES = 4 * 1024 * 1024;
const MAX_MOUNTS = 20_000;

/** The pod and container that a kubelet's mounts name. */
export interface MountedPlace {
  readonly podUid: string;
  readonly containerName: string;
}

/**
 * The container of a process that shares it with the agent: its cgroup is then the root of the agent's own namespace
 * and says nothing. Mounts are any process's own choice in a mount namespace of its own, so they are believed only
 * of a process in the agent's.
 */
export function locateByMounts(
  procRoot: string,
  pid: number,
  hierarchies: readonly Hierarchy[],
): MountedPlace | undefined {
  if (hierarchies.some(({ segments }) => segments.length > 0)) return undefined;
  try {
    if (readlinkSync(`${procRoot}/${pid}/ns/mnt`) !== readlinkSync(`${procRoot}/self/ns/mnt`))
      return undefined;
  } catch {
    return undefined;
  }
  return parseMounts(readSmall(`${procRoot}/${pid}/mountinfo`, MAX_MOUNTINFO_BYTES));
}

/**
 * The place of the text of a mountinfo file (proc_pid_mountinfo(5): the fourth field is the mount's root, the fifth
 * its point): the kubelet mounts `.../pods/UID/containers/NAME/HASH` on the container's termination log.
 */
export function parseMounts(text: string): MountedPlace | undefined {
  const places = text.split('\n', MAX_MOUNTS).flatMap((line) => {
    const [, , , root = '', point = ''] = line.split(' ', 5);
    if (point !== '/dev/termination-log') return [];
    const match = /\/pods\/([0-9a-f-]{32,36})\/containers\/([a-z0-9-]{1,63})\/[^/]+$/.exec(root);
    return match === null ? [] : [{ podUid: match[1] ?? '', containerName: match[2] ?? '' }];
  });
  return places.length === 1 ? places[0] : undefined;
}
