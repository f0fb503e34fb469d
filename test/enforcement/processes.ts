import { type ChildProcess, spawn } from 'node:child_process';
import { chownSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { SpiffeId } from '../../src/access/index.ts';
import type { Opened } from '../identity/harness.ts';
import { LogLines, Watched } from '../identity/watched.ts';
import { yamlText } from '../../src/cli/yaml.ts';
import type { Count, ToProgram } from './program.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url));

/** A process that ends with the test, as a user. */
export interface Running {
  readonly child: ChildProcess;
  readonly log: LogLines;
  readonly ended: Promise<number | NodeJS.Signals | null>;
  /** Ends it at once, as a crash would, and waits until it is gone. */
  kill(): Promise<void>;
}

/** Where and as whom a process runs: in a network namespace, where one is named. */
export interface Place {
  readonly uid?: number | undefined;
  readonly network?: string | undefined;
}

function run(opened: Opened, args: readonly string[], { uid, network }: Place): Running {
  // Into the namespace only root comes, who then becomes the user.
  const become =
    uid === undefined ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--'];
  const enter = network === undefined ? [] : ['ip', 'netns', 'exec', network, ...become];
  const [program = '', ...words] = [...enter, process.execPath, ...args];
  const child = spawn(program, words, {
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    cwd: '/',
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
    ...(uid === undefined || network !== undefined ? {} : { uid, gid: uid }),
  });
  const log = new LogLines();
  // It is piped: see above.
  if (child.stderr !== null) createInterface(child.stderr).on('line', (line) => log.take(line));
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal)),
  );
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  opened.later(kill);
  return { child, log, ended, kill };
}

/** A program of a workload: what program.ts does. */
export class Program extends Watched {
  readonly running: Running;
  readonly #said: object[] = [];

  private constructor(running: Running) {
    super();
    this.running = running;
    running.child.on('message', (message) => {
      this.#said.push(message as object);
      this.changed();
    });
  }

  /** Starts one and gives it with the port on which it listens. */
  static async start(
    opened: Opened,
    uid: number,
    kind: 'http' | 'tcp' | 'relay' | 'none',
    network?: string,
  ): Promise<{ readonly program: Program; readonly port: number }> {
    const program = new Program(run(opened, [PROGRAM, kind], { uid, network }));
    const { port } = await program.#says<{ port: number }>('port');
    return { program, port };
  }

  tell(message: ToProgram): void {
    this.running.child.send(message);
  }

  /** How its calls went so far, by their names. */
  async counts(): Promise<Readonly<Record<string, Count>>> {
    this.tell({ counts: true });
    return (await this.#says<{ counts: Record<string, Count> }>('counts')).counts;
  }

  /** The same, once the calls on their way are done and no more are made. */
  async rest(): Promise<Readonly<Record<string, Count>>> {
    this.tell({ rest: true });
    return (await this.#says<{ counts: Record<string, Count> }>('counts')).counts;
  }

  /** Everything that it was asked, with who it was told that asked. */
  async seen(): Promise<readonly string[]> {
    this.tell({ seen: true });
    return (await this.#says<{ seen: string[] }>('seen')).seen;
  }

  /** Has it open a connection on which it says this and then nothing; resolves once that is written. */
  async say(port: number, text: string): Promise<void> {
    this.tell({ say: { port, text } });
    await this.#says('said');
  }

  async #says<T>(field: string): Promise<T> {
    const from = this.#said.length;
    const said = await this.until(
      () => this.#said.slice(from).find((message) => field in message),
      `a message with "${field}"`,
      () => this.running.log.lines.map(({ text }) => text).join('\n'),
    );
    // What program.ts sends under this name.
    return said as T;
  }
}

/** An inbound or outbound route as a Proxy document has it. */
export type Route = Readonly<Record<string, unknown>>;

export interface ProxyOrder {
  readonly name: string;
  readonly uid: number;
  readonly network?: string;
  readonly endpoint: string;
  /** Of the control plane; absent: it has none. */
  readonly address?: string;
  readonly instance?: string;
  readonly inbound?: readonly Route[];
  readonly outbound?: readonly Route[];
  readonly timeouts?: Readonly<Record<string, number>>;
  /** Of a proxy that ran before. */
  readonly dir?: string;
}

interface Bound {
  readonly host: string;
  readonly port: number;
}

/** A proxy that runs, and what it would be started with again. */
export interface RunningProxy extends Running {
  readonly order: ProxyOrder & { readonly dir: string };
  /** Ports of its routes, in their order. */
  readonly inbound: readonly number[];
  readonly outbound: readonly number[];
  /** Its state directory. */
  readonly state: string;
  /** Its own socket. */
  readonly socketPath: string;
}

/** Starts `interlock proxy` as a user of its own, and gives it once it serves. */
export async function startProxy(opened: Opened, given: ProxyOrder): Promise<RunningProxy> {
  const { name, uid, endpoint, address, instance = name, inbound = [], outbound = [], timeouts } = given;
  const dir = given.dir ?? opened.dir();
  const state = join(dir, 'state');
  if (given.dir === undefined) {
    mkdirSync(state, { mode: 0o700 });
    chownSync(state, uid, uid);
  }
  const file = join(dir, 'proxy.yaml');
  const spec = { inbound, outbound, ...(timeouts === undefined ? {} : { timeouts }) };
  writeFileSync(
    file,
    yamlText({ apiVersion: 'interlock.dev/v1alpha1', kind: 'Proxy', metadata: { name }, spec }),
    { mode: 0o644 },
  );
  const args = ['proxy', file, '--state', state, '--instance', instance, '--drain', '1s'];
  if (address !== undefined) args.push('--server', address);
  args.push('--workload-api', endpoint.replace('unix://', ''));
  const running = run(opened, [MAIN, ...args], { uid, network: given.network });
  const { fields } = await running.log.line('the proxy serves');
  const portsOf = (field: string) => (fields[field] as readonly Bound[]).map(({ port }) => port);
  const at = { inbound: portsOf('inbound'), outbound: portsOf('outbound') };
  const bound = (routes: readonly Route[], ports: readonly number[]) =>
    routes.map((route, i) => ({ ...route, listen: `127.0.0.1:${ports[i] ?? 0}` }));
  const order = {
    ...given,
    dir,
    inbound: bound(inbound, at.inbound),
    outbound: bound(outbound, at.outbound),
  };
  return { ...running, ...at, order, state, socketPath: join(state, 'proxy.sock') };
}

/** Starts `interlock ...` as the user of this process. */
export function interlock(opened: Opened, ...args: readonly string[]): Running {
  return run(opened, [MAIN, ...args], {});
}

/** The same, in a network namespace. */
export function interlockIn(opened: Opened, network: string, ...args: readonly string[]): Running {
  return run(opened, [MAIN, ...args], { network });
}

/** The SPIFFE ID of a service of the shop. */
export function idOf(service: string): SpiffeId {
  // Made from a name without anything that a SPIFFE ID could not have.
  return `spiffe://example.org/ns/shop/sa/${service}` as SpiffeId;
}
