// An authority is tainted while ten thousand SVIDs that it signed are live: how soon all are replaced, and whether any
// workload was without a valid one meanwhile.
import { existsSync } from 'node:fs';
import { type AgentOrder, AgentProcess, type Census } from './identity-light.ts';
import { scratch, sharedClock } from './identity-parts.ts';
import { type Plane, startPlane } from './identity-plane.ts';

type Report = (line: string) => void;

const AGENTS = 10;
const PROCESSES = 2;
const WORKLOADS = Number(process.argv[2] ?? 1000);
/** How long the operator lets the replacement take. */
const OVER_MS = 40_000;
const GOAL_MS = 60_000;
/** How often every workload is looked at, and how often it is counted what is left. */
const LOOK_MS = 50;
const CENSUS_MS = 250;
/** Nothing takes as long that goes well. */
const PATIENCE_MS = 180_000;
const DISK = existsSync('/dev/shm') ? '/dev/shm' : undefined;

interface Authorities {
  readonly authorities: readonly { id: string; state: string; publishedIn: number }[];
}

/** Prints how it went. Throws where it did not. */
export async function bench(report: Report): Promise<void> {
  const state = scratch();
  const disk = scratch(DISK);
  const processes = Array.from({ length: PROCESSES }, () => new AgentProcess());
  const plane = await startPlane(state.dir);
  try {
    const all = AGENTS * WORKLOADS;
    const first = await fill(plane, processes, disk.dir, all, report);
    await Promise.all(processes.map((each) => each.ask({ do: 'watch', everyMs: LOOK_MS }, 'census')));
    const second = await prepareNext(plane);
    const start = sharedClock();
    await plane.call('POST', `/v1/authorities/${first}/taint`, { overMs: OVER_MS });
    const census = await until(
      processes,
      ({ byAuthority }) => (byAuthority[first] ?? 0) === 0,
      start,
      report,
    );
    const seconds = ((sharedClock() - start) / 1000).toFixed(1);
    report(
      `all ${(census.byAuthority[second] ?? 0).toLocaleString('en')} SVIDs replaced in ${seconds} s, spread over ${OVER_MS / 1000} s  (goal: under ${GOAL_MS / 1000} s)`,
    );
    // Forced: agents may be replacing their own SVIDs still, and only the workloads' are looked at here.
    await plane.call('POST', `/v1/authorities/${first}/revoke`, { force: true });
    const after = await until(
      processes,
      ({ stale }) => stale === 0,
      sharedClock(),
      () => undefined,
    );
    report(
      `looked ${after.looks} times at all workloads, and at each of ${after.told.toLocaleString('en')} states told: ${after.lapses + after.toldEmpty} without a valid SVID`,
    );
    report(
      `every SVID verified against its workload's bundles: ${after.verified.toLocaleString('en')} good, ${after.unverified} not; after the old root was revoked ${after.without} workloads without a good one`,
    );
    if (after.lapses + after.toldEmpty + after.unverified + after.without > 0)
      throw new Error('a workload was without');
  } finally {
    await Promise.all(processes.map((each) => each.stop()));
    await plane.stop();
    disk.remove();
    state.remove();
  }
}

/** Every workload of every agent gets an SVID. Gives the ID of the authority that signed them. */
async function fill(
  plane: Plane,
  processes: readonly AgentProcess[],
  dir: string,
  all: number,
  report: Report,
): Promise<string> {
  const rule = {
    apiVersion: 'interlock.dev/v1alpha1',
    kind: 'IdentityRule',
    metadata: { name: 'by-uid' },
    spec: { spiffeId: '/uid/{unix.uid}', when: 'unix.uid >= 0' },
  };
  await plane.call('POST', '/v1/rules', { rules: [rule] });
  const start = sharedClock();
  await Promise.all(
    processes.map(async (each, i) => {
      const agents: AgentOrder[] = [];
      for (let agent = i; agent < AGENTS; agent += processes.length) {
        const uids = Array.from({ length: WORKLOADS }, (_, uid) => agent * WORKLOADS + uid);
        agents.push({ name: `node-${agent}`, token: await plane.token(`node-${agent}`), uids });
      }
      await each.ask({ do: 'start', address: plane.address, dir, agents }, 'online');
    }),
  );
  const [signing] = (await plane.call<Authorities>('GET', '/v1/authorities')).authorities;
  if (signing === undefined) throw new Error('there is no authority');
  await until(
    processes,
    ({ byAuthority }) => byAuthority[signing.id] === all,
    start,
    () => undefined,
  );
  report(
    `${all.toLocaleString('en')} SVIDs at ${AGENTS} agents, first signed in ${((sharedClock() - start) / 1000).toFixed(1)} s`,
  );
  return signing.id;
}

/** A second authority takes over once all agents have its root. Gives its ID. */
async function prepareNext(plane: Plane): Promise<string> {
  const { id } = await plane.call<{ id: string }>('POST', '/v1/authorities/prepare', {});
  for (;;) {
    const { versions, agents } = await plane.call<{
      versions: { bundles: number };
      agents: { confirmed?: { bundles: number } }[];
    }>('GET', '/v1/agents');
    if (agents.every(({ confirmed }) => confirmed?.bundles === versions.bundles)) break;
    await pause(100);
  }
  // Forced only because a control plane waits a minute after its start for agents that may still be on their way.
  await plane.call('POST', `/v1/authorities/${id}/activate`, { force: true });
  return id;
}

/** Counts again and again until it is as wanted. */
async function until(
  processes: readonly AgentProcess[],
  wanted: (census: Census) => boolean,
  start: number,
  report: Report,
): Promise<Census> {
  let next = 10_000;
  for (;;) {
    const parts = await Promise.all(processes.map((each) => each.ask({ do: 'census' }, 'census')));
    const census = parts.map(({ census }) => census).reduce(sum);
    if (wanted(census)) return census;
    const ms = sharedClock() - start;
    if (ms > PATIENCE_MS) throw new Error(`it takes too long: ${JSON.stringify(census)}`);
    if (ms > next) {
      report(`  after ${Math.round(ms / 1000)} s: ${JSON.stringify(Object.values(census.byAuthority))}`);
      next += 10_000;
    }
    await pause(CENSUS_MS);
  }
}

function sum(a: Census, b: Census): Census {
  const byAuthority: Record<string, number> = { ...a.byAuthority };
  for (const [id, count] of Object.entries(b.byAuthority)) byAuthority[id] = (byAuthority[id] ?? 0) + count;
  const { byAuthority: _, ...counts } = a;
  const added = Object.entries(counts).map(([name, count]) => [name, count + Reflect.get(b, name)]);
  // The same fields as those of `a`, all numbers.
  return { ...(Object.fromEntries(added) as typeof counts), byAuthority };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

if (import.meta.main) await bench(console.log);
