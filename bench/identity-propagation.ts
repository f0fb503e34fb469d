// From a new rule to the SVID at the workload, with a thousand agents connected to one control plane: some of them
// whole, with a client at a stream of the Workload API, the others light, without sockets.
import { chmodSync, existsSync } from 'node:fs';
import type { Fault, StateTold } from './identity-child.ts';
import { type AgentOrder, AgentProcess } from './identity-light.ts';
import { percentiles, processorTime, scratch, sharedClock } from './identity-parts.ts';
import { type Plane, startPlane, TRUST_DOMAIN } from './identity-plane.ts';
import { packaged } from './identity-program.ts';
import { noWholeAgents, WholeAgents } from './identity-whole.ts';

type Report = (line: string) => void;

const AGENTS = Number(process.argv[2] ?? 1000);
/** Each is a process of about 100 MB, and two cores have to run all of them beside the others. */
const WHOLE = Number(process.argv[3] ?? 40);
/** Rules for one workload each, one after the other: so many for those of whole agents, and so many for the others. */
const RULES = Number(process.argv[4] ?? 120);
const PROCESSES = 2;
/** Between two of them. A rule reaches the agents' disks half a second later, and they all share this machine. */
const PAUSE_MS = 1000;
const WARM_UP = 10;
/** Rules for every workload, one after the other. */
const WIDE_RULES = 3;
const GOAL_MS = 500;
/** Each agent writes its state to a disk of its own; these share one, in memory where there is such. */
const DISK = existsSync('/dev/shm') ? '/dev/shm' : undefined;

/** Prints the percentiles. Throws where something is refused or does not come. */
export async function bench(report: Report): Promise<void> {
  const reason = noWholeAgents();
  if (reason !== undefined) report(`whole agents are left out: ${reason}`);
  const [state, disk, built] = [scratch(), scratch(DISK), scratch()];
  // Workloads of other users must reach the sockets.
  chmodSync(disk.dir, 0o755);
  const estate = new Estate(await startPlane(state.dir), reason === undefined ? WHOLE : 0);
  try {
    await estate.start(disk.dir, built.dir, report);
    // The first rules find code that has not run yet; they are no part of the result.
    for (let i = 0; i < WARM_UP; i++) {
      for (const [kind, uids] of estate.kinds)
        await estate.oneRule(`warm-${kind}-${i}`, uids[i % uids.length] ?? 0);
    }
    await oneByOne(estate, report);
    for (let i = 0; i < WIDE_RULES; i++) {
      await pause();
      const times = await estate.wideRule(i);
      for (const [kind, uids] of estate.kinds) {
        const some = uids.map((uid) => times.get(uid) ?? Number.NaN);
        report(`a rule for ${AGENTS} workloads at once, ${uids.length} ${kind}:  ${percentiles(some)}`);
      }
    }
    report('from the start of the API call; every agent is told every rule. In the stream: when a client');
    report('(X509Source) on its Unix socket has read the message, its keys, and verified its chains');
  } finally {
    await estate.stop();
    for (const each of [disk, state, built]) each.remove();
  }
}

/** Rules for one workload each: the kinds by turns, since both are to see the same weather on a shared machine. */
async function oneByOne(estate: Estate, report: Report): Promise<void> {
  const took = estate.kinds.map((): number[] => []);
  const spread: number[] = [];
  const before = estate.work();
  let rules = 0;
  for (let i = 0; i < RULES; i++) {
    for (const [at, [kind, uids]] of estate.kinds.entries()) {
      await pause();
      const uid = uids[Math.floor((i * uids.length) / RULES)] ?? 0;
      const { ms, allMs } = await estate.oneRule(`one-${kind}-${i}`, uid);
      took[at]?.push(ms);
      spread.push(allMs);
      rules++;
    }
  }
  const after = estate.work();
  const each = (part: 'plane' | 'light' | 'whole') =>
    `${Math.round((after[part] - before[part]) / rules)} ms`;
  for (const [at, [kind]] of estate.kinds.entries()) {
    report(
      `a rule for one workload ${WHERE[kind]}, ${RULES} times, one a second:  ${percentiles(took[at] ?? [])}  (goal: p99 under ${GOAL_MS} ms)`,
    );
  }
  report(`  until all ${estate.lightAgents} light agents have the rule: ${percentiles(spread)}`);
  report(
    `  of the processor, for each rule and the second after it: control plane ${each('plane')}, light agents together ${each('light')}, whole agents and their workloads ${each('whole')}, all on this machine`,
  );
}

type Kind = 'in streams' | 'of light agents';
const WHERE: Readonly<Record<Kind, string>> = {
  'in streams': 'of a whole agent, in its stream',
  'of light agents': "of a light agent, at the agent's book",
};

/** The control plane and all its agents. */
class Estate {
  readonly #plane: Plane;
  readonly #light = Array.from({ length: PROCESSES }, () => new AgentProcess());
  readonly #whole: WholeAgents;
  /** User IDs of workloads, one at each agent. */
  readonly kinds: readonly (readonly [Kind, readonly number[]])[];
  readonly lightAgents: number;

  constructor(plane: Plane, whole: number) {
    this.#plane = plane;
    this.#whole = new WholeAgents(whole);
    this.lightAgents = AGENTS - whole;
    const light = Array.from({ length: this.lightAgents }, (_, uid) => uid);
    const kinds = [
      ['in streams', this.#whole.uids],
      ['of light agents', light],
    ] as const;
    this.kinds = kinds.filter(([, uids]) => uids.length > 0);
  }

  async start(dir: string, built: string, report: Report): Promise<void> {
    const count = this.#whole.uids.length;
    if (count > 0) {
      await this.#whole.start(packaged(built), this.#plane, dir);
      report(
        `${count} whole agents, each a process (interlock agent, ${Math.round(this.#whole.memory / count)} MB) with one workload at its socket`,
      );
    }
    const started = sharedClock();
    await this.#connect(dir);
    const seconds = ((sharedClock() - started) / 1000).toFixed(1);
    report(`${this.lightAgents} light agents attested and connected in ${seconds} s`);
  }

  async #connect(dir: string): Promise<void> {
    const share = Math.ceil(this.lightAgents / PROCESSES);
    await Promise.all(
      this.#light.map(async (each, i) => {
        const agents: AgentOrder[] = [];
        for (let uid = i * share; uid < Math.min(this.lightAgents, (i + 1) * share); uid++)
          agents.push({ name: `node-${uid}`, token: await this.#plane.token(`node-${uid}`), uids: [uid] });
        await each.ask({ do: 'start', address: this.#plane.address, dir, agents }, 'online');
      }),
    );
  }

  /** Gives one workload an identity, and waits until every light agent has the rule. */
  async oneRule(name: string, uid: number): Promise<{ ms: number; allMs: number }> {
    const path = `/${name.replaceAll(' ', '-')}`;
    const came = this.#collect(path, 1);
    const all = this.#nextRules();
    const start = sharedClock();
    await this.#apply(path, { spiffeId: path, selectors: [`unix:uid:${uid}`] });
    const times = await came;
    await all;
    return { ms: (times.get(uid) ?? Number.NaN) - start, allMs: sharedClock() - start };
  }

  /** Gives every workload an identity. Milliseconds by user ID. */
  async wideRule(i: number): Promise<Map<number, number>> {
    const came = this.#collect(`/wide-${i}/`, AGENTS);
    const all = this.#nextRules();
    const start = sharedClock();
    await this.#apply(`/wide-${i}`, { spiffeId: `/wide-${i}/{unix.uid}`, when: 'unix.uid >= 0' });
    const times = await came;
    await all;
    return new Map([...times].map(([uid, at]) => [uid, at - start]));
  }

  /** How long the processor has worked so far, milliseconds. */
  work(): Readonly<Record<'plane' | 'light' | 'whole', number>> {
    const light = this.#light.reduce((sum, { pid }) => sum + processorTime(pid), 0);
    return { plane: processorTime(this.#plane.pid), light, whole: this.#whole.processorTime };
  }

  async stop(): Promise<void> {
    await Promise.all([this.#whole.stop(), ...this.#light.map((each) => each.stop())]);
    await this.#plane.stop();
  }

  #apply(path: string, spec: object): Promise<unknown> {
    const metadata = { name: path.slice(1) };
    const rule = { apiVersion: 'interlock.dev/v1alpha1', kind: 'IdentityRule', metadata, spec };
    return this.#plane.call('POST', '/v1/rules', { rules: [rule] });
  }

  #nextRules(): Promise<unknown> {
    return Promise.all(this.#light.map((each) => each.next('rules')));
  }

  /** When each of `count` workloads was first told an ID whose path begins so, by user ID. */
  #collect(path: string, count: number): Promise<Map<number, number>> {
    const prefix = `spiffe://${TRUST_DOMAIN}${path}`;
    return new Promise((resolve, reject) => {
      const times = new Map<number, number>();
      const hear = (message: StateTold | Fault | { readonly is: 'online' | 'rules' | 'census' | 'open' }) => {
        if (message.is === 'fault') reject(new Error(message.reason));
        if (message.is !== 'state' || times.has(message.uid)) return;
        if (!message.ids.some((id) => id.startsWith(prefix))) return;
        times.set(message.uid, message.at);
        if (times.size < count) return;
        for (const stop of stops) stop();
        resolve(times);
      };
      const stops = [...this.#light, this.#whole.workloads].map((each) => each.onMessage(hear));
    });
  }
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
}

if (import.meta.main) await bench(console.log);
