import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { isInterlockError } from '../../access/index.ts';
import type { IdentityStore, Json, StoredDocument } from '../../store/index.ts';
import type { Timers } from '../timers.ts';

/** How often a control plane says that it is there, and how soon after a change; milliseconds. */
const BEAT_MS = 5000;
const APART_MS = 100;
/** Beats of this control plane without one of another: then that one is gone. */
const MISSED_BEATS = 4;

/** An agent that is connected to a control plane, and which versions it has confirmed. */
export interface AgentHere {
  readonly id: string;
  readonly bundles: number;
  readonly rules: number;
  readonly revocations: number;
  readonly takesTargets: boolean;
}

const schema = z.object({
  /** Serial number of its own SVID. */
  serial: z.string(),
  /** Version of the bundles that it tells its agents. */
  bundles: z.number(),
  agents: z.array(z.tuple([z.string(), z.number(), z.number(), z.number(), z.boolean()])),
});

interface Replica {
  version: number;
  missed: number;
  readonly agents: readonly AgentHere[];
  readonly bundles: number;
  readonly serial: string;
}

export interface ReplicasParts {
  readonly store: IdentityStore;
  readonly timers: Timers;
  /** The agents that are connected here. */
  readonly agents: () => readonly AgentHere[];
  /** Version of the bundles here. */
  readonly bundles: () => number;
  readonly isLeader: () => boolean;
  /** Another one has come or gone, or its agents have. */
  readonly onChange: () => void;
  readonly onFault: (error: unknown) => void;
}

/**
 * The control planes of one state, as each sees the others: which agents are connected to which, and what these have
 * confirmed. Each says so in a document that it writes anew every few seconds. That a document stands still is counted in
 * beats of one's own that reached the database: nobody's clock decides who is gone, and nobody is gone because the
 * database is away.
 */
export class Replicas {
  readonly id: string = randomUUID();
  readonly #parts: ReplicasParts;
  readonly #others = new Map<string, Replica>();
  #serial = '';
  #lostAt = 0;
  #isStarted = false;
  #isStopped = false;
  #isBeating = false;
  #isChanged = false;
  #isAway = false;
  #cancelBeat = () => {};
  #beating: Promise<void> = Promise.resolve();

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
  }

  /** When one was last lost: its agents come back elsewhere, and until then speak for nobody. Milliseconds. */
  get lostAt(): number {
    return this.#lostAt;
  }

  /** The agents of all other control planes. */
  agents(): AgentHere[] {
    return [...this.#others.values()].flatMap(({ agents }) => agents);
  }

  /**
   * The oldest version of the bundles that another control plane or an agent of it has; undefined where there is no other.
   * What one says of its agents counts from the version on that it tells them itself: who came before that is among them.
   */
  oldestBundles(): number | undefined {
    const all = [...this.#others.values()].map(({ bundles, agents }) =>
      agents.reduce((least, agent) => Math.min(least, agent.bundles), bundles),
    );
    return all.length === 0 ? undefined : Math.min(...all);
  }

  /** Says that it is there, and reads who else is. */
  async start(): Promise<void> {
    this.#isStarted = true;
    await this.#beat();
  }

  /** The own SVID is this one now; the leader marks that of one who is gone as dropped. */
  setSerial(serial: string): void {
    this.#serial = serial;
    this.look();
  }

  /** The agents here have changed: the others are told soon. */
  look(): void {
    if (!this.#isStarted || this.#isStopped || this.#isChanged) return;
    this.#isChanged = true;
    this.#parts.timers.after(APART_MS, () => {
      this.#isChanged = false;
      void this.#say();
    });
  }

  /** Others have said something. */
  async follow(): Promise<void> {
    if (this.#isStarted) this.#take(await this.#parts.store.documents('replica'), false);
  }

  /** Says that it is gone. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#cancelBeat();
    await this.#beating;
    if (!this.#isStarted) return;
    try {
      await this.#parts.store.commit([{ change: 'remove', kind: 'replica', name: this.id }]);
    } catch {
      // The others find out.
    }
  }

  #say(): Promise<boolean> {
    const said = this.#beating.then(async () => {
      if (this.#isStopped) return false;
      const bundles = this.#parts.bundles();
      const agents = this.#parts
        .agents()
        .map(
          (agent) => [agent.id, agent.bundles, agent.rules, agent.revocations, agent.takesTargets] as Json,
        );
      const data = { serial: this.#serial, bundles, agents };
      try {
        await this.#parts.store.commit([{ change: 'put', kind: 'replica', name: this.id, data }]);
        this.#isAway = false;
        return true;
      } catch (error) {
        // Once for each time that the database is away.
        if (!this.#isAway) this.#parts.onFault(error);
        this.#isAway = true;
        return false;
      }
    });
    this.#beating = said.then(() => undefined);
    return said;
  }

  async #beat(): Promise<void> {
    if (this.#isBeating || this.#isStopped) return;
    this.#isBeating = true;
    try {
      if (await this.#say()) this.#take(await this.#parts.store.documents('replica'), true);
    } catch (error) {
      this.#parts.onFault(error);
    }
    this.#isBeating = false;
    if (!this.#isStopped) this.#cancelBeat = this.#parts.timers.after(BEAT_MS, () => void this.#beat());
  }

  #take(documents: readonly StoredDocument[], isBeat: boolean): void {
    let isChanged = false;
    const there = new Set(documents.map(({ name }) => name));
    for (const document of documents) {
      if (document.name === this.id) continue;
      const known = this.#others.get(document.name);
      if (known?.version !== document.version) {
        this.#others.set(document.name, replicaOf(document));
        isChanged = true;
      } else if (isBeat && ++known.missed >= MISSED_BEATS) {
        this.#lose(document.name, known);
        isChanged = true;
      }
    }
    for (const name of this.#others.keys()) {
      if (there.has(name)) continue;
      this.#others.delete(name);
      this.#lostAt = this.#parts.timers.now();
      isChanged = true;
    }
    if (isChanged) this.#parts.onChange();
  }

  /** One is gone without a word. It counts until its document is away: the leader takes that away. */
  #lose(name: string, { version, serial }: Replica): void {
    const { store, isLeader, timers, onFault } = this.#parts;
    if (!isLeader()) return;
    const at = timers.now();
    store
      .commit([
        // It may have said something meanwhile.
        { change: 'remove', kind: 'replica', name, expect: version },
        { change: 'drop', agent: '', serials: serial === '' ? [] : [serial], at },
      ])
      .then(() => this.follow())
      .catch((error: unknown) => {
        // It is there after all.
        if (!isInterlockError(error) || error.code !== 'conflict') onFault(error);
      });
  }
}

function replicaOf({ version, data }: StoredDocument): Replica {
  const parsed = schema.safeParse(data);
  // One of another version may have agents that cannot be read: none of them has confirmed anything.
  const { agents, serial, bundles } = parsed.success ? parsed.data : { agents: [], serial: '', bundles: 0 };
  return {
    version,
    missed: 0,
    serial,
    bundles,
    agents: agents.map(([id, bundles, rules, revocations, takesTargets]) => ({
      id,
      bundles,
      rules,
      revocations,
      takesTargets,
    })),
  };
}
