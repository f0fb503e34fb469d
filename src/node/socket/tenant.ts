import { readCgroups } from '../attestation/cgroup.ts';
import { locateContainer } from '../attestation/container.ts';

/**
 * Who shares limits with a process: its pod or container where it is in one, and else all of its user's processes. Pods
 * mostly run as the same few users, and one of them must not use up what is there for the others.
 */
export function tenantOf(pid: number, uid: number, procRoot = '/proc'): string {
  try {
    const located = locateContainer(readCgroups(procRoot, pid));
    if (located.kind === 'container') {
      const { podUid, containerId } = located.place;
      return podUid === undefined ? `container ${containerId}` : `pod ${podUid}`;
    }
  } catch {
    // Ended already, or not to be read: its user is known all the same.
  }
  return `user ${uid}`;
}
