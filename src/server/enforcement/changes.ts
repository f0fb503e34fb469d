import { InterlockError } from '../../access/index.ts';
import type { Timers } from '../timers.ts';
import type { Confirmation, Points } from './points.ts';

/** Changes that can be asked for. */
const MAX_CHANGES = 1000;

/** One change on its way to the proxies it concerns. */
export interface ChangeProgress {
  readonly id: string;
  readonly at: number;
  readonly confirmed: readonly (Confirmation & { readonly ms: number })[];
  readonly waiting: readonly Confirmation[];
}

interface Change {
  readonly at: number;
  /** The version that each proxy must confirm. */
  readonly wanted: ReadonlyMap<string, number>;
}

/** Follows changes until every proxy has confirmed them. */
export class Changes {
  readonly #points: Points;
  readonly #timers: Timers;
  readonly #changes = new Map<string, Change>();
  #next = 1;

  constructor(points: Points, timers: Timers) {
    this.#points = points;
    this.#timers = timers;
  }

  /** Follows a change that was made at a time, now where absent; gives the name to ask for it. */
  follow(wanted: ReadonlyMap<string, number>, at: number = this.#timers.now()): string {
    const id = `change-${this.#next++}`;
    this.#changes.set(id, { at, wanted });
    const [oldest] = this.#changes.keys();
    if (this.#changes.size > MAX_CHANGES && oldest !== undefined) this.#changes.delete(oldest);
    return id;
  }

  /** How far it is. Throws `not_found`. */
  progress(id: string): ChangeProgress {
    const change = this.#changes.get(id);
    if (change === undefined)
      throw new InterlockError('not_found', id, `no change "${id}" is followed any more`);
    const all = this.#points.confirmations(change.wanted, change.at);
    return {
      id,
      at: change.at,
      confirmed: all.filter((each): each is Confirmation & { ms: number } => each.ms !== undefined),
      waiting: all.filter(({ ms }) => ms === undefined),
    };
  }

  /** The progress once everyone has confirmed, or more than `known` have, or `ms` milliseconds have passed. */
  async wait(id: string, known: number, ms: number): Promise<ChangeProgress> {
    const isNews = ({ confirmed, waiting }: ChangeProgress) =>
      waiting.length === 0 || confirmed.length > known;
    const now = this.progress(id);
    if (isNews(now)) return now;
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#timers.after(ms, resolve);
    let looking = false;
    const unsubscribe = this.#points.subscribe(() => {
      if (looking) return;
      looking = true;
      // A thousand proxies confirm in one turn: looked at once after it.
      setImmediate(() => {
        looking = false;
        if (isNews(this.progress(id))) resolve();
      });
    });
    await promise;
    cancel();
    unsubscribe();
    return this.progress(id);
  }
}
