import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isInShare } from '../../../src/rollout/index.ts';
import {
  idOf,
  interlock,
  Program,
  type Route,
  type Running,
  type RunningProxy,
  startProxy,
} from '../../enforcement/processes.ts';
import type { Count } from '../../enforcement/program.ts';
import { type Opened, socketOf } from '../../identity/harness.ts';
import { startEnvoy } from '../envoy-process.ts';
import { type Ended, runToEnd } from '../identity/children.ts';
import { putInto } from '../identity/tools.ts';
import { freePort } from '../ports.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));

/** Each workload has a user of its own; mail is an identity in the wrong hands. */
export const USERS = { web: 42_001, shop: 42_002, store: 42_003, mail: 42_004 } as const;
export type Service = keyof typeof USERS;
/** The user of the programs behind the proxies: nobody whom the agent knows. */
const NOBODY = 42_009;
/** The ports of the policies, whatever the proxies listen on. */
const SHOP_PORT = 8080;
const STORE_PORT = 6379;
/** The share of the first canary, and an instance of each proxy that is in it. */
export const SHARE = 0.1;
const names = Array.from({ length: 200 }, (_, i) => i);
function instanceOf(service: Service): string {
  const inShare = (i: number) => isInShare({ workload: idOf(service), instance: `${service}-${i}` }, SHARE);
  return `${service}-${names.find(inShare)}`;
}
export const INSTANCES = { shop: instanceOf('shop'), store: instanceOf('store') };

/** What a document of the shop's Envoy may have beside the usual: one more way in. */
interface ShopDocument {
  readonly more?: readonly Route[];
}

/** A caller: its program and its own proxy, whose ways out lead to the shop and to the store. */
export interface Caller {
  readonly program: Program;
  readonly proxy: RunningProxy;
  readonly toShop: number;
  readonly toStore: number;
}

/**
 * web (built-in proxy) -> shop (Envoy) -> store (built-in proxy), and mail, who is to reach nobody; a control plane and
 * an agent. All are processes of their own, and everything is told to them by the command line.
 */
export class Scene {
  readonly opened: Opened;
  readonly #dir: string;
  readonly #state: string;
  readonly #bin: string;
  #server: Running | undefined;
  #port = 0;
  #callers: Readonly<Record<'web' | 'mail', Caller>> | undefined;
  #shop: { readonly program: Program; readonly forward: number } | undefined;
  #store: { readonly program: Program; readonly proxy: RunningProxy } | undefined;
  #before: Count = { ok: 0, failed: 0, reasons: [] };
  readonly #ports = { shop: 0, shopOut: 0, admin: 0 };

  constructor(opened: Opened, bin: string) {
    this.opened = opened;
    this.#dir = opened.dir();
    this.#state = join(this.#dir, 'plane');
    this.#bin = bin;
  }

  get web(): Caller {
    return there(this.#callers).web;
  }
  get mail(): Caller {
    return there(this.#callers).mail;
  }
  get store(): { readonly program: Program; readonly proxy: RunningProxy } {
    return there(this.#store);
  }
  get shop(): { readonly program: Program } {
    return there(this.#shop);
  }
  /** Where the shop's Envoy and the store's proxy listen for their callers. */
  get listening(): { readonly shop: number; readonly store: number } {
    return { shop: this.#ports.shop, store: this.store.proxy.inbound[0] ?? 0 };
  }

  /** `interlock ...`, with the state of the control plane. */
  async run(...args: readonly string[]): Promise<Ended> {
    return runToEnd({ command: process.execPath, args: [MAIN, ...args, '--state', this.#state] });
  }

  /** What it printed. Throws where it does not end with `code`. */
  async says(code: number, ...args: readonly string[]): Promise<string> {
    const ran = await this.run(...args);
    if (ran.code === code) return ran.out;
    throw new Error(`interlock ${args.join(' ')}: exit ${ran.code}: ${ran.out} ${ran.err}`);
  }

  /** The control plane, with one agent and an identity for each user. */
  async startControl(): Promise<void> {
    await this.says(0, 'authority', 'init', '--trust-domain', 'example.org');
    await this.serve();
    const rules = Object.entries(USERS).map(
      ([name, uid]) => `apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: /ns/shop/sa/${name}, selectors: ["unix:uid:${uid}"], ttl: 1h }
`,
    );
    await this.says(0, 'identity', 'rules', 'apply', this.file('rules.yaml', rules.join('---\n')));
    const token = this.file('token', await this.says(0, 'authority', 'token', 'node-1'));
    chmodSync(token, 0o600);
    const where = ['--state', join(this.#dir, 'agent'), '--socket', socketOf(this.#dir)];
    const { address } = this;
    const agent = interlock(this.opened, 'agent', '--server', address, ...where, '--join-token-file', token);
    await agent.log.line('connected to the control plane');
  }

  /** Starts the control plane, again at the same port. */
  async serve(): Promise<void> {
    const where = ['--state', this.#state, '--listen', `127.0.0.1:${this.#port}`];
    this.#server = interlock(this.opened, 'authority', 'serve', ...where);
    const { fields } = await this.#server.log.line('the control plane serves');
    this.#port = Number(fields['port']);
  }

  /** Ends the control plane as a crash would. */
  async kill(): Promise<void> {
    await there(this.#server).kill();
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** The store: a program of TCP behind a built-in proxy. */
  async startStore(): Promise<void> {
    const { program, port } = await Program.start(this.opened, NOBODY, 'tcp');
    const route = { listen: '127.0.0.1:0', forward: `127.0.0.1:${port}`, protocol: 'tcp', port: STORE_PORT };
    this.#store = { program, proxy: await this.#proxy('store', { inbound: [route] }) };
  }

  /** The shop: a program of HTTP that asks the store for each answer, behind an Envoy as the bootstrap says. */
  async startShop(): Promise<void> {
    const { program, port: forward } = await Program.start(this.opened, NOBODY, 'http');
    this.#shop = { program, forward };
    for (const name of ['shop', 'shopOut', 'admin'] as const) this.#ports[name] = await freePort();
    program.tell({ ask: [{ name: 'store', port: this.#ports.shopOut }] });
    await this.applyShop();
    const who = ['--workload', idOf('shop'), '--instance', INSTANCES.shop];
    const where = ['--server', this.address, '--agent-socket', socketOf(this.#dir)];
    const { admin } = this.#ports;
    const printed = await this.says(0, 'envoy', 'bootstrap', ...who, ...where, '--admin-port', String(admin));
    const place = join(this.#dir, 'envoy');
    mkdirSync(place);
    chownSync(place, USERS.shop, USERS.shop);
    const bin = putInto(this.#dir, this.#bin, 'envoy-program');
    // JSON is what the command prints.
    const bootstrap = JSON.parse(printed) as object;
    const envoy = await startEnvoy(bin, place, `http://127.0.0.1:${admin}`, bootstrap, USERS.shop);
    this.opened.later(() => envoy.stop());
  }

  /** Gives the control plane the document of the shop's Envoy. */
  applyShop({ more = [] }: ShopDocument = {}): Promise<Ended> {
    const { shop, shopOut } = this.#ports;
    const inbound = [
      { listen: `127.0.0.1:${shop}`, forward: `127.0.0.1:${there(this.#shop).forward}`, port: SHOP_PORT },
      ...more,
    ];
    const outbound = [{ listen: `127.0.0.1:${shopOut}`, ...this.#way('store') }];
    const spec = { workload: idOf('shop'), inbound, outbound };
    const document = {
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'Proxy',
      metadata: { name: 'shop' },
      spec,
    };
    return this.run('envoy', 'apply', this.file('shop.yaml', JSON.stringify(document)));
  }

  /** Those who call: web as it should, and mail. */
  async startCallers(): Promise<void> {
    const caller = async (name: 'web' | 'mail'): Promise<Caller> => {
      const { program } = await Program.start(this.opened, USERS[name], 'none');
      const outbound = (['shop', 'store'] as const).map((to) => ({
        listen: '127.0.0.1:0',
        ...this.#way(to),
      }));
      const proxy = await this.#proxy(name, { outbound });
      const [toShop = 0, toStore = 0] = proxy.outbound;
      return { program, proxy, toShop, toStore };
    };
    this.#callers = { web: await caller('web'), mail: await caller('mail') };
  }

  /** Has web call the shop again and again. */
  load(): void {
    this.web.program.tell({
      load: [{ name: 'items', method: 'GET', path: '/items', every: 25, port: this.web.toShop }],
    });
  }

  /** How the calls of web went, of all loads. */
  async calls(): Promise<Count> {
    return sum(this.#before, await this.web.program.counts());
  }

  /** Has web make no more calls, and gives how they went. */
  async rest(): Promise<Count> {
    const counts = await this.web.program.rest();
    return (this.#before = sum(this.#before, counts));
  }

  /** A number of Envoy's own counters; 0 where it has none of that name. */
  async envoyCounter(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#ports.admin}/stats?filter=${name}$`)).text();
    return Number(/: (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** The path of a name in the directory of this run. */
  path(name: string): string {
    return join(this.#dir, name);
  }

  /** Writes a file and gives its path. */
  file(name: string, text: string): string {
    const path = this.path(name);
    writeFileSync(path, text);
    return path;
  }

  #way(to: 'shop' | 'store'): Route {
    const protocol = to === 'shop' ? 'http' : 'tcp';
    return { to: `127.0.0.1:${this.listening[to]}`, peer: idOf(to), protocol };
  }

  #proxy(
    name: Service,
    routes: { readonly inbound?: readonly Route[]; readonly outbound?: readonly Route[] },
  ): Promise<RunningProxy> {
    const endpoint = `unix://${socketOf(this.#dir)}`;
    const instance = name === 'store' ? INSTANCES.store : `${name}-0`;
    const { address } = this;
    return startProxy(this.opened, { name, uid: USERS[name], endpoint, address, instance, ...routes });
  }
}

function sum(before: Count, counts: Readonly<Record<string, Count>>): Count {
  const { ok, failed, reasons } = counts['items'] ?? { ok: 0, failed: 0, reasons: [] };
  return { ok: before.ok + ok, failed: before.failed + failed, reasons: [...before.reasons, ...reasons] };
}

/** What was started. */
function there<T>(part: T | undefined): T {
  if (part === undefined) throw new TypeError('it was not started yet');
  return part;
}
