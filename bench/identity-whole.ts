// Whole agents: `interlock agent`, each a process with its socket, and at each one workload of a user of its own, which
// holds a stream of the Workload API open. Run by itself it is the process of these workloads.
import type { ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { X509Source } from '../src/workload/index.ts';
import { Child, type Fault, type StateTold } from './identity-child.ts';
import { ended, megabytes, processorTime, sharedClock } from './identity-parts.ts';
import type { Plane } from './identity-plane.ts';
import { type Program, spawnAgent } from './identity-program.ts';
import { untilServed } from './identity-workload.ts';

/** The first user ID of these workloads: any that nobody has. */
export const FIRST_UID = 200_000;
/** How many agents start at one time. */
const STARTING = 4;

interface Workload {
  readonly uid: number;
  readonly socket: string;
}

interface ToWorkloads {
  readonly do: 'open';
  readonly workloads: readonly Workload[];
}

type FromWorkloads = StateTold | Fault | { readonly is: 'open' };

/** Why there can be none here, or undefined. */
export function noWholeAgents(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'it takes root to connect as several users';
}

/** All whole agents, and the process of their workloads. */
export class WholeAgents {
  /** Workloads' user IDs, from {@link FIRST_UID} on. */
  readonly uids: readonly number[];
  readonly workloads = new Child<ToWorkloads, FromWorkloads>(fileURLToPath(import.meta.url));
  readonly #agents: ChildProcess[] = [];

  constructor(count: number) {
    this.uids = Array.from({ length: count }, (_, i) => FIRST_UID + i);
  }

  /** Resolves once every workload has a state in its stream. The directory must be open to all users. */
  async start(program: Program, plane: Plane, dir: string): Promise<void> {
    // A workload without an identity has no stream: it is refused, and asks again in a while.
    const spec = { spiffeId: '/uid/{unix.uid}', when: `unix.uid >= ${FIRST_UID}` };
    const metadata = { name: 'by-uid' };
    const rule = { apiVersion: 'interlock.dev/v1alpha1', kind: 'IdentityRule', metadata, spec };
    await plane.call('POST', '/v1/rules', { rules: [rule] });
    for (let i = 0; i < this.uids.length; i += STARTING) {
      const workloads: Workload[] = [];
      for (const uid of this.uids.slice(i, i + STARTING)) {
        const place = {
          socket: join(dir, `${uid}.sock`),
          state: join(dir, `whole-${uid}`),
          server: plane.address,
        };
        const token = await plane.token(`whole-${uid}`);
        this.#agents.push(spawnAgent(program, place, ['--join-token', token]));
        workloads.push({ uid, socket: place.socket });
      }
      await this.workloads.ask({ do: 'open', workloads }, 'open');
    }
  }

  /** Resident memory of the agents, megabytes. */
  get memory(): number {
    return this.#agents.reduce((sum, { pid }) => sum + megabytes(pid ?? 0, 'VmRSS'), 0);
  }

  /** How long the processor has worked for the agents and their workloads, milliseconds. */
  get processorTime(): number {
    const pids = [this.workloads.pid, ...this.#agents.map(({ pid }) => pid ?? 0)];
    return pids.reduce((sum, pid) => sum + processorTime(pid), 0);
  }

  async stop(): Promise<void> {
    await this.workloads.stop();
    await Promise.all(this.#agents.map((agent) => ended(agent)));
  }
}

/** Opens the streams one after the other, each as its user. */
async function open(workloads: readonly Workload[], tell: (message: FromWorkloads) => void): Promise<void> {
  for (const { uid, socket } of workloads) {
    // The kernel notes who connects, at that moment; the agent looks again while it attests.
    process.seteuid?.(uid);
    try {
      await untilServed(socket);
      const source = await X509Source.open({
        endpoint: `unix://${socket}`,
        onError: (error) => tell({ is: 'fault', reason: `the stream of user ${uid}: ${error.message}` }),
      });
      // Called with a state that was read: its keys and chains are parsed, and fit each other.
      source.onUpdate(({ svids }) =>
        tell({ is: 'state', uid, at: sharedClock(), ids: svids.map(({ spiffeId }) => spiffeId) }),
      );
    } finally {
      process.seteuid?.(0);
    }
  }
  tell({ is: 'open' });
}

function run(): void {
  const tell = (message: FromWorkloads) => void process.send?.(message);
  // Only the other side of this module sends.
  process.on('message', (message) => {
    const { workloads } = message as ToWorkloads;
    open(workloads, tell).catch((error: unknown) => tell({ is: 'fault', reason: String(error) }));
  });
  process.once('SIGTERM', () => process.exit(0));
}

if (import.meta.main) run();
