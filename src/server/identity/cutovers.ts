import { InterlockError, spiffeIdOf } from '../../access/index.ts';
import {
  type Cutover,
  CUTOVER_STATES,
  type CutoverProgress,
  createCutover,
  finishCutover,
  isConfirmed,
  type LiveSvid,
  pauseCutover,
  progressOf,
  raiseShare,
  resumeCutover,
  startCutover,
  turnBack,
} from '../../identity/index.ts';
import { z } from 'zod';
import type { Json } from '../../store/index.ts';
import { Places, type PlacesOptions } from './places.ts';
import type { Actor } from './recorder.ts';

export interface CutoversOptions extends PlacesOptions {
  /** The oldest version of the bundles that a connected agent has confirmed; undefined where none is connected. */
  readonly oldestBundles: () => number | undefined;
  /** Since when agents could connect: right after a start the first ones speak for nobody else. */
  readonly since: number;
  /** Connected agents that take no ID of another trust domain. */
  readonly withoutTargets: () => ReadonlySet<string>;
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
  /** Where each ID is by them. */
  readonly places: Places;
  readonly #options: CutoversOptions;
  readonly #cutovers: Map<string, Cutover>;

  constructor(options: CutoversOptions, cutovers: readonly Cutover[]) {
    this.#options = options;
    this.#cutovers = new Map(cutovers.map((cutover) => [cutover.id, cutover]));
    this.places = new Places(options, () => this.list());
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
    if (this.places.foreignTo([order]).length === 0) {
      const made = createCutover({ ...order, publishedIn: target.publishedIn }, this.list(), timers.now());
      return this.#keep(who, 'cutover.start', this.#startable(made));
    }
    return this.#startAbroad(who, order);
  }

  /** Every workload gets the bundle of the other trust domain with the version that this makes. */
  async #startAbroad(
    who: Actor,
    order: Omit<Cutover, 'state' | 'publishedIn' | 'changedAt'>,
  ): Promise<Cutover> {
    const { registry, recorder, timers } = this.#options;
    let cutover: Cutover | undefined;
    await registry.step(async () => {
      const publishedIn = registry.bundles.current.version + 1;
      cutover = createCutover({ ...order, publishedIn }, this.list(), timers.now());
      return {
        step: {
          abroad: { ...registry.abroad, targets: this.places.foreignTo([...this.list(), cutover]) },
          changes: [{ change: 'put', kind: 'cutover', name: cutover.id, data: { ...cutover } }],
        },
        entry: recorder.entry(who, 'cutover.start', order.id, { share: order.share, state: cutover.state }),
      };
    });
    if (cutover === undefined) throw new TypeError('the step was not taken');
    this.#cutovers.set(cutover.id, cutover);
    const started = this.#startable(cutover);
    return started === cutover ? cutover : this.#keep('system', 'cutover.begin', started);
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
    const { recorder, registry, timers } = this.#options;
    const cutover = this.#get(id);
    const done = finishCutover(cutover, await this.progress(id), timers.now());
    if (done !== undefined) return this.#keep(who, 'cutover.finish', done);
    const entry = recorder.entry(who, 'cutover.undone', id);
    const changes = [{ change: 'remove', kind: 'cutover', name: id }] as const;
    if (this.places.foreignTo([cutover]).length === 0) await recorder.commit(changes, entry);
    else {
      const left = this.list().filter((each) => each.id !== id);
      const targets = this.places.foreignTo(left);
      await registry.step(async () => ({
        step: { abroad: { ...registry.abroad, targets }, changes },
        entry,
      }));
    }
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
    const without = this.#options.withoutTargets();
    for (const { id: authority, name } of authorities.slots) {
      if (name !== cutover.from && name !== cutover.to) continue;
      for (let after = ''; ; ) {
        const page = await recorder.within(
          store.issued({ authority, kind: 'workload', liveAt: timers.now(), after, limit: PAGE }),
        );
        for (const { spiffeId, agent } of page) {
          const moved = spiffeIdOf(spiffeId);
          if (moved === undefined) continue;
          const given = this.places.given(moved);
          const fault = this.places.fault(cutover.to, given, !without.has(agent));
          live.push({ spiffeId: given, authority: name, fault });
        }
        const last = page.at(-1);
        if (last === undefined || page.length < PAGE) break;
        after = last.serial;
      }
    }
    return progressOf(cutover, live);
  }

  #startable(cutover: Cutover): Cutover {
    const { timers, oldestBundles, since } = this.#options;
    const oldest = oldestBundles();
    const { publishedIn } = cutover;
    if (!isConfirmed({ publishedIn }, timers.now(), { oldest, behind: [], since })) return cutover;
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
