// Agents without sockets, many in one process: the real link, rules, SVID cache and book of workloads, each with an
// identity of its own from a join token. Run by itself it is such a process, told by its parent what to do.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Bundle, verifyX509Svid, type WorkloadAttributes } from '../src/identity/index.ts';
import { Knowledge } from '../src/node/agent/knowledge.ts';
import { x509Signing } from '../src/node/agent/signing.ts';
import { trustByPin, joinTokenEvidence, systemTimers as timers } from '../src/node/index.ts';
import { Link } from '../src/node/link/link.ts';
import type { ServerTrust } from '../src/node/index.ts';
import { controlPlaneOf } from '../src/workload/index.ts';
import { attest, type ServerAccess, streamOpener } from '../src/node/link/transport.ts';
import { AgentState, type AgentSvid } from '../src/node/state/agent-state.ts';
import { SvidCache } from '../src/node/svids/svid-cache.ts';
import { WorkloadBook, type WorkloadState } from '../src/node/workloads/workload-book.ts';
import { Child, type Fault, type StateTold } from './identity-child.ts';
import { sharedClock } from './identity-parts.ts';

/** One agent to start: its token, and the user IDs of its workloads. */
export interface AgentOrder {
  readonly name: string;
  readonly token: string;
  readonly uids: readonly number[];
}

/** What a process of agents is to do. */
export type ToAgents =
  | {
      readonly do: 'start';
      readonly address: string;
      readonly dir: string;
      readonly agents: readonly AgentOrder[];
    }
  /** Looks at every workload this often from now on, and answers with what was seen when asked for a `census`. */
  | { readonly do: 'watch'; readonly everyMs: number }
  | { readonly do: 'census' };

/** What a process of agents tells. */
export type FromAgents =
  | StateTold
  | Fault
  | { readonly is: 'online'; readonly agents: number }
  /** All agents of the process have these rules. */
  | { readonly is: 'rules'; readonly version: number }
  | { readonly is: 'census'; readonly census: Census };

/** What the workloads of a process have. */
export interface Census {
  /** How many valid SVIDs are held in all, by the authority that signed them. */
  readonly byAuthority: Readonly<Record<string, number>>;
  /** Workloads without an SVID that is in force now and good with the bundles that the workload has. */
  readonly without: number;
  /** Workloads whose bundles still hold more than one root. */
  readonly stale: number;
  /** How often somebody looked, at every workload each time, and how many had none then. */
  readonly looks: number;
  readonly lapses: number;
  /** States told to workloads, and those among them that held no SVID. */
  readonly told: number;
  readonly toldEmpty: number;
  /** SVIDs of which each was verified against the bundles that its workload has, and those that failed. */
  readonly verified: number;
  readonly unverified: number;
}

/** A process of agents. */
export class AgentProcess extends Child<ToAgents, FromAgents> {
  constructor(nodeOptions: readonly string[] = []) {
    super(fileURLToPath(import.meta.url), nodeOptions);
  }
}

/** How many agents of a process attest at one time. */
const ATTESTING = 16;

interface Listening {
  readonly uid: number;
  state: WorkloadState | undefined;
}

/** The bundle of the own trust domain that a workload has. */
function bundleOf(state: WorkloadState | undefined): Bundle | undefined {
  return state?.bundles.get(state.trustDomain);
}

/** All agents of this process. */
class Crowd {
  readonly #tell: (message: FromAgents) => void;
  readonly #workloads: Listening[] = [];
  readonly #have = new Map<number, number>();
  #agents = 0;
  /** Serial numbers of the SVIDs that were verified against a bundle and found good. */
  readonly #good = new WeakMap<Bundle, Set<string>>();
  #online = 0;
  #looks = 0;
  #lapses = 0;
  #told = 0;
  #toldEmpty = 0;
  #verified = 0;
  #unverified = 0;

  constructor(tell: (message: FromAgents) => void) {
    this.#tell = tell;
  }

  async start(address: string, dir: string, agents: readonly AgentOrder[]): Promise<void> {
    const [first] = agents;
    if (first === undefined) return;
    const pin = first.token.split('.')[1] ?? '';
    const trust = await trustByPin(address, pin, timers.now());
    this.#agents = agents.length;
    const waiting = agents.values();
    const work = async () => {
      for (const order of waiting) await this.#add(order, address, dir, trust);
    };
    await Promise.all(Array.from({ length: ATTESTING }, work));
    this.#tell({ is: 'online', agents: this.#online });
  }

  watch(everyMs: number): void {
    setInterval(() => {
      this.#looks++;
      this.#lapses += this.#without();
    }, everyMs);
  }

  census(): Census {
    const byAuthority: Record<string, number> = {};
    const now = timers.now();
    for (const { state } of this.#workloads) {
      for (const { authority, notAfter } of state?.svids ?? []) {
        if (notAfter > now) byAuthority[authority] = (byAuthority[authority] ?? 0) + 1;
      }
    }
    return {
      byAuthority,
      without: this.#without(),
      stale: this.#workloads.filter(({ state }) => bundleOf(state)?.x509Authorities.length !== 1).length,
      looks: this.#looks,
      lapses: this.#lapses,
      told: this.#told,
      toldEmpty: this.#toldEmpty,
      verified: this.#verified,
      unverified: this.#unverified,
    };
  }

  /** Workloads whose last state has no SVID that is valid now and was found good with the bundles of that state. */
  #without(): number {
    const now = timers.now();
    let count = 0;
    for (const { state } of this.#workloads) {
      const isGood = state?.svids.some(
        ({ notAfter, serial }) => notAfter > now && this.#isGood(serial, bundleOf(state)),
      );
      if (isGood !== true) count++;
    }
    return count;
  }

  async #add(order: AgentOrder, address: string, dir: string, trust: ServerTrust): Promise<void> {
    const state = new AgentState(join(dir, order.name), (file) => {
      throw new Error(`${file} is damaged`);
    });
    const knowledge = new Knowledge(
      state,
      (what, error) => this.#tell({ is: 'fault', reason: `${what}: ${String(error)}` }),
      (save) => void timers.after(500, save),
    );
    const access = (of: ServerTrust): ServerAccess => ({ address, trust: of, crls: [], now: Date.now });
    const { svid, bundles } = await attest(access(trust), joinTokenEvidence(order.token));
    knowledge.takeBundles(bundles);
    const book = await this.#connect(
      state,
      knowledge,
      () => access({ bundles: knowledge.trust().bundles, server: controlPlaneOf(svid.spiffeId) }),
      svid,
    );
    for (const uid of order.uids) this.#listen(book, uid);
  }

  /** Wired as the agent wires it. Resolves once the agent is online and has its rules. */
  async #connect(
    state: AgentState,
    knowledge: Knowledge,
    access: () => ServerAccess,
    svid: AgentSvid,
  ): Promise<WorkloadBook> {
    const ready = Promise.withResolvers<void>();
    const link: Link = new Link({
      timers,
      version: 'bench',
      open: streamOpener(access, () => svid),
      held: () => ({ rulesVersion: knowledge.rulesVersion, serials: svids.held() }),
      onRules: (rules) => {
        knowledge.takeRules(rules);
        book.rulesChanged();
        link.confirm({ rulesVersion: knowledge.rulesVersion });
        ready.resolve();
        this.#rulesCame(Number(rules.version));
      },
      onBundles: (all) => {
        knowledge.takeBundles(all);
        book.trustChanged();
        link.confirm({ bundlesVersion: knowledge.bundlesVersion });
      },
      onRevocations: (all) => {
        knowledge.takeRevocations(all);
        link.confirm({ revocationsVersion: knowledge.revocationsVersion });
      },
      onReplace: (authority, overMs) => void svids.replaceAll(authority, overMs),
      onOnline: (online, error) => {
        this.#online += online ? 1 : -1;
        svids.setOnline(online);
        if (error !== undefined)
          this.#tell({ is: 'fault', reason: `an agent lost its link: ${error.message}` });
      },
    });
    const svids: SvidCache = new SvidCache({
      timers,
      store: state.svids,
      sign: x509Signing(link, 'ec-p256'),
      onChange: (key) => book.svidChanged(key),
      onDropped: (serials) => link.dropped(serials),
      onRefused: ({ spiffeId }, error) =>
        this.#tell({ is: 'fault', reason: `nothing was signed for ${spiffeId}: ${String(error)}` }),
    });
    const book: WorkloadBook = new WorkloadBook({
      timers,
      svids,
      identitiesOf: (attributes) => knowledge.identitiesOf(attributes),
      trust: () => knowledge.trust(),
      isRevoked: (id) => knowledge.isRevoked(id),
    });
    link.start();
    await ready.promise;
    return book;
  }

  #listen(book: WorkloadBook, uid: number): void {
    const attributes: WorkloadAttributes = { unix: { uid, gid: uid, groups: [] } };
    const listening: Listening = { uid, state: undefined };
    this.#workloads.push(listening);
    book.subscribe(attributes, (state) => {
      const at = sharedClock();
      const had = listening.state !== undefined && listening.state.svids.length > 0;
      listening.state = state;
      this.#told++;
      if (had && state.svids.length === 0) this.#toldEmpty++;
      this.#tell({ is: 'state', uid, at, ids: state.svids.map(({ spiffeId }) => spiffeId) });
      for (const { serial, chain } of state.svids) this.#verify(serial, chain, state);
    });
  }

  #isGood(serial: string, bundle: Bundle | undefined): boolean {
    return bundle !== undefined && this.#good.get(bundle)?.has(serial) === true;
  }

  #verify(serial: string, chain: readonly Buffer[], state: WorkloadState): void {
    const bundle = bundleOf(state);
    if (bundle === undefined || this.#isGood(serial, bundle)) return;
    try {
      verifyX509Svid(chain, { bundles: state.bundles, crls: state.crls, now: timers.now() });
    } catch {
      this.#unverified++;
      return;
    }
    const good = this.#good.get(bundle) ?? new Set();
    this.#good.set(bundle, good.add(serial));
    this.#verified++;
  }

  #rulesCame(version: number): void {
    const have = (this.#have.get(version) ?? 0) + 1;
    this.#have.set(version, have);
    if (have === this.#agents) this.#tell({ is: 'rules', version });
  }
}

function run(): void {
  const tell = (message: FromAgents) => void process.send?.(message);
  const crowd = new Crowd(tell);
  // Only the other side of this module sends.
  process.on('message', (message) => {
    const order = message as ToAgents;
    if (order.do === 'watch') {
      crowd.watch(order.everyMs);
      tell({ is: 'census', census: crowd.census() });
    } else if (order.do === 'census') tell({ is: 'census', census: crowd.census() });
    else
      crowd
        .start(order.address, order.dir, order.agents)
        .catch((error: unknown) => tell({ is: 'fault', reason: String(error) }));
  });
  process.once('SIGTERM', () => process.exit(0));
}

if (import.meta.main) run();
