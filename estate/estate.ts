import { writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { yamlText } from '../src/cli/yaml.ts';
import type { Child, Children } from './children.ts';
import { admit, INTERLOCK, type Plane } from './control-plane.ts';
import { type Place, ROOT } from './place.ts';
import type { Ports } from './ports.ts';
import type { Tried, Way } from './programs/attacker.ts';
import type { Tally } from './programs/tally.ts';
import { idOf, instancesOf, POLICY_PORTS, type Protocol, PROTECTED, SERVICES } from './services.ts';

const LOOK_MS = 25;
const HOST = '127.0.0.1';

/** The ports of one process: those of its program, and those on which its proxy takes what comes from others. */
interface Served {
  readonly program: Readonly<Partial<Record<Protocol, number>>>;
  readonly proxy: Readonly<Partial<Record<Protocol, number>>>;
}

/** The shop, running. */
export class Shop {
  readonly #place: Place;
  readonly #children: Children;
  readonly #plane: Plane;
  readonly #served = new Map<string, Served>();
  readonly #callers: Child[] = [];
  readonly #tallies = new Map<string, Tally>();
  readonly #agentSocket: string;

  private constructor(place: Place, children: Children, plane: Plane) {
    this.#place = place;
    this.#children = children;
    this.#plane = plane;
    this.#agentSocket = join(place.dir, 'agent.sock');
  }

  /** Starts the agent, every program and every proxy; resolves when all proxies have their state and all programs serve. */
  static async start(place: Place, ports: Ports, children: Children, plane: Plane): Promise<Shop> {
    const shop = new Shop(place, children, plane);
    await shop.#start(ports);
    return shop;
  }

  /** What the callers counted so far, all together: the load generator and the nightly job. */
  get tally(): Tally {
    const all = [...this.#tallies.values()];
    const sum = (of: (tally: Tally) => number) => all.reduce((total, tally) => total + of(tally), 0);
    return {
      calls: sum(({ calls }) => calls),
      failed: sum(({ failed }) => failed),
      rounds: sum(({ rounds }) => rounds),
      failures: all.flatMap(({ failures }) => failures),
    };
  }

  /** How many rounds each caller has gone: sessions with an order, reports. */
  get rounds(): ReadonlyMap<string, number> {
    return new Map([...this.#tallies].map(([name, { rounds }]) => [name, rounds]));
  }

  /** Where others reach a service: its first proxy. */
  address(name: string, protocol: Protocol): string {
    const [instance = name] = instancesOf(name);
    return `${HOST}:${this.#served.get(instance)?.proxy[protocol]}`;
  }

  /** Starts an attacker that has an executable of this name, and can therefore be who that is. */
  async attacker(binary: string): Promise<(way: Way) => Promise<Tried>> {
    const child = this.#children.start({
      name: `attacker-${binary}`,
      binary,
      args: [join(ROOT, 'estate/programs/attacker.ts')],
      env: { TARGET: this.address('payment', 'http'), WORKLOAD_API: this.#agentSocket },
    });
    await this.#children.ready(child);
    return async (way) => {
      child.process.send({ way });
      return (await this.#children.says<{ tried: Tried }>(child, 'tried')).tried;
    };
  }

  /** The lines that the proxy of a service has logged. */
  async proxyLog(name: string): Promise<readonly string[]> {
    const text = await readFile(join(this.#place.dir, 'logs', `${name}-proxy.log`), 'utf8');
    return text.split('\n');
  }

  async #start(ports: Ports): Promise<void> {
    const token = await admit(this.#plane, this.#place);
    const state = ['--state', join(this.#place.dir, 'agent')];
    const agent = [
      '--server',
      this.#plane.address,
      '--socket',
      this.#agentSocket,
      '--join-token-file',
      token,
    ];
    this.#children.start({ name: 'agent', binary: 'agent', args: [INTERLOCK, 'agent', ...agent, ...state] });
    const instances = Object.keys(SERVICES).flatMap((service) =>
      instancesOf(service).map((instance) => [service, instance] as const),
    );
    for (const [service, instance] of instances) {
      const each = () =>
        Object.fromEntries((SERVICES[service]?.serves ?? []).map((protocol) => [protocol, ports.take()]));
      this.#served.set(instance, { program: each(), proxy: each() });
    }
    const programs = instances.map(([service, instance]) => this.#startOne(service, instance, ports));
    const isCaller = (name: string) => !PROTECTED.includes(name);
    const serving = programs.filter(({ service }) => !isCaller(service)).map(({ start }) => start());
    await Promise.all([this.#proxiesReady(instances.length), ...serving]);
    // Those who call begin last: from their first call on, none may fail.
    await Promise.all(programs.filter(({ service }) => isCaller(service)).map(({ start }) => start()));
  }

  /** Starts the proxy of a process; gives what starts its program. */
  #startOne(service: string, instance: string, ports: Ports) {
    const { calls = [], settings = {} } = SERVICES[service] ?? {};
    const { program, proxy } = this.#served.get(instance) ?? { program: {}, proxy: {} };
    const outbound: object[] = [];
    const env: Record<string, string> = { ...settings };
    for (const [protocol, port] of Object.entries(program))
      env[`${protocol.toUpperCase()}_PORT`] = String(port);
    for (const [callee, by] of calls) {
      const here = instancesOf(callee).map((other) => {
        const listen = `${HOST}:${ports.take()}`;
        const to = `${HOST}:${this.#served.get(other)?.proxy[by]}`;
        outbound.push({ listen, to, peer: idOf(callee), protocol: 'http' });
        return listen;
      });
      env[`${callee.toUpperCase()}_${by.toUpperCase()}`] = here.join(',');
    }
    const protocols = Object.keys(program) as Protocol[]; // The keys that `#start` has put there.
    const inbound = protocols.map((protocol) => ({
      listen: `${HOST}:${proxy[protocol]}`,
      forward: `${HOST}:${program[protocol]}`,
      port: POLICY_PORTS[protocol],
      protocol: 'http',
    }));
    const document = {
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'Proxy',
      metadata: { name: instance },
      spec: { workload: idOf(service), inbound, outbound },
    };
    const dir = join(this.#place.dir, 'proxies', instance);
    const file = `${dir}.yaml`;
    writeFileSync(file, yamlText(document), { mode: 0o600 });
    const args = ['--server', this.#plane.address, '--workload-api', this.#agentSocket, '--state', dir];
    this.#children.start({
      name: `${instance}-proxy`,
      binary: service,
      args: [INTERLOCK, 'proxy', file, ...args, '--instance', instance, '--drain', '1s'],
    });
    const start = async () => {
      const child = this.#children.start({
        name: instance,
        binary: service,
        args: [join(ROOT, `estate/programs/${service}.ts`)],
        env,
      });
      if (PROTECTED.includes(service)) return this.#children.ready(child);
      this.#callers.push(child);
      child.process.on('message', (message: { readonly tally?: Tally }) => {
        if (message.tally !== undefined) this.#tallies.set(instance, message.tally);
      });
      return this.#children.ready(child);
    };
    return { service, start };
  }

  /** Resolves when every proxy is connected and has its state in force. */
  async #proxiesReady(count: number): Promise<void> {
    const look = async () => {
      for (;;) {
        const { points } = await this.#plane.api.call('points.list');
        const good = points.filter(({ connected, applied, wanted }) => connected && applied >= wanted);
        if (good.length === count) return;
        await pause(LOOK_MS * 4);
      }
    };
    await Promise.race([look(), this.#children.died]);
  }
}
