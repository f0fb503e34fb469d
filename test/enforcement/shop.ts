import { Writable } from 'node:stream';
import { setInterval } from 'node:timers/promises';
import { main } from '../../src/cli/cli.ts';
import { Terminal } from '../../src/cli/terminal.ts';
import { Node, type Opened, Plane, type PlaneOptions } from '../identity/harness.ts';
import { noOtherUsers } from '../identity/processes.ts';
import { DEADLINE_MS } from '../identity/watched.ts';
import { idOf, Program, type ProxyOrder, type RunningProxy, startProxy } from './processes.ts';
import type { Call, Count } from './program.ts';

/** The services of the shop, each with a user of its own; their identities are named as they are. */
export const USERS = {
  web: 31_001,
  catalogue: 31_002,
  cart: 31_003,
  store: 31_004,
  checkout: 31_005,
  payment: 31_006,
  nightly: 31_007,
  /** Nobody calls it and it calls nobody: an identity in the wrong hands. */
  mail: 31_008,
} as const;
export type Service = keyof typeof USERS;

/** Who gets which identity: each user its service's. */
export const RULES = Object.entries(USERS)
  .map(
    ([name, uid]) => `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: /ns/shop/sa/${name}, selectors: ["unix:uid:${uid}"], ttl: 1h }
`,
  )
  .join('---');

/** Why this machine cannot run these tests, or undefined; says so. */
export function noShop(what: string): string | undefined {
  const reason = noOtherUsers();
  if (reason !== undefined) console.log(`Left out: ${what}: ${reason}.`);
  return reason;
}

/** Looks again and again until it holds, for what tells nobody when it changes. */
export async function eventually<T>(
  look: () => Promise<T | undefined | false> | T | undefined | false,
  what: string,
  describe: () => unknown = () => '',
): Promise<T> {
  const end = Date.now() + DEADLINE_MS;
  const now = await look();
  if (now !== undefined && now !== false) return now;
  for await (const _ of setInterval(20)) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) break;
  }
  throw new Error(`it did not happen in time: ${what}\n${JSON.stringify(await describe(), undefined, 2)}`);
}

/** What one command printed, and its exit code. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command of the command line in this process. */
export async function command(...argv: readonly string[]): Promise<Ran> {
  const sink = () => {
    const chunks: string[] = [];
    const stream = new Writable({
      write(chunk, _encoding, done) {
        chunks.push(String(chunk));
        done();
      },
    });
    return { stream, text: () => chunks.join('') };
  };
  const [out, err] = [sink(), sink()];
  const code = await main(argv, { terminal: new Terminal(out.stream, err.stream, {}), now: Date.now });
  return { code, out: out.text(), err: err.text() };
}

/** A flip as the control plane lists it. */
export interface FlipShown {
  readonly from: { readonly kind: string; readonly id?: string; readonly from?: string };
  readonly to: string;
  readonly action: { readonly kind: string; readonly method?: string; readonly path?: string };
  readonly refused: boolean;
  readonly count: number;
  readonly before: { readonly allowed: boolean };
  readonly after: { readonly allowed: boolean; readonly decidedBy: string; readonly rule?: string };
}

/** A control plane, a node agent, and what is asked of them. */
export class Estate {
  readonly plane: Plane;
  readonly node: Node;
  readonly opened: Opened;

  private constructor(opened: Opened, plane: Plane, node: Node) {
    this.opened = opened;
    this.plane = plane;
    this.node = node;
  }

  static async start(opened: Opened, options: PlaneOptions = {}): Promise<Estate> {
    const plane = await Plane.start(opened, { rules: RULES, ...options });
    const token = await plane.token('node-1');
    return new Estate(opened, plane, await Node.online(opened, { address: plane.address, token }));
  }

  /** Starts the proxy of a service. */
  proxy(name: Service, order: Omit<ProxyOrder, 'name' | 'uid' | 'endpoint'>): Promise<RunningProxy> {
    const { endpoint } = this.node;
    return startProxy(this.opened, {
      name,
      uid: USERS[name],
      endpoint,
      address: this.plane.address,
      ...order,
    });
  }

  /** Runs a command on the state of the control plane. Throws what it printed where it does not end with `code`. */
  async run(code: number, ...argv: readonly string[]): Promise<string> {
    const ran = await command(...argv, '--state', this.plane.state);
    if (ran.code !== code) throw new Error(`${argv.join(' ')}: exit ${ran.code}\n${ran.out}${ran.err}`);
    return ran.out;
  }

  async flips(to?: Service): Promise<readonly FlipShown[]> {
    const query = to === undefined ? {} : { to: idOf(to) };
    return (await this.plane.api.get<{ flips: FlipShown[] }>('/v1/flips', query)).flips;
  }

  /** How often what fits was refused at a service, by the evidence: at the handshake, or by the rules. */
  async denials(to: Service, fits: (access: Denied) => boolean): Promise<number> {
    const { accesses } = await this.plane.api.call('accesses.list', { query: { to: idOf(to) } });
    return accesses.filter(fits).reduce((sum, { outcomes }) => sum + outcomes.denied, 0);
  }

  /** A flip that fits, as soon as there is one. */
  flip(to: Service, fits: (flip: FlipShown) => boolean): Promise<FlipShown> {
    const what = `a flip at ${to}`;
    return eventually(
      async () => (await this.flips(to)).find(fits),
      what,
      () => this.flips(to),
    );
  }
}

/** An access as far as tests look at who wanted what. */
export interface Denied {
  readonly from: string;
  readonly action: { readonly kind: string; readonly path?: string };
}

/** A policy for a service, as YAML: who may call it, with which rules. */
export function policyOf(
  service: Service,
  rules: Readonly<Record<string, { readonly from: readonly Service[]; readonly to: string }>>,
): string {
  const lines = Object.entries(rules).map(
    ([name, { from, to }]) =>
      `    - { name: ${name}, from: [${from.map((id) => `{ workload: ${idOf(id)} }`).join(', ')}], to: [${to}] }`,
  );
  return `
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${service} }
spec:
  protects: { workload: ${idOf(service)} }
  tier: standard
  connectionGrace: 1s
  rules:
${lines.join('\n')}
`;
}

/** All the programs and proxies of the shop, and who calls whom. */
export interface Shop {
  readonly programs: ReadonlyMap<string, Program>;
  readonly proxies: ReadonlyMap<string, RunningProxy>;
  /** Counts of all calls so far, as `CALLER CALL`. */
  counts(): Promise<ReadonlyMap<string, Count>>;
  /** Has the programs stop calling, and gives the last counts. */
  rest(): Promise<ReadonlyMap<string, Count>>;
}

/** Names of the two proxies of the cart: a canary of half of them has one of them. */
export interface ShopOptions {
  readonly cartInstances: readonly [string, string];
}

/** Starts the shop: web -> catalogue, cart; cart -> store; checkout -> cart, payment; a nightly job -> catalogue. */
export async function startShop(estate: Estate, { cartInstances }: ShopOptions): Promise<Shop> {
  const { opened } = estate;
  const programs = new Map<string, Program>();
  const proxies = new Map<string, RunningProxy>();
  const program = async (name: string, service: Service, kind: 'http' | 'tcp' | 'none') => {
    const started = await Program.start(opened, USERS[service], kind);
    programs.set(name, started.program);
    return started;
  };
  const inbound = async (service: Service, kind: 'http' | 'tcp') => {
    const { port } = await program(service, service, kind);
    const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol: kind };
    const proxy = await estate.proxy(service, { inbound: [route] });
    proxies.set(service, proxy);
    return proxy.inbound[0] ?? 0;
  };
  const out = (to: number, peer: Service, protocol = 'http') => ({
    listen: '127.0.0.1:0',
    to: `127.0.0.1:${to}`,
    peer: idOf(peer),
    protocol,
  });
  const [catalogue, store, payment] = await Promise.all([
    inbound('catalogue', 'http'),
    inbound('store', 'tcp'),
    inbound('payment', 'http'),
  ]);
  const carts = await Promise.all(
    cartInstances.map(async (instance) => {
      const { port, program: cart } = await program(instance, 'cart', 'http');
      const proxy = await estate.proxy('cart', {
        instance,
        inbound: [{ listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol: 'http', port: 8080 }],
        outbound: [out(store, 'store', 'tcp')],
      });
      proxies.set(instance, proxy);
      cart.tell({ ask: [{ name: 'store', port: proxy.outbound[0] ?? 0 }] });
      return proxy.inbound[0] ?? 0;
    }),
  );
  const caller = async (
    service: Service,
    calls: readonly (readonly [at: number, peer: Service, Omit<Call, 'port'>])[],
  ) => {
    const { program: own } = await program(service, service, 'none');
    const proxy = await estate.proxy(service, { outbound: calls.map(([at, peer]) => out(at, peer)) });
    proxies.set(service, proxy);
    own.tell({ load: calls.map(([, , call], i) => ({ ...call, port: proxy.outbound[i] ?? 0 })) });
  };
  const [cartA = 0, cartB = 0] = carts;
  await Promise.all([
    caller('web', [
      [catalogue, 'catalogue', { name: 'items', method: 'GET', path: '/items' }],
      [catalogue, 'catalogue', { name: 'search', method: 'POST', path: '/search', body: 'x'.repeat(20_000) }],
      [cartA, 'cart', { name: 'cart-a', method: 'POST', path: '/cart/add', body: 'item=1' }],
      [cartB, 'cart', { name: 'cart-b', method: 'POST', path: '/cart/add', body: 'item=1' }],
    ]),
    caller('checkout', [
      [cartA, 'cart', { name: 'cart-a', method: 'GET', path: '/cart' }],
      [cartB, 'cart', { name: 'cart-b', method: 'GET', path: '/cart' }],
      [payment, 'payment', { name: 'pay', method: 'POST', path: '/charge', body: 'amount=1' }],
    ]),
    caller('nightly', [
      [catalogue, 'catalogue', { name: 'export', method: 'GET', path: '/export', every: 100 }],
    ]),
  ]);
  const gather = async (act: 'counts' | 'rest') => {
    const counts = new Map<string, Count>();
    for (const name of ['web', 'checkout', 'nightly'] as const) {
      const own = (await programs.get(name)?.[act]()) ?? {};
      for (const [call, count] of Object.entries(own)) counts.set(`${name} ${call}`, count);
    }
    return counts;
  };
  return { programs, proxies, counts: () => gather('counts'), rest: () => gather('rest') };
}
