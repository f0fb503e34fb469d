import type { SpiffeId } from '../../access/index.ts';
import type { Change, IdentityStore } from '../../store/index.ts';
import { Following } from '../identity/following.ts';
import type { Timers } from '../timers.ts';
import { newReview, type ReviewDocument, reviewJson, reviewOf } from './document.ts';

/** A review as the store has it. */
interface Kept {
  readonly version: number;
  readonly review: ReviewDocument;
}

/** What the store has of every review, in memory: followed, and never replaced by something older. */
export class ReviewShelf {
  readonly #store: IdentityStore;
  readonly #kept = new Map<SpiffeId, Kept>();
  /** Names of documents that cannot be read, each with the reason. */
  readonly unreadable = new Map<string, string>();
  readonly #listeners = new Set<(workload: SpiffeId) => void>();
  #unwatch = () => {};

  constructor(store: IdentityStore) {
    this.#store = store;
  }

  /** Follows what other replicas make of it, from now on. Throws what the store throws. */
  async open(timers: Timers, onFault: (error: unknown) => void): Promise<void> {
    await this.load();
    const following = new Following(timers, onFault);
    following.on(['review'], (names) => this.load(names), { alsoOwn: true });
    await following.start(this.#store);
    this.#unwatch = () => following.stop();
  }

  close(): void {
    this.#unwatch();
    this.#listeners.clear();
  }

  /** Calls `listener` with each workload whose review has changed, until the function it gives back is called. */
  onChange(listener: (workload: SpiffeId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get all(): Iterable<ReviewDocument> {
    return [...this.#kept.values()].map(({ review }) => review);
  }

  of(workload: SpiffeId): ReviewDocument {
    return this.#kept.get(workload)?.review ?? newReview(workload);
  }

  /** The change that keeps a review, and what is to be done once it is durable. */
  put(review: ReviewDocument): { readonly change: Change; readonly keep: () => void } {
    const { workload } = review;
    const expect = this.#kept.get(workload)?.version ?? 0;
    return {
      change: { change: 'put', kind: 'review', name: workload, data: reviewJson(review), expect },
      keep: () => this.#keep(review, expect + 1),
    };
  }

  /** Takes over what the store has: at the start, and what other replicas have made of it. */
  async load(names?: readonly string[]): Promise<void> {
    for (const { name, version, data } of await this.#store.documents('review', names)) {
      try {
        this.#keep(reviewOf(data), version);
        this.unreadable.delete(name);
      } catch (error) {
        this.unreadable.set(name, error instanceof Error ? error.message : String(error));
      }
    }
  }

  /** A later version is never replaced by an earlier one, whichever is heard of first. */
  #keep(review: ReviewDocument, version: number): void {
    if ((this.#kept.get(review.workload)?.version ?? 0) >= version) return;
    this.#kept.set(review.workload, { version, review });
    for (const listener of this.#listeners) listener(review.workload);
  }
}
