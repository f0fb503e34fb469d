// Memory of one agent that serves a thousand workloads, each with an identity of its own.
import type { ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ended, megabytes, scratch, sharedClock } from './identity-parts.ts';
import { type Plane, startPlane, TRUST_DOMAIN } from './identity-plane.ts';
import { packaged, type Program, spawnAgent } from './identity-program.ts';
import { type Answer, fetchX509Svid, untilServed } from './identity-workload.ts';

type Report = (line: string) => void;

const WORKLOADS = 1000;
const GOAL_MB = 250;
/** The first user ID of the workloads: any that nobody has. */
const FIRST_UID = 200_000;
/** After all have come: what is garbage by then is collected, as it is in an agent that has been idle for a while. */
const REST_MS = 15_000;

/** Prints the agent's memory. Throws where a workload gets another identity than its own. */
export async function bench(report: Report): Promise<void> {
  if (process.getuid?.() !== 0) {
    // Workloads of a thousand users: a process becomes each of them in turn, which only root may.
    report('left out: it takes root to connect as a thousand users');
    return;
  }
  const [state, built] = [scratch(), scratch()];
  // Workloads of other users must reach the socket.
  chmodSync(state.dir, 0o755);
  const planeDir = join(state.dir, 'plane');
  mkdirSync(planeDir, { mode: 0o700 });
  const plane = await startPlane(planeDir);
  const socket = join(state.dir, 'agent.sock');
  const agent = await startAgent(packaged(built.dir), plane, state.dir, socket);
  const pid = agent.pid ?? 0;
  const streams: Answer[] = [];
  try {
    await untilServed(socket);
    await sleep(1000);
    report(`agent, one workload served:             ${memory(pid)}`);
    const start = sharedClock();
    for (let uid = FIRST_UID; uid < FIRST_UID + WORKLOADS; uid++) streams.push(await streamOf(uid, socket));
    const seconds = ((sharedClock() - start) / 1000).toFixed(1);
    report(
      `${WORKLOADS} open FetchX509SVID streams:         ${memory(pid)}  (opened in ${seconds} s, one after the other)`,
    );
    await sleep(REST_MS);
    const peak = megabytes(pid, 'VmHWM');
    report(`  ${REST_MS / 1000} s later:                           ${memory(pid)}`);
    report(`goal: under ${GOAL_MB} MB; the most it ever had is ${peak < GOAL_MB ? 'under' : 'over'} it`);
    report(
      `each stream: a connection of its own from a user ID of its own (SO_PEERCRED), attested, with its own key and SVID`,
    );
  } finally {
    for (const { close } of streams) close();
    await ended(agent);
    await plane.stop();
    built.remove();
    state.remove();
  }
}

async function startAgent(
  program: Program,
  plane: Plane,
  dir: string,
  socket: string,
): Promise<ChildProcess> {
  const rule = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'IdentityRule',
    metadata: { name: 'by-uid' },
    spec: { spiffeId: '/uid/{unix.uid}', when: 'unix.uid >= 0' },
  };
  await plane.call('POST', '/v1/rules', { rules: [rule] });
  const place = { state: join(dir, 'state'), socket, server: plane.address };
  return spawnAgent(program, place, ['--join-token', await plane.token('node-1')]);
}

/** A stream of a workload that runs as this user; the process is root again afterwards. */
async function streamOf(uid: number, socket: string): Promise<Answer> {
  // The kernel notes who connects, at that moment; the agent looks again while it attests.
  process.seteuid?.(uid);
  try {
    const answer = await fetchX509Svid(socket);
    const ids = answer.svids.map(({ spiffeId }) => spiffeId);
    if (ids.length === 1 && ids[0] === `spiffe://${TRUST_DOMAIN}/uid/${uid}`) return answer;
    throw new Error(`user ${uid} got ${JSON.stringify(ids)}, gRPC status ${answer.status}`);
  } finally {
    process.seteuid?.(0);
  }
}

function memory(pid: number): string {
  return `${megabytes(pid, 'VmRSS').toFixed(0)} MB resident, ${megabytes(pid, 'VmHWM').toFixed(0)} MB at most`;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) await bench(console.log);
