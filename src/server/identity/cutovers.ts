import { InterlockError, type SpiffeId, spiffeIdOf } from '../../access/index.ts';
import {
  authorityFor,
  type Cutover,
  CUTOVER_STATES,
  type CutoverProgress,
  createCutover,
  finishCutover,
  type LiveSvid,
  pauseCutover,
  progressOf,
  raiseShare,
  resumeCutover,
  startCutover,
  turnBack,
} from '../../identity/index.ts';
import { z } from 'zod';
import type { IdentityStore, Json } from '../../store/index.ts';
import type { Timers } from '../timers.ts';
import { type Authorities, DEFAULT_AUTHORITY } from './authorities.ts';
import type { Actor, Recorder } from './recorder.ts';

export interface CutoversOptions {
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly store: IdentityStore;
  readonly timers: Timers;
  /** The oldest version of the bundles that a connected agent has confirmed; undefined where none is connected. */
  readonly oldestBundles: () => number | undefined;
}

const PAGE = 5000;

const schema = z.strictObject({
  id: z.string(),
  from: z.string(),
  to: z.string(),
  share: z.number().min(0).max(1),
  state: z.enum(CUTOVER_STATES),
  publishedIn: z.number(),
  changedAt: z.number(),
});

/** A cutover from its kept form; undefined for what this program did not write. */
export function cutoverFromJson(data: Json): Cutover | undefined {
  return schema.safeParse(data).data;
}

/** Moves of workloads from one named authority to another. */
export class Cutovers {
  readonly #options: CutoversOptions;
  readonly #cutovers: Map<string, Cutover>;

  constructor(options: CutoversOptions, cutovers: readonly Cutover[]) {
    this.#options = options;
    this.#cutovers = new Map(cutovers.map((cutover) => [cutover.id, cutover]));
  }

  list(): Cutover[] {
    return [...this.#cutovers.values()];
  }

  /** Starts to move workloads, or waits until every connected agent has the bundle for it. */
  start(who: Actor, order: { id: string; from: string; to: string; share: number }): Promise<Cutover> {
    const { authorities, timers } = this.#options;
    const target = authorities.slots.find(({ name, state }) => name === order.to && state === 'active');
    if (target === undefined)
      throw new InterlockError(
        'conflict',
        order.to,
        `no authority called "${order.to}" is active: prepare one first`,
      );
    const { publishedIn } = target;
    const made = createCutover({ ...order, publishedIn }, this.list(), timers.now());
    return this.#keep(who, 'cutover.start', this.#startable(made));
  }

  raise(who: Actor, id: string, share: number): Promise<Cutover> {
    return this.#keep(who, 'cutover.raise', raiseShare(this.#get(id), share, this.#options.timers.now()));
  }

  pause(who: Actor, id: string): Promise<Cutover> {
    return this.#keep(who, 'cutover.pause', pauseCutover(this.#get(id), this.#options.timers.now()));
  }

  resume(who: Actor, id: string, share?: number): Promise<Cutover> {
    const { timers, oldestBundles } = this.#options;
    return this.#keep(
      who,
      'cutover.resume',
      resumeCutover(this.#get(id), oldestBundles(), timers.now(), share),
    );
  }

  back(who: Actor, id: string, share?: number): Promise<Cutover> {
    return this.#keep(who, 'cutover.back', turnBack(this.#get(id), this.#options.timers.now(), share));
  }

  /** Ends a cutover whose workloads have all moved, or all returned: then it is forgotten, and undefined. */
  async finish(who: Actor, id: string): Promise<Cutover | undefined> {
    const { recorder, timers } = this.#options;
    const cutover = this.#get(id);
    const done = finishCutover(cutover, await this.progress(id), timers.now());
    if (done !== undefined) return this.#keep(who, 'cutover.finish', done);
    await recorder.commit(
      [{ change: 'remove', kind: 'cutover', name: id }],
      recorder.entry(who, 'cutover.undone', id),
    );
    this.#cutovers.delete(id);
    return undefined;
  }

  /** Starts what waited for bundles that are now everywhere. */
  async startWaiting(): Promise<void> {
    for (const cutover of this.list()) {
      if (cutover.state !== 'waiting') continue;
      const started = this.#startable(cutover);
      if (started !== cutover) await this.#keep('system', 'cutover.begin', started);
    }
  }

  /** Where the workloads of a cutover are, by the SVIDs that are live. */
  async progress(id: string): Promise<CutoverProgress> {
    const cutover = this.#get(id);
    const { authorities, store, timers, recorder } = this.#options;
    const live: LiveSvid[] = [];
    for (const { id: authority, name } of authorities.slots) {
      if (name !== cutover.from && name !== cutover.to) continue;
      for (let after = ''; ; ) {
        const page = await recorder.within(
          store.issued({ authority, kind: 'workload', liveAt: timers.now(), after, limit: PAGE }),
        );
        for (const { spiffeId } of page) {
          const id = spiffeIdOf(spiffeId);
          if (id !== undefined) live.push({ spiffeId: id, authority: name });
        }
        const last = page.at(-1);
        if (last === undefined || page.length < PAGE) break;
        after = last.serial;
      }
    }
    return progressOf(cutover, live);
  }

  /** The named authority that signs for an ID; `given` is what its rule says. */
  async authorityFor(id: SpiffeId, given: string = DEFAULT_AUTHORITY): Promise<string> {
    const cutovers = this.list();
    if (cutovers.length === 0) return given;
    const isPaused = cutovers.some(({ state }) => state === 'paused');
    return authorityFor(id, given, cutovers, isPaused ? await this.#current(id) : undefined);
  }

  /** The name of the authority that signed what the ID has now. */
  async #current(spiffeId: SpiffeId): Promise<string | undefined> {
    const { authorities, store, timers, recorder } = this.#options;
    const filter = { spiffeId, kind: 'workload', liveAt: timers.now() } as const;
    const live = await recorder.within(store.issued(filter));
    const svid = live.toSorted((a, b) => b.issuedAt - a.issuedAt)[0];
    return authorities.slots.find(({ id }) => id === svid?.authority)?.name;
  }

  #startable(cutover: Cutover): Cutover {
    const { timers, oldestBundles } = this.#options;
    const oldest = oldestBundles();
    if (oldest !== undefined && oldest < cutover.publishedIn) return cutover;
    return startCutover(cutover, oldest, timers.now());
  }

  async #keep(who: Actor, act: string, cutover: Cutover): Promise<Cutover> {
    const { recorder } = this.#options;
    const data = { ...cutover };
    await recorder.commit(
      [{ change: 'put', kind: 'cutover', name: cutover.id, data }],
      recorder.entry(who, act, cutover.id, { share: cutover.share, state: cutover.state }),
    );
    this.#cutovers.set(cutover.id, cutover);
    return cutover;
  }

  #get(id: string): Cutover {
    const cutover = this.#cutovers.get(id);
    if (cutover !== undefined) return cutover;
    throw new InterlockError('not_found', id, `there is no cutover "${id}"`);
  }
}
