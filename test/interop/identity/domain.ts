import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Child, type Ended, runToEnd } from './children.ts';

const MAIN = fileURLToPath(new URL('../../../src/cli/main.ts', import.meta.url));

/** An authority as `interlock authority show --json` has it. */
export interface AuthorityShown {
  readonly id: string;
  readonly state: string;
  readonly live: Readonly<Record<string, number>>;
}

/** A trust domain of its own: a control plane and one agent, each a process of this checkout. */
export class Domain {
  readonly name: string;
  readonly #dir: string;
  readonly #delegates: readonly string[];
  #server: Child | undefined;
  #agent: Child | undefined;
  #address = '';
  /** The port of the bundle endpoint. */
  endpoints = 0;

  constructor(dir: string, name: string, delegates: readonly string[] = []) {
    this.name = name;
    this.#dir = join(dir, name);
    this.#delegates = delegates;
    mkdirSync(join(this.#dir, 'run'), { recursive: true });
    // Workloads of other users reach the socket, and nothing else.
    for (const path of [dir, this.#dir, join(this.#dir, 'run')]) chmodSync(path, 0o711);
  }

  get socket(): string {
    return join(this.#dir, 'run', 'agent.sock');
  }

  get adminSocket(): string {
    return join(this.#dir, 'run', 'admin.sock');
  }

  get agent(): Child {
    if (this.#agent === undefined) throw new Error('the agent was not started');
    return this.#agent;
  }

  /** `interlock COMMAND`, with the state of this control plane. Throws with what it said on standard error. */
  async interlock(...args: readonly string[]): Promise<string> {
    const ended = await this.#run(args);
    if (ended.code === 0) return ended.out;
    throw new Error(`interlock ${args.slice(0, 3).join(' ')}: ${ended.err.trim()}`);
  }

  /** Sets up the authority and starts the control plane and the agent. */
  async start(): Promise<void> {
    await this.serve();
    const token = (await this.interlock('authority', 'token', 'node-1')).trim();
    await this.startAgent(token);
  }

  /** Sets up the authority and starts the control plane alone. */
  async serve(...more: readonly string[]): Promise<void> {
    await this.interlock('authority', 'init', '--trust-domain', this.name);
    await this.#serve('127.0.0.1:0', more);
  }

  /** HOST:PORT of the control plane. */
  get address(): string {
    return this.#address;
  }

  /** Ends the control plane alone, as a crash does. */
  async killServer(): Promise<void> {
    await this.#server?.stop('SIGKILL');
  }

  /** Starts the control plane again, where it was. */
  serveAgain(): Promise<void> {
    return this.#serve(this.#address, []);
  }

  async #serve(address: string, more: readonly string[]): Promise<void> {
    const listen = ['--listen', address, '--endpoints', '127.0.0.1:0'];
    this.#server = this.#spawn('authority', 'serve', '--state', this.#state, ...listen, ...more);
    const { port, endpoints } = await this.#server.line(portsOf, 0, 'the control plane');
    this.#address = `127.0.0.1:${port}`;
    this.endpoints = endpoints;
  }

  /** Starts an agent that proves itself otherwise, in place of the one before; it may be refused. */
  async startOther(name: string, ...args: readonly string[]): Promise<Child> {
    await this.#agent?.stop();
    const state = ['--server', this.#address, '--state', join(this.#dir, name), '--socket', this.socket];
    this.#agent = this.#spawn('agent', ...state, ...args);
    return this.#agent;
  }

  /** Starts the agent, again without a token: it was attested before. */
  async startAgent(token?: string): Promise<void> {
    const args = ['--server', this.#address, '--state', join(this.#dir, 'agent')];
    args.push('--socket', this.socket, '--admin-socket', this.adminSocket);
    for (const id of this.#delegates) args.push('--delegate', id);
    if (token !== undefined) args.push('--join-token', token);
    this.#agent = this.#spawn('agent', ...args);
    await this.#agent.line((line) =>
      line.includes('"msg":"connected to the control plane"') ? true : undefined,
    );
  }

  /** Adds rules, or replaces those of the same names. */
  async rules(...specs: readonly (readonly [name: string, spec: object])[]): Promise<void> {
    const file = join(this.#dir, 'rules.yaml');
    const documents = specs.map(([name, spec]) => ({
      apiVersion: 'interlock.dev/v1alpha1',
      kind: 'IdentityRule',
      metadata: { name },
      spec,
    }));
    writeFileSync(file, documents.map((document) => JSON.stringify(document)).join('\n---\n'));
    await this.interlock('identity', 'rules', 'apply', file);
  }

  async authorities(): Promise<readonly AuthorityShown[]> {
    // The command's own output, as its help describes it.
    const shown = JSON.parse(await this.interlock('authority', 'show', '--json')) as {
      authorities: AuthorityShown[];
    };
    return shown.authorities;
  }

  /** The ID of the authority that signs. */
  async active(): Promise<string> {
    const found = (await this.authorities()).find(({ state }) => state === 'active');
    if (found === undefined) throw new Error(`no authority of ${this.name} is active`);
    return found.id;
  }

  /** The SPIFFE bundle document in a file. */
  async bundleFile(): Promise<string> {
    const file = join(this.#dir, 'bundle.json');
    writeFileSync(file, await this.interlock('authority', 'bundle', '--format', 'spiffe'));
    return file;
  }

  /** A directory for one user. */
  directory(name: string, chown: (path: string) => void): string {
    const path = join(this.#dir, name);
    mkdirSync(path, { recursive: true });
    chown(path);
    return path;
  }

  /** Ends the processes, the agent first. */
  async stop(): Promise<void> {
    await this.#agent?.stop();
    await this.#server?.stop();
  }

  get #state(): string {
    return join(this.#dir, 'state');
  }

  #spawn(...args: readonly string[]): Child {
    return new Child({ command: process.execPath, args: [MAIN, ...args] });
  }

  #run(args: readonly string[]): Promise<Ended> {
    return runToEnd({ command: process.execPath, args: [MAIN, ...args, '--state', this.#state] });
  }
}

function portsOf(line: string): { port: number; endpoints: number } | undefined {
  const match = /"port":(\d+),"endpoints":(\d+),"msg":"the control plane serves"/.exec(line);
  return match === null ? undefined : { port: Number(match[1]), endpoints: Number(match[2]) };
}
