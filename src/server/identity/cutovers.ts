import { InterlockError, isInterlockError, spiffeIdOf } from '../../access/index.ts';
import {
  type Confirmations,
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
import type { Change, Json } from '../../store/index.ts';
import { Places, type PlacesOptions } from './places.ts';
import type { Actor } from './recorder.ts';

export interface CutoversOptions extends PlacesOptions {
  /** Of the agents at every control plane. */
  readonly confirmations: () => Confirmations;
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
  /** Each with the version of its document. */
  #cutovers: ReadonlyMap<string, { readonly cutover: Cutover; readonly version: number }> = new Map();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: CutoversOptions) {
    this.#options = options;
    this.places = new Places(options, () => this.list());
  }

  list(): Cutover[] {
    return [...this.#cutovers.values()].map(({ cutover }) => cutover);
  }

  /** Reads them anew: at the start, and where another control plane has changed some. */
  follow(): Promise<void> {
    return this.#inTurn(async () => {
      const { store, recorder } = this.#options;
      const documents = await recorder.within(store.documents('cutover'));
      this.#cutovers = new Map(
        documents.flatMap(({ version, data }) => {
          const cutover = cutoverFromJson(data);
          return cutover === undefined ? [] : [[cutover.id, { cutover, version }] as const];
        }),
      );
    });
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
      const made = () =>
        createCutover({ ...order, publishedIn: target.publishedIn }, this.list(), timers.now());
      return this.#keep(who, 'cutover.start', () => this.#startable(made()));
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
    await this.#changing(async () => {
      await registry.step(async () => {
        const publishedIn = registry.bundles.current.version + 1;
        cutover = createCutover({ ...order, publishedIn }, this.list(), timers.now());
        return {
          step: {
            abroad: { ...registry.abroad, targets: this.places.foreignTo([...this.list(), cutover]) },
            changes: [this.#putOf(cutover)],
          },
          entry: recorder.entry(who, 'cutover.start', order.id, { share: order.share, state: cutover.state }),
        };
      });
      if (cutover !== undefined) this.#set(cutover);
    });
    if (cutover === undefined) throw new TypeError('the step was not taken');
    const begun = cutover;
    const isStarted = this.#startable(begun) !== begun;
    return isStarted
      ? this.#keep('system', 'cutover.begin', () => this.#startable(this.#get(order.id)))
      : begun;
  }

  raise(who: Actor, id: string, share: number): Promise<Cutover> {
    const { timers } = this.#options;
    return this.#keep(who, 'cutover.raise', () => raiseShare(this.#get(id), share, timers.now()));
  }

  pause(who: Actor, id: string): Promise<Cutover> {
    const { timers } = this.#options;
    return this.#keep(who, 'cutover.pause', () => pauseCutover(this.#get(id), timers.now()));
  }

  resume(who: Actor, id: string, share?: number): Promise<Cutover> {
    const { timers, confirmations } = this.#options;
    return this.#keep(who, 'cutover.resume', () =>
      resumeCutover(this.#get(id), confirmations().oldest, timers.now(), share),
    );
  }

  back(who: Actor, id: string, share?: number): Promise<Cutover> {
    const { timers } = this.#options;
    return this.#keep(who, 'cutover.back', () => turnBack(this.#get(id), timers.now(), share));
  }

  /** Ends a cutover whose workloads have all moved, or all returned: then it is forgotten, and undefined. */
  async finish(who: Actor, id: string): Promise<Cutover | undefined> {
    const { recorder, registry, timers } = this.#options;
    const cutover = this.#get(id);
    const done = finishCutover(cutover, await this.progress(id), timers.now());
    const expect = this.#cutovers.get(id)?.version ?? 0;
    const assertSame = () => {
      if (this.#get(id) === cutover) return;
      throw new InterlockError(
        'conflict',
        id,
        `somebody has changed the cutover "${id}" meanwhile: look again`,
      );
    };
    if (done !== undefined)
      return this.#keep(who, 'cutover.finish', () => {
        assertSame();
        return done;
      });
    const entry = recorder.entry(who, 'cutover.undone', id);
    const changes: Change[] = [{ change: 'remove', kind: 'cutover', name: id, expect }];
    await this.#changing(async () => {
      assertSame();
      if (this.places.foreignTo([cutover]).length === 0) await recorder.commit(changes, entry);
      else
        await registry.step(async () => {
          const left = this.list().filter((each) => each.id !== id);
          return {
            step: { abroad: { ...registry.abroad, targets: this.places.foreignTo(left) }, changes },
            entry,
          };
        });
      this.#cutovers = new Map([...this.#cutovers].filter(([each]) => each !== id));
    });
    return undefined;
  }

  /** Starts what waited for bundles that are now everywhere. */
  async startWaiting(): Promise<void> {
    for (const cutover of this.list()) {
      if (cutover.state !== 'waiting') continue;
      if (this.#startable(cutover) === cutover) continue;
      await this.#keep('system', 'cutover.begin', () => this.#startable(this.#get(cutover.id)));
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
    const { timers, confirmations } = this.#options;
    const confirmed = confirmations();
    const { publishedIn } = cutover;
    if (!isConfirmed({ publishedIn }, timers.now(), confirmed)) return cutover;
    return startCutover(cutover, confirmed.oldest, timers.now());
  }

  /** `make` is asked in the turn of the change: it sees what the change expects. */
  async #keep(who: Actor, act: string, make: () => Cutover): Promise<Cutover> {
    const { recorder } = this.#options;
    let made: Cutover | undefined;
    await this.#changing(async () => {
      const cutover = make();
      await recorder.commit(
        [this.#putOf(cutover)],
        recorder.entry(who, act, cutover.id, { share: cutover.share, state: cutover.state }),
      );
      this.#set(cutover);
      made = cutover;
    });
    if (made === undefined) throw new TypeError('the change was not made');
    return made;
  }

  #putOf(cutover: Cutover): Change {
    const expect = this.#cutovers.get(cutover.id)?.version ?? 0;
    return { change: 'put', kind: 'cutover', name: cutover.id, data: { ...cutover }, expect };
  }

  #set(cutover: Cutover): void {
    const version = (this.#cutovers.get(cutover.id)?.version ?? 0) + 1;
    this.#cutovers = new Map([...this.#cutovers, [cutover.id, { cutover, version }]]);
  }

  /** Where another control plane was first, what it has made of it is read before the caller hears of the conflict. */
  async #changing(change: () => Promise<unknown>): Promise<void> {
    try {
      await this.#inTurn(change);
    } catch (error) {
      if (isInterlockError(error) && error.code === 'conflict') await this.follow();
      throw error;
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work, work);
    this.#turn = done.catch(() => undefined);
    return done;
  }

  #get(id: string): Cutover {
    const cutover = this.#cutovers.get(id)?.cutover;
    if (cutover !== undefined) return cutover;
    throw new InterlockError('not_found', id, `there is no cutover "${id}"`);
  }
}
