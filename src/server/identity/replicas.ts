import { randomUUID } from 'node:crypto';
import { isInterlockError } from '../../access/index.ts';
import type { IdentityStore, StoredDocument } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import {
  type AgentHere,
  type ReplicaAbout,
  replicaData,
  replicaSaid,
  type ReplicaSaid,
} from './replica-document.ts';

export type { AgentHere, ReplicaAbout } from './replica-document.ts';

/** How often a control plane says that it is there, and how soon after a change; milliseconds. */
const BEAT_MS = 5000;
const APART_MS = 100;
/** Beats of this control plane without one of another: then that one is gone. */
const MISSED_BEATS = 4;
/** And after so many it is shown as silent: one may be missed by chance. */
const SILENT_BEATS = 2;

interface Replica {
  version: number;
  missed: number;
  /** When it was last heard of, by the own clock. */
  heardAt: number;
  readonly said: ReplicaSaid;
}

/** What a control plane needs to be of use, by name: "ok", or the code of what is wrong. */
export type ReplicaChecks = () => Promise<{ readonly checks: Readonly<Record<string, string>> }>;

/** One control plane of this state, as another one or it itself shows it. Times are milliseconds since 1970 UTC. */
export interface ReplicaRow {
  readonly id: string;
  readonly isThis: boolean;
  readonly about?: ReplicaAbout;
  /** How many agents are connected to it. */
  readonly agents: number;
  readonly lastSeen: number;
  /** Nobody knows what it does now. */
  readonly isSilent: boolean;
  readonly leads: boolean;
  readonly leadsSince?: number;
  readonly isReady: boolean;
  readonly checks: Readonly<Record<string, string>>;
}

export interface ReplicasParts {
  readonly store: IdentityStore;
  readonly timers: Timers;
  /** The agents that are connected here. */
  readonly agents: () => readonly AgentHere[];
  /** Version of the bundles here. */
  readonly bundles: () => number;
  readonly isLeader: () => boolean;
  /** Since when it leads; undefined where it does not. */
  readonly leadsSince: () => number | undefined;
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
  /** When this one last reached the database. */
  #reachedAt = 0;
  #cancelBeat = () => {};
  #beating: Promise<void> = Promise.resolve();
  #about: ReplicaAbout | undefined;
  #ask: ReplicaChecks = async () => ({ checks: {} });
  #checks: Readonly<Record<string, string>> = {};
  readonly #listeners = new Set<() => void>();
  /** What people were told last. */
  #shown = '';
  #keys: (() => readonly string[]) | undefined;

  constructor(parts: ReplicasParts) {
    this.#parts = parts;
  }

  /** When one was last lost: its agents come back elsewhere, and until then speak for nobody. Milliseconds. */
  get lostAt(): number {
    return this.#lostAt;
  }

  /** The agents of all other control planes. */
  agents(): AgentHere[] {
    return [...this.#others.values()].flatMap(({ said }) => said.agents);
  }

  /**
   * The oldest version of the bundles that another control plane or an agent of it has; undefined where there is no other.
   * What one says of its agents counts from the version on that it tells them itself: who came before that is among them.
   */
  oldestBundles(): number | undefined {
    const all = [...this.#others.values()].map(({ said: { bundles, agents } }) =>
      agents.reduce((least, agent) => Math.min(least, agent.bundles), bundles),
    );
    return all.length === 0 ? undefined : Math.min(...all);
  }

  /** All of them, the oldest first. */
  async list(): Promise<ReplicaRow[]> {
    await this.#look();
    return this.#rows();
  }

  /** Calls `listener` when one of them comes, goes, leads or is ready or not, until the function it gives back is called. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** What this one tells people of itself from now on. */
  describe(about: ReplicaAbout, checks: ReplicaChecks): void {
    this.#about = about;
    this.#ask = checks;
    this.look();
  }

  /** The keys of its key file are these, asked each time: nobody seals with one that another has not got. */
  holds(keys: () => readonly string[]): void {
    this.#keys = keys;
    this.look();
  }

  /** The others, and which keys of key files each holds; undefined of one that does not say. */
  keysOfOthers(): readonly {
    readonly id: string;
    readonly host?: string;
    readonly keys?: readonly string[];
  }[] {
    return [...this.#others].map(([id, { said }]) => ({
      id,
      ...(said.about === undefined ? {} : { host: said.about.host }),
      ...(said.keys === undefined ? {} : { keys: said.keys }),
    }));
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
      await this.#look();
      const data = replicaData(this.#own());
      try {
        await this.#parts.store.commit([{ change: 'put', kind: 'replica', name: this.id, data }]);
        this.#isAway = false;
        this.#reachedAt = this.#parts.timers.now();
        return true;
      } catch (error) {
        // Once for each time that the database is away.
        if (!this.#isAway) this.#parts.onFault(error);
        this.#isAway = true;
        return false;
      }
    });
    this.#beating = said.then(() => this.#show());
    return said;
  }

  /** How this one is, now. */
  async #look(): Promise<void> {
    this.#checks = (await this.#ask()).checks;
  }

  #own(): ReplicaSaid {
    const { agents, bundles, timers } = this.#parts;
    const leadsSince = this.#parts.leadsSince();
    return {
      serial: this.#serial,
      bundles: bundles(),
      agents: agents(),
      at: timers.now(),
      checks: this.#checks,
      ...(leadsSince === undefined ? {} : { leadsSince }),
      ...(this.#about === undefined ? {} : { about: this.#about }),
      ...(this.#keys === undefined ? {} : { keys: this.#keys() }),
    };
  }

  #rows(): ReplicaRow[] {
    const own = this.#own();
    // A database that does not answer at all is known to be away only later: what others said grows old meanwhile.
    const isDeaf = this.#isAway || this.#parts.timers.now() - this.#reachedAt > SILENT_BEATS * BEAT_MS;
    const others = [...this.#others].map(([id, { said, missed, heardAt }]) => ({
      id,
      said,
      at: said.at ?? heardAt,
      isSilent: isDeaf || missed >= SILENT_BEATS,
    }));
    const all = [{ id: this.id, said: own, at: this.#parts.timers.now(), isSilent: false }, ...others];
    // Of one that died as the leader the word stays for a while: who has come to lead last does.
    const newest = all.reduce(
      (most, { said, isSilent }) => Math.max(most, isSilent ? 0 : (said.leadsSince ?? 0)),
      0,
    );
    const leader =
      own.leadsSince === undefined
        ? all.find(({ said, isSilent }) => !isSilent && said.leadsSince === newest)?.id
        : this.id;
    return all
      .map(({ id, said: { about, agents, leadsSince, checks = {} }, at, isSilent }) => ({
        id,
        isThis: id === this.id,
        ...(about === undefined ? {} : { about }),
        agents: agents.length,
        lastSeen: at,
        isSilent,
        leads: id === leader,
        ...(id === leader && leadsSince !== undefined ? { leadsSince } : {}),
        isReady: !isSilent && isWell(checks),
        checks,
      }))
      .toSorted((a, b) => (a.about?.startedAt ?? 0) - (b.about?.startedAt ?? 0) || (a.id < b.id ? -1 : 1));
  }

  #show(): void {
    // Neither that time goes on nor that agents come and go is news.
    const shown = JSON.stringify(this.#rows().map((row) => ({ ...row, lastSeen: 0, agents: 0 })));
    if (shown === this.#shown) return;
    this.#shown = shown;
    for (const listener of this.#listeners) listener();
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
        const heardAt = this.#parts.timers.now();
        const said = replicaSaid(document);
        this.#others.set(document.name, { version: document.version, missed: 0, heardAt, said });
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
    this.#show();
  }

  /** One is gone without a word. It counts until its document is away: the leader takes that away. */
  #lose(name: string, { version, said: { serial } }: Replica): void {
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

/** Of one that has said nothing yet, nothing is known. */
function isWell(checks: Readonly<Record<string, string>>): boolean {
  const all = Object.values(checks);
  return all.length > 0 && all.every((check) => check === 'ok');
}
