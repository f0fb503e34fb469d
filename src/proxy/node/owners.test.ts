import { describe, expect, test } from 'vitest';
import { parseSpiffeId, type SpiffeId } from '../../access/index.ts';
import type { SocketOwner } from '../../system/index.ts';
import { MARK_BASE, Owners, type OwnersOptions } from './owners.ts';
import type { KnownProcess } from './process-book.ts';

const [WEB, JOB] = [parseSpiffeId('spiffe://example.org/web'), parseSpiffeId('spiffe://example.org/job')];
const TUPLE = { local: { host: '127.0.0.1', port: 1 }, remote: { host: '127.0.0.1', port: 2 } };
const SELF = 99;

interface World {
  /** What the kernel says of the socket. */
  readonly socket: SocketOwner | undefined;
  /** Processes with the sockets that they hold, and what the agent says they are. */
  readonly processes: Readonly<
    Record<number, { uid: number; holds: readonly number[]; are: readonly SpiffeId[] }>
  >;
  /** Of the socket's cgroup; undefined where it cannot be listed. */
  readonly members?: readonly number[];
  readonly knows?: readonly number[];
}

function ownersIn({ socket, processes, members, knows = [] }: World) {
  const met: number[] = [];
  const looked: number[] = [];
  const known = new Map<number, KnownProcess>();
  const processOf = (pid: number): KnownProcess => {
    let process = known.get(pid);
    const { uid = -1, are = [] } = processes[pid] ?? {};
    if (process === undefined)
      known.set(pid, (process = { pid, uid, cgroup: socket?.cgroup, workloads: are }));
    return process;
  };
  for (const pid of knows) processOf(pid);
  const options: OwnersOptions = {
    diag: { connection: () => socket, listener: () => socket },
    proc: {
      holds: async (pid, inode) => {
        looked.push(pid);
        return processes[pid]?.holds.includes(inode) === true;
      },
      candidates: async (uid) =>
        Object.entries(processes).flatMap(([pid, process]) =>
          process.uid === uid && (members === undefined || members.includes(Number(pid))) ? Number(pid) : [],
        ),
      members: () => (members === undefined ? undefined : [...members]),
      uidOf: (pid) => processes[pid]?.uid,
    },
    book: {
      known: (pid) => known.get(pid),
      knownOf: (uid) => [...known.values()].filter((process) => process.uid === uid),
      hold: (pid) => ({
        process: { pid, hold: 'pid', alive: () => true, close: () => {} },
        marks: { uid: processes[pid]?.uid ?? -1, executable: 'x' },
      }),
      meet: async ({ process }) => {
        met.push(process.pid);
        return processOf(process.pid);
      },
    },
    marks: new Map([
      [1, WEB],
      [2, JOB],
    ]),
    self: SELF,
  };
  return { owners: new Owners(options), met, looked };
}

const held = (uid: number, inode: number, rest: Partial<SocketOwner> = {}): SocketOwner => ({
  held: { uid, inode },
  cgroup: 5n,
  ...rest,
});

describe('the owner of a connection', () => {
  test('is the workload that its process is', async () => {
    const { owners, met } = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 7, holds: [101], are: [JOB] }, 12: { uid: 7, holds: [100], are: [WEB] } },
    });
    expect(await owners.connection(TUPLE)).toEqual({ workload: WEB, pid: 12 });
    // Nobody else's identity is asked for.
    expect(met).toEqual([12]);
  });

  test('is nobody where no process holds the socket, or the kernel knows of none', async () => {
    const orphan = ownersIn({
      socket: { cgroup: 5n },
      processes: { 11: { uid: 7, holds: [100], are: [WEB] } },
    });
    expect(await orphan.owners.connection(TUPLE)).toHaveProperty('reason');
    const elsewhere = ownersIn({ socket: undefined, processes: {} });
    expect(await elsewhere.owners.connection(TUPLE)).toHaveProperty('reason');
    const passed = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 8, holds: [100], are: [WEB] } },
    });
    expect(await passed.owners.connection(TUPLE)).toMatchObject({ uid: 7 });
  });

  test('is never a process of another user or cgroup that was handed the socket', async () => {
    const { owners, met } = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 7, holds: [], are: [] }, 12: { uid: 7, holds: [100], are: [WEB] } },
      members: [11],
    });
    expect(await owners.connection(TUPLE)).toHaveProperty('reason');
    expect(met).toEqual([]);
  });

  test('needs no look at descriptors where all of the cgroup are one workload', async () => {
    const world = {
      socket: held(7, 100),
      processes: {
        11: { uid: 7, holds: [], are: [WEB] },
        12: { uid: 7, holds: [100], are: [WEB] },
        13: { uid: 0, holds: [], are: [] },
      },
      members: [11, 12, 13],
    };
    const all = ownersIn({ ...world, knows: [11, 12] });
    expect(await all.owners.connection(TUPLE)).toMatchObject({ workload: WEB });
    expect(all.looked).toEqual([]);
    const some = ownersIn({ ...world, knows: [12] });
    expect(await some.owners.connection(TUPLE)).toEqual({ workload: WEB, pid: 12 });
    expect(some.looked).not.toEqual([]);
  });

  test('is looked for among the descriptors where they are not', async () => {
    const { owners } = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 7, holds: [], are: [WEB] }, 12: { uid: 7, holds: [100], are: [JOB] } },
      members: [11, 12],
      knows: [11, 12],
    });
    expect(await owners.connection(TUPLE)).toEqual({ workload: JOB, pid: 12 });
  });

  test('is chosen by a mark among what the process is, and never beyond', async () => {
    const world = (mark: number, are: readonly SpiffeId[]) =>
      ownersIn({ socket: held(7, 100, { mark }), processes: { 11: { uid: 7, holds: [100], are } } }).owners;
    expect(await world(MARK_BASE | 2, [WEB, JOB]).connection(TUPLE)).toMatchObject({ workload: JOB });
    expect(await world(MARK_BASE | 2, [WEB]).connection(TUPLE)).toHaveProperty('reason');
    expect(await world(MARK_BASE | 3, [WEB]).connection(TUPLE)).toHaveProperty('reason');
    // Marks of others mean nothing here.
    expect(await world(0x1234, [WEB, JOB]).connection(TUPLE)).toMatchObject({ workload: WEB });
    expect(await world(0, [WEB, JOB]).connection(TUPLE)).toMatchObject({ workload: WEB });
  });

  test('is nobody for what the proxy itself has opened', async () => {
    const { owners } = ownersIn({
      socket: held(0, 100),
      processes: { [SELF]: { uid: 0, holds: [100], are: [WEB] }, 11: { uid: 0, holds: [], are: [] } },
    });
    expect(await owners.connection(TUPLE)).toMatchObject({ isOwn: true });
  });

  test('is looked for only so often at a time for one user', async () => {
    const { owners } = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 7, holds: [100], are: [WEB] } },
    });
    const all = await Promise.all(Array.from({ length: 70 }, () => owners.connection(TUPLE)));
    expect(all.filter(({ workload }) => workload === WEB)).toHaveLength(64);
    expect(await owners.connection(TUPLE)).toMatchObject({ workload: WEB });
  });

  test('of a port is a workload only where it is its process that listens', async () => {
    const { owners } = ownersIn({
      socket: held(7, 100),
      processes: { 11: { uid: 7, holds: [100], are: [WEB] } },
    });
    const at = { host: '127.0.0.1', port: 80 };
    expect(await owners.listener(at, WEB)).toEqual({ workload: WEB, pid: 11 });
    expect(await owners.listener(at, JOB)).toHaveProperty('reason');
  });
});
