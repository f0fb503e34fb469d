import { readSmall } from './files.ts';

const MAX_CGROUP_BYTES = 262_144;
const MAX_HIERARCHIES = 64;

/** One line of /proc/PID/cgroup (cgroups(7)). `unified` is version 2's; `systemd` the one that systemd names units in. */
export interface Hierarchy {
  readonly unified: boolean;
  readonly systemd: boolean;
  /** From the root of the reader's cgroup namespace; begins with ".." where the process lies outside of it. */
  readonly segments: readonly string[];
}

/** Reads /proc/PID/cgroup. Throws `unavailable` or `limit`. */
export function readCgroups(procRoot: string, pid: number): Hierarchy[] {
  return parseCgroups(readSmall(`${procRoot}/${pid}/cgroup`, MAX_CGROUP_BYTES));
}

/** The hierarchies of the text of a cgroup file; lines of another form are left out. */
export function parseCgroups(text: string): Hierarchy[] {
  return text.split('\n', MAX_HIERARCHIES).flatMap((line) => {
    const match = /^(\d+):([^:]*):\/(.*)$/.exec(line);
    if (match === null) return [];
    const [, number = '', controllers = '', path = ''] = match;
    const unified = number === '0' && controllers === '';
    return [
      {
        unified,
        systemd: unified || controllers === 'name=systemd',
        segments: path.split('/').filter((segment) => segment !== ''),
      },
    ];
  });
}

/**
 * The systemd unit that a process belongs to, or undefined outside of systemd's tree. The first segment that is no
 * slice, as systemd reads it: what lies below is the unit's own, so that a user's own unit `postgres.service` below
 * `user@1000.service` is never taken for the system's.
 */
export function unitOf(hierarchies: readonly Hierarchy[]): string | undefined {
  const own =
    hierarchies.find(({ systemd, unified }) => systemd && !unified) ??
    hierarchies.find(({ unified }) => unified);
  const segments = own?.segments.slice(own.segments.findLastIndex((segment) => segment === '..') + 1) ?? [];
  const first = segments.findIndex((segment) => !segment.endsWith('.slice'));
  const name = segments[first];
  if (name === undefined || (first === 0 && name !== 'init.scope')) return undefined;
  // systemd puts "_" before a name that is also one of the kernel's files.
  const unit = name.startsWith('_') ? name.slice(1) : name;
  return /^[A-Za-z0-9:_.\\@-]{1,247}\.(service|scope)$/.test(unit) ? unit : undefined;
}
