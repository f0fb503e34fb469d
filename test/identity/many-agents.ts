import { text } from 'node:stream/consumers';
import { parseSpiffeId } from '../../src/access/index.ts';
import { parseBundle } from '../../src/identity/index.ts';
import { systemTimers, type Timers } from '../../src/node/index.ts';
import { LightAgent } from './light-agent.ts';

/** What this process is given on its standard input. */
export interface ManyAgents {
  readonly address: string;
  /** A SPIFFE bundle document of example.org. */
  readonly bundle: string;
  readonly agents: readonly {
    readonly spiffeId: string;
    readonly chain: readonly string[];
    readonly key: string;
  }[];
}

/**
 * Many light agents in one process. It says {"connected": N} once all are; when each has lost its connection and found
 * the control plane again, every one asks for an SVID, and it says {"back": N, "waits": [ms], "serials": [hex]}.
 */
const given = JSON.parse(await text(process.stdin)) as ManyAgents;
const bundles = new Map([['example.org', parseBundle(given.bundle, 'example.org')]]);
const bytes = (base64: string) => Buffer.from(base64, 'base64');
const alive = setInterval(() => {}, 60_000);

/** The machine's time, which notes the first wait after the connection was lost. */
class NotingTimers implements Timers {
  waits: number[] | undefined;

  now(): number {
    return systemTimers.now();
  }

  random(): number {
    return systemTimers.random();
  }

  after(ms: number, call: () => void): () => void {
    this.waits?.push(ms);
    return systemTimers.after(ms, call);
  }
}

const agents = given.agents.map(({ spiffeId, chain, key }) => {
  const timers = new NotingTimers();
  const svid = {
    spiffeId: parseSpiffeId(spiffeId),
    chain: chain.map(bytes),
    key: bytes(key),
    attestor: 'join_token',
  };
  return { timers, agent: LightAgent.known({ address: given.address, timers }, svid, bundles) };
});
await Promise.all(agents.map(({ agent }) => agent.start().connected()));
for (const { timers } of agents) timers.waits = [];
console.log(JSON.stringify({ connected: agents.length }));

const serials = await Promise.all(
  agents.map(async ({ agent }, i) => {
    const before = agent.connections;
    await agent.until(() => agent.online && agent.connections > before, 'a second connection');
    return (await agent.sign(i)).serial;
  }),
);
const waits = agents.map(({ timers }) => timers.waits?.[0] ?? 0);
console.log(JSON.stringify({ back: agents.length, waits, serials }));
for (const { agent } of agents) agent.close();
clearInterval(alive);
