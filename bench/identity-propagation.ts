// From a new rule to the SVID in the workload's stream, with a thousand agents connected to one control plane.
import { existsSync } from 'node:fs';
import { type AgentOrder, AgentProcess, type FromAgents, isKind } from './identity-light.ts';
import { percentiles, processorTime, scratch, sharedClock } from './identity-parts.ts';
import { type Plane, startPlane, TRUST_DOMAIN } from './identity-plane.ts';

type Report = (line: string) => void;

const AGENTS = Number(process.argv[2] ?? 1000);
const PROCESSES = 2;
/** Rules for one workload each, one after the other. */
const RULES = 120;
/** Between two of them. A rule reaches the agents' disks half a second later, and they all share this machine. */
const PAUSE_MS = 1000;
/** Rules for every workload, one after the other. */
const WIDE_RULES = 3;
const GOAL_MS = 500;
/** Each agent writes its state to a disk of its own; these share one, in memory where there is such. */
const DISK = existsSync('/dev/shm') ? '/dev/shm' : undefined;

/** Prints the percentiles. Throws where something is refused or does not come. */
export async function bench(report: Report): Promise<void> {
  const state = scratch();
  const disk = scratch(DISK);
  const processes = Array.from({ length: PROCESSES }, () => new AgentProcess());
  const plane = await startPlane(state.dir);
  try {
    const started = sharedClock();
    await connectAll(plane, processes, disk.dir);
    report(`${AGENTS} agents attested and connected in ${((sharedClock() - started) / 1000).toFixed(1)} s`);
    // The first rules find code that has not run yet; they are no part of the result.
    for (let i = 0; i < 10; i++) await oneRule(plane, processes, `warm-${i}`, i);
    const single: number[] = [];
    const spread: number[] = [];
    const work = { plane: 0, agents: 0 };
    for (let i = 0; i < RULES; i++) {
      await pause();
      const uid = Math.floor((i * AGENTS) / RULES);
      const before = workOf(plane, processes);
      const { ms, allMs } = await oneRule(plane, processes, `one-${i}`, uid);
      const after = workOf(plane, processes);
      work.plane += after.plane - before.plane;
      work.agents += after.agents - before.agents;
      single.push(ms);
      spread.push(allMs);
    }
    report(
      `a rule for one workload, ${RULES} times, one a second:  ${percentiles(single)}  (goal: p99 under ${GOAL_MS} ms)`,
    );
    report(`  until all ${AGENTS} agents have the rule: ${percentiles(spread)}`);
    report(
      `  of the processor, for each rule: control plane ${Math.round(work.plane / RULES)} ms, ${AGENTS} agents together ${Math.round(work.agents / RULES)} ms, all on this machine`,
    );
    for (let i = 0; i < WIDE_RULES; i++) {
      await pause();
      report(`a rule for ${AGENTS} workloads at once:  ${percentiles(await wideRule(plane, processes, i))}`);
    }
    report(
      'from the start of the API call to the state that the workload is told; every agent is told every rule',
    );
  } finally {
    await Promise.all(processes.map((each) => each.stop()));
    await plane.stop();
    disk.remove();
    state.remove();
  }
}

async function connectAll(plane: Plane, processes: readonly AgentProcess[], dir: string): Promise<void> {
  const share = Math.ceil(AGENTS / processes.length);
  await Promise.all(
    processes.map(async (each, i) => {
      const agents: AgentOrder[] = [];
      for (let uid = i * share; uid < Math.min(AGENTS, (i + 1) * share); uid++)
        agents.push({ name: `node-${uid}`, token: await plane.token(`node-${uid}`), uids: [uid] });
      await each.ask({ do: 'start', address: plane.address, dir, agents }, isKind('online'));
    }),
  );
}

/** Gives one workload an identity, and waits until every agent has the rule. */
async function oneRule(
  plane: Plane,
  processes: readonly AgentProcess[],
  name: string,
  uid: number,
): Promise<{ ms: number; allMs: number }> {
  const id = `spiffe://${TRUST_DOMAIN}/${name}`;
  const came = collect(processes, id, 1);
  const start = sharedClock();
  const all = nextRules(processes);
  await apply(plane, name, `/${name}`, [`unix:uid:${uid}`]);
  const [at] = await came;
  await all;
  return { ms: (at ?? Number.NaN) - start, allMs: sharedClock() - start };
}

async function wideRule(plane: Plane, processes: readonly AgentProcess[], i: number): Promise<number[]> {
  const came = collect(processes, `spiffe://${TRUST_DOMAIN}/wide-${i}/`, AGENTS);
  const start = sharedClock();
  const all = nextRules(processes);
  await apply(plane, `wide-${i}`, `/wide-${i}/{unix.uid}`, []);
  const times = await came;
  await all;
  return times.map((at) => at - start);
}

function apply(plane: Plane, name: string, spiffeId: string, selectors: readonly string[]): Promise<unknown> {
  const spec = selectors.length > 0 ? { spiffeId, selectors } : { spiffeId, when: 'unix.uid >= 0' };
  const rule = { apiVersion: 'interlock.dev/v1alpha1', kind: 'IdentityRule', metadata: { name }, spec };
  return plane.call('POST', '/v1/rules', { rules: [rule] });
}

/** When each of `count` workloads was first told an ID that begins so. */
function collect(processes: readonly AgentProcess[], prefix: string, count: number): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const times = new Map<number, number>();
    const stops = processes.map((each) =>
      each.onMessage((message: FromAgents) => {
        if (message.is === 'fault') reject(new Error(message.reason));
        if (message.is !== 'state' || times.has(message.uid)) return;
        if (!message.ids.some((id) => id.startsWith(prefix))) return;
        times.set(message.uid, message.at);
        if (times.size < count) return;
        for (const stop of stops) stop();
        resolve([...times.values()]);
      }),
    );
  });
}

function workOf(plane: Plane, processes: readonly AgentProcess[]): { plane: number; agents: number } {
  const agents = processes.reduce((sum, { pid }) => sum + processorTime(pid), 0);
  return { plane: processorTime(plane.pid), agents };
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}

function nextRules(processes: readonly AgentProcess[]): Promise<unknown> {
  return Promise.all(processes.map((each) => each.next(isKind('rules'))));
}

if (import.meta.main) await bench(console.log);
