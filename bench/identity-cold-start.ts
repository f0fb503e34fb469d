// How soon an agent answers its first workload after a start with what it kept on disk, its control plane being down.
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ended, percentile, processorTime, scratch, sharedClock } from './identity-parts.ts';
import { startPlane } from './identity-plane.ts';
import { CHECKOUT, packaged, type Place, type Program, spawnAgent } from './identity-program.ts';
import { fetchX509Svid, untilServed } from './identity-workload.ts';

type Report = (line: string) => void;

const STARTS = Number(process.argv[2] ?? 10);
const GOAL_MS = 300;

/** Prints the medians. Throws where an agent does not answer with its SVID. */
export async function bench(report: Report): Promise<void> {
  const state = scratch();
  const built = scratch();
  const where = { socket: join(state.dir, 'agent.sock'), state: state.dir, server: '' };
  try {
    const programs = [packaged(built.dir), CHECKOUT];
    const server = await prepare(CHECKOUT, where);
    const bare: number[] = [];
    const starts = programs.map((): Start[] => []);
    // By turns: all see the same weather on a shared machine. The first round only warms the disk's cache, and ends as
    // an agent is stopped, with what Node compiled written down; the others end as a crash would.
    for (let round = 0; round <= STARTS; round++) {
      const start = sharedClock();
      spawnSync(process.execPath, ['-e', '0']);
      if (round > 0) bare.push(sharedClock() - start);
      for (const [i, program] of programs.entries()) {
        const took = await coldStart(program, { ...where, server }, round === 0 ? 'SIGTERM' : 'SIGKILL');
        if (round > 0) starts[i]?.push(took);
      }
    }
    report(
      `from the start of the process to its first X509SVIDResponse, ${STARTS} starts, control plane down`,
    );
    for (const [i, { name }] of programs.entries()) {
      const [all, cpu] = [starts[i]?.map(({ ms }) => ms) ?? [], starts[i]?.map(({ cpuMs }) => cpuMs) ?? []];
      report(`${name.padEnd(30)} ${spread(all)}; of the processor ${percentile(cpu, 0.5)} ms`);
    }
    report(`${'for comparison: node -e 0'.padEnd(30)} ${spread(bare)}`);
    report(`goal: under ${GOAL_MS} ms`);
  } finally {
    built.remove();
    state.remove();
  }
}

/** One start: milliseconds that passed, and those that the processor worked for the agent up to then. */
interface Start {
  readonly ms: number;
  readonly cpuMs: number;
}

function spread(values: readonly number[]): string {
  const [least, half, most] = [0, 0.5, 1].map((share) => Math.round(percentile(values, share)));
  return `median ${half} ms (${least} to ${most})`;
}

/** A first run against a real control plane, which leaves the state that the others start with. */
async function prepare(program: Program, where: Place): Promise<string> {
  const planeDir = join(where.state, 'plane');
  mkdirSync(planeDir, { mode: 0o700 });
  const plane = await startPlane(planeDir);
  try {
    const spec = { spiffeId: '/uid/{unix.uid}', selectors: [`unix:uid:${process.getuid?.()}`] };
    const rule = {
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'IdentityRule',
      metadata: { name: 'by-uid' },
      spec,
    };
    await plane.call('POST', '/v1/rules', { rules: [rule] });
    const token = await plane.token('node-1');
    const agent = spawnAgent(program, { ...where, server: plane.address }, ['--join-token', token]);
    await untilServed(where.socket);
    await ended(agent);
    return plane.address;
  } finally {
    await plane.stop();
  }
}

async function coldStart(program: Program, where: Place, end: NodeJS.Signals): Promise<Start> {
  const start = sharedClock();
  const agent = spawnAgent(program, where);
  try {
    const { svids, status } = await fetchX509Svid(where.socket);
    const ms = sharedClock() - start;
    const cpuMs = processorTime(agent.pid ?? 0);
    if (svids.length !== 1) throw new Error(`no SVID: gRPC status ${status}`);
    return { ms, cpuMs };
  } finally {
    await ended(agent, end);
  }
}

if (import.meta.main) await bench(console.log);
