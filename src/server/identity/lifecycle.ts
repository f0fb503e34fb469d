import { isInterlockError, parseSpiffeId } from '../../access/index.ts';
import { isConfirmed, nextSteps } from '../../identity/index.ts';
import type { Timers } from '../timers.ts';
import type { ControlPlane } from './control-plane.ts';
import { CRL_RENEWAL_MS } from './revoking.ts';
import type { Slot } from './slots.ts';
import { late } from './taken-over.ts';

/** How often it is looked what is due, where nothing else asks for it; milliseconds. */
const LOOK_MS = 10_000;
/** How long until a control plane abroad is asked again. */
const ASIDE_MS = 60_000;
/** A warning is repeated after this time. */
const WARN_AGAIN_MS = 3_600_000;
/** How long what has expired is remembered, for lists. */
const REMEMBERED_MS = 24 * 3_600_000;
const PRUNE_MS = 3_600_000;

export interface LifecycleOptions {
  readonly plane: ControlPlane;
  readonly timers: Timers;
  /** How long a takeover that is due waits for agents, milliseconds; half of the time that is left where absent. */
  readonly patience?: number | undefined;
  /** Something a person has to look at. */
  readonly onWarning: (message: string) => void;
  readonly onFault: (error: unknown) => void;
}

/** Does what is due by itself, at the control plane that leads: authorities prepared and activated, cutovers started, CRLs signed anew. */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #warned = new Map<string, number>();
  /** Names of authorities that a control plane abroad is asked to certify, or was in vain a moment ago. */
  readonly #aside = new Set<string>();
  #cancel = () => {};
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  #nextCrls: number;
  #nextPrune: number;

  constructor(options: LifecycleOptions) {
    this.#options = options;
    options.plane.onWarning = (about, message) => this.#warn(about, message);
    options.plane.onElsewhere = () => void this.look();
    options.plane.leadership.onChange(() => void this.look());
    const now = options.timers.now();
    this.#nextCrls = now;
    this.#nextPrune = now;
  }

  /** Looks now, and again whenever it is time. */
  start(): Promise<void> {
    return this.look();
  }

  /** Looks at once; a look that is under way is followed by another one. */
  look(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    if (this.#running !== undefined) {
      this.#again = true;
      return this.#running;
    }
    this.#cancel();
    this.#running = this.#looks().finally(() => {
      this.#running = undefined;
      if (!this.#stopped) this.#cancel = this.#options.timers.after(LOOK_MS, () => void this.look());
    });
    return this.#running;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel();
    await this.#running;
  }

  async #looks(): Promise<void> {
    do {
      this.#again = false;
      await this.#once();
    } while (this.#again && !this.#stopped);
  }

  async #once(): Promise<void> {
    const { plane, timers, onFault } = this.#options;
    if (!plane.leadership.isLeader) return;
    const tasks = [
      () => this.#authorities(),
      () => plane.cutovers.startWaiting(),
      () => plane.children.pruneRegions(),
      async () => {
        if (timers.now() < this.#nextCrls) return;
        this.#nextCrls = timers.now() + CRL_RENEWAL_MS;
        const evicted = plane.agents.list().filter(({ banned }) => banned);
        await plane.revoking.renew(evicted.map(({ id }) => id));
      },
      async () => {
        if (timers.now() < this.#nextPrune) return;
        this.#nextPrune = timers.now() + PRUNE_MS;
        await plane.store.prune(timers.now() - REMEMBERED_MS);
      },
    ];
    for (const task of tasks) {
      try {
        await task();
      } catch (error) {
        onFault(error);
      }
    }
  }

  async #authorities(): Promise<void> {
    const { plane, timers, patience } = this.#options;
    const { authorities } = plane;
    const now = timers.now();
    const confirmations = plane.confirmations();
    for (const slot of authorities.slots) {
      if (slot.wanted === true && slot.state === 'prepared' && isConfirmed(slot, now, confirmations))
        await authorities.activate('system', slot.id);
    }
    for (const step of nextSteps(await this.#withEnds(now), now, confirmations, patience)) {
      switch (step.step) {
        case 'prepare':
          await this.#prepare(step.name);
          break;
        case 'activate':
          if (step.unconfirmed === true) await this.#goOn(step.id);
          else await authorities.activate('system', step.id);
          break;
        case 'prune':
          await authorities.prune('system', step.id);
          break;
        case 'warn':
          this.#warn(`${step.id} ${step.warning}`, step.message);
      }
    }
  }

  /** Agents have not confirmed an authority in time: it signs, and they have to come back as if they were new. */
  async #goOn(id: string): Promise<void> {
    const { authorities, link, replicas } = this.#options.plane;
    const { publishedIn } = authorities.slot(id);
    const elsewhere = replicas.agents().flatMap((agent) => (agent.bundles < publishedIn ? [agent.id] : []));
    // Those at other control planes are told by these.
    const without = [...new Set([...link.behind(publishedIn), ...elsewhere])].map(parseSpiffeId);
    await authorities.activate('system', id, true, without);
    for (const agent of without) link.disconnect(agent, late(agent, { id }));
    this.#warn(
      `${id} without`,
      `authority ${id} signs although ${without.length} agents have not confirmed it; they were told to attest anew: ${without.slice(0, 5).join(', ')}`,
    );
  }

  /** A control plane abroad that is away keeps nothing else from being done. */
  async #prepare(name: string): Promise<void> {
    const { authorities, registry } = this.#options.plane;
    const isJoined = registry.abroad.joined.has(name);
    if (registry.domain.root === 'offline' && !isJoined) return this.#warn(`offline ${name}`, offline(name));
    if (isJoined) this.#prepareAside(name);
    else await authorities.prepare('system', name);
  }

  #prepareAside(name: string): void {
    const { plane, timers, onFault } = this.#options;
    if (this.#aside.has(name)) return;
    this.#aside.add(name);
    const done = () => void this.#aside.delete(name);
    const prepare = async () => {
      try {
        await plane.authorities.prepare('system', name);
        done();
      } catch (error) {
        timers.after(ASIDE_MS, done);
        if (!isInterlockError(error)) return onFault(error);
        this.#warn(
          `joined ${name}`,
          `the authority "${name}" cannot be renewed: ${error.message}; it signs to its end, and then its workloads get the identities of the authority before it`,
        );
      }
    };
    void prepare();
  }

  /** An OLD authority of which nothing is valid any more has ended. */
  async #withEnds(now: number): Promise<Slot[]> {
    const { store, recorder, authorities } = this.#options.plane;
    return Promise.all(
      authorities.slots.map(async (slot) => {
        if (slot.state !== 'old') return slot;
        const [valid] = await recorder.within(store.issued({ authority: slot.id, validAt: now, limit: 1 }));
        return valid === undefined ? { ...slot, lastSignedEnds: now - 1 } : slot;
      }),
    );
  }

  #warn(key: string, message: string): void {
    const { timers, onWarning } = this.#options;
    const last = this.#warned.get(key);
    if (last !== undefined && timers.now() - last < WARN_AGAIN_MS) return;
    this.#warned.set(key, timers.now());
    onWarning(message);
  }
}

function offline(name: string): string {
  return `the authority "${name}" is past half of its life and its root is kept offline: make a request with "interlock authority csr", sign it there, and import it`;
}
