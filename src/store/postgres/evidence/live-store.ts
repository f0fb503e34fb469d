import { InterlockError, type Tally } from '../../../access/index.ts';
import type { LiveBatch, LiveState, LiveStore, ReportMark, SeenAccesses } from '../../live.ts';
import { seenAccesses } from '../../seen.ts';
import { TRUST_DOMAIN_SETTING } from '../../settings.ts';
import type { Store } from '../../store.ts';

/** How long the end waits for a database that hangs, in milliseconds. */
const CLOSE_MS = 5000;

/**
 * Live evidence in a database: what a replica adds, others find when they start. Marks are judged in the database, so a
 * report that reaches two replicas is kept once.
 */
export async function openPostgresLive(
  store: Store,
  name: string,
  trustDomain: string,
  onClose: () => Promise<void>,
): Promise<LiveStore> {
  if ((await store.setting(TRUST_DOMAIN_SETTING)) !== trustDomain)
    await store.setSetting(TRUST_DOMAIN_SETTING, trustDomain);
  const kept = await store.live();
  return new PostgresLiveStore(store, name, kept, await seenAccesses(store, trustDomain), onClose);
}

/** One call after the other: whoever adds gathers what comes meanwhile into the next batch. */
class PostgresLiveStore implements LiveStore {
  readonly kept: LiveState;
  readonly seen: readonly SeenAccesses[];
  readonly #store: Store;
  readonly #name: string;
  readonly #onClose: () => Promise<void>;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(
    store: Store,
    name: string,
    kept: LiveState,
    seen: readonly SeenAccesses[],
    onClose: () => Promise<void>,
  ) {
    this.#store = store;
    this.#name = name;
    this.kept = kept;
    this.seen = seen;
    this.#onClose = onClose;
  }

  addLive(batch: LiveBatch, tallies: readonly Tally[]): Promise<readonly ReportMark[]> {
    const add = async () => {
      if (this.#closed) throw new InterlockError('unavailable', this.#name, 'live evidence is closed');
      return this.#store.addLive(batch, tallies);
    };
    const done = this.#last.then(add, add);
    this.#last = done.catch(() => {});
    return done;
  }

  async close(): Promise<void> {
    const patience = Promise.withResolvers<void>();
    const timer = setTimeout(patience.resolve, CLOSE_MS);
    await Promise.race([this.#last, patience.promise]);
    clearTimeout(timer);
    if (this.#closed) return;
    this.#closed = true;
    await this.#onClose();
  }
}
