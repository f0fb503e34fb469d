import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SpiffeId } from '../../src/access/index.ts';
import { PathApi } from '../path-api.ts';
import { parseCertificates, readIdentityRules, readJoinToken } from '../../src/identity/index.ts';
import {
  Agent,
  trustByPin,
  joinTokenEvidence,
  type NodeEvidence,
  type ServerTrust,
  systemTimers,
  type Timers,
} from '../../src/node/index.ts';
import type { X509SVID, X509SVIDResponse } from '../../src/proto/index.ts';
import {
  DEFAULT_AUTHORITY_TTL,
  type Domain,
  initialise,
  realTimers,
  type ServeOptions,
  serveIdentity,
  type Serving,
} from '../../src/server/index.ts';
import { WorkloadApiClient } from '../../src/workload/index.ts';
import { LogLines, Watched } from './watched.ts';

/** What the tests' control planes are for, where nothing else is said. */
export const DOMAIN: Domain = {
  trustDomain: 'example.org',
  algorithm: 'ec-p256',
  authorityTtl: DEFAULT_AUTHORITY_TTL,
  root: 'self',
};

/** A rule that gives /uid/N to every process. */
export const UID_RULE = `
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: by-uid }
spec: { spiffeId: "/uid/{unix.uid}", selectors: [], when: "true", ttl: 1h }
`;

/** What a test file opened; `close` ends it in the opposite order. */
export class Opened {
  readonly #undo: (() => unknown)[] = [];

  /** Has `close` call it. */
  later(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  /** A directory that workloads of every user can pass through; short, for the sockets in it. */
  dir(): string {
    const dir = mkdtempSync(join(tmpdir(), 'il-'));
    chmodSync(dir, 0o711);
    this.later(() => rmSync(dir, { recursive: true, force: true }));
    return dir;
  }

  async close(): Promise<void> {
    for (const undo of this.#undo.splice(0).toReversed()) await undo();
  }
}

/** A clock that runs with the machine's, some milliseconds away from it. */
export function shifted(by: number): Timers {
  return { ...systemTimers, now: () => Date.now() + by };
}

export interface PlaneOptions extends Partial<Omit<ServeOptions, 'state' | 'log' | 'version'>> {
  readonly domain?: Partial<Domain>;
  /** Where it keeps its state; a new directory where absent. */
  readonly dir?: string;
  readonly rules?: string;
}

/** A control plane in this process: the same parts that `interlock authority serve` wires. */
export class Plane {
  readonly state: string;
  readonly log = new LogLines();
  readonly api: PathApi;
  readonly #options: PlaneOptions;
  #serving: Serving | undefined;
  #port = 0;

  private constructor(state: string, options: PlaneOptions) {
    this.state = state;
    this.api = new PathApi(state);
    this.#options = options;
  }

  /** Sets up a trust domain and serves it. */
  static async start(opened: Opened, options: PlaneOptions = {}): Promise<Plane> {
    const state = join(options.dir ?? opened.dir(), 'plane');
    const domain: Domain = { ...DOMAIN, ...options.domain };
    // A child authority is set up by its parent.
    if (options.parent === undefined) await initialise(state, domain, 'uid:0', options.timers ?? realTimers);
    const plane = new Plane(state, options);
    opened.later(() => plane.end());
    await plane.start();
    await plane.apply(options.rules ?? UID_RULE);
    return plane;
  }

  /** Serves the state, at the same port as before. */
  async start(): Promise<void> {
    const { domain: _domain, rules: _rules, dir: _dir, ...options } = this.#options;
    this.#serving = await serveIdentity({
      timers: realTimers,
      version: 'test',
      ...options,
      listen: { host: '127.0.0.1', port: this.#port },
      state: this.state,
      log: this.log,
    });
    this.#port = this.#serving.port;
  }

  async stop(): Promise<void> {
    await this.#serving?.close();
    this.#serving = undefined;
  }

  /** Stops once the agents have left, which are closed before it: it need not ask them to. */
  async end(): Promise<void> {
    const link = this.#serving?.plane.link;
    await this.log.until(() => link?.oldestBundles() === undefined, 'the agents leave');
    await this.stop();
  }

  get serving(): Serving {
    if (this.#serving === undefined) throw new TypeError('the control plane does not serve');
    return this.#serving;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async apply(yaml: string): Promise<void> {
    await this.api.post('/v1/rules', { rules: readIdentityRules(yaml) });
  }

  token(agent: string, attributes: Record<string, string> = {}, ttlMs = 600_000): Promise<string> {
    return tokenOf(this.api, agent, attributes, ttlMs);
  }

  /** Everything that the store says was issued and has not been forgotten. */
  issued(kind = 'workload'): Promise<IssuedShown[]> {
    return issuedOf(this.api, kind);
  }
}

export interface IssuedShown {
  readonly serial: string;
  readonly spiffeId: string;
  readonly authority: string;
  readonly authorityName?: string;
  readonly replacedBy?: string;
}

export async function issuedOf(api: PathApi, kind: string): Promise<IssuedShown[]> {
  const query = { all: 'true', kind, limit: '5000' };
  const { identities } = await api.get<{ identities: IssuedShown[] }>('/v1/identities', query);
  return identities;
}

export async function tokenOf(
  api: PathApi,
  agent: string,
  attributes: Record<string, string> = {},
  ttlMs = 600_000,
): Promise<string> {
  const { token } = await api.post<{ token: string }>('/v1/join-tokens', { agent, ttlMs, attributes });
  return token;
}

export interface NodeOptions {
  readonly address: string;
  /** For the first attestation. */
  readonly token?: string;
  readonly evidence?: NodeEvidence;
  /** What the control plane is known by, where that is no token's pin. */
  readonly trust?: ServerTrust;
  /** The state, and so the identity, of a node that ran before. */
  readonly dir?: string;
  readonly stateDir?: string;
  readonly delegates?: readonly SpiffeId[];
  readonly timers?: Timers;
}

/** A node agent in this process, with its sockets. */
export class Node {
  readonly dir: string;
  readonly log: LogLines;
  readonly agent: Agent;
  readonly socketPath: string;
  readonly adminSocketPath: string;

  private constructor(dir: string, log: LogLines, agent: Agent) {
    this.dir = dir;
    this.log = log;
    this.agent = agent;
    this.socketPath = socketOf(dir);
    this.adminSocketPath = join(dir, 'admin.sock');
  }

  /** Starts an agent; it connects, or says in its log why not. */
  static async start(opened: Opened, options: NodeOptions): Promise<Node> {
    const { address, token } = options;
    const dir = options.dir ?? opened.dir();
    const log = new LogLines();
    const timers = options.timers ?? systemTimers;
    const agent = new Agent({
      version: 'test',
      stateDir: options.stateDir ?? join(dir, 'agent'),
      server: address,
      firstTrust: async () => options.trust ?? trustByPin(address, pinOf(token), timers.now()),
      serverId: options.trust?.server,
      evidence: options.evidence ?? joinTokenEvidence(token ?? NO_TOKEN),
      socketPath: socketOf(dir),
      adminSocketPath: join(dir, 'admin.sock'),
      delegates: new Set(options.delegates),
      attestor: {},
      algorithm: 'ec-p256',
      timers,
      log,
    });
    const node = new Node(dir, log, agent);
    opened.later(() => agent.close());
    await agent.start();
    return node;
  }

  /** The same, once it is connected. */
  static async online(opened: Opened, options: NodeOptions): Promise<Node> {
    const node = await Node.start(opened, options);
    await node.log.line('info connected to the control plane');
    return node;
  }

  get endpoint(): string {
    return `unix://${this.socketPath}`;
  }
}

/** Well-formed, and nobody's: for agents that have an identity already. */
const NO_TOKEN = `ijt_${'A'.repeat(43)}`;

export function socketOf(dir: string): string {
  return join(dir, 'agent.sock');
}

function pinOf(token: string | undefined): string {
  const pin = token === undefined ? undefined : readJoinToken(token).pin;
  if (pin === undefined) throw new Error('this agent was to know its control plane already');
  return pin;
}

/** What this process is sent over a node's Workload API. */
export class Stream extends Watched {
  readonly messages: X509SVIDResponse[] = [];
  readonly errors: Error[] = [];

  static open(opened: Opened, endpoint: string): Stream {
    const stream = new Stream();
    const client = new WorkloadApiClient({ endpoint });
    opened.later(() => client.close());
    client.watchX509Svids({
      onMessage: (message) => {
        stream.messages.push(message);
        stream.changed();
      },
      onError: (error) => {
        stream.errors.push(error);
        stream.changed();
      },
    });
    return stream;
  }

  get latest(): X509SVIDResponse | undefined {
    return this.messages.at(-1);
  }

  /** The newest state, as soon as it fits. */
  state(fits: (state: X509SVIDResponse) => boolean, what: string): Promise<X509SVIDResponse> {
    return this.until(
      () => (this.latest !== undefined && fits(this.latest) ? this.latest : undefined),
      what,
      () => this.errors.map(String).join('\n'),
    );
  }

  /** The first SVID of the newest state, as soon as there is one that fits. */
  async svid(fits: (svid: X509SVID) => boolean, what: string): Promise<X509SVID> {
    const { svids } = await this.state(({ svids }) => svids[0] !== undefined && fits(svids[0]), what);
    // It was there a moment ago, and a message does not change.
    return svids[0] as X509SVID;
  }
}

/** The serial number of an SVID as the Workload API sends it. */
export function serialOf({ x509Svid }: Pick<X509SVID, 'x509Svid'>): string {
  return parseCertificates(x509Svid)[0]?.serial ?? '';
}
