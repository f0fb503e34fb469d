import { InterlockError, type Tally } from '../../../access/index.ts';
import type {
  KeptEvidence,
  LiveBatch,
  LiveReader,
  LiveState,
  LiveStore,
  ReportMark,
  SeenAccesses,
} from '../../live.ts';
import { TRUST_DOMAIN_SETTING } from '../../settings.ts';
import type { Store } from '../../store.ts';
import type { Database } from '../database.ts';
import { LiveFeed, type Moment } from './live-feed.ts';

/** How long the end waits for a database that hangs, in milliseconds. */
const CLOSE_MS = 5000;

/**
 * Live evidence in a database: what a replica adds, the others are told, and find when they start. Marks are judged in the
 * database, so a report that reaches two replicas is kept once.
 */
export async function openPostgresLive(
  store: Store,
  database: Database,
  trustDomain: string,
  readMoment: Moment,
  onClose: () => Promise<void>,
): Promise<LiveStore> {
  if ((await store.setting(TRUST_DOMAIN_SETTING)) !== trustDomain)
    await store.setSetting(TRUST_DOMAIN_SETTING, trustDomain);
  const { seq, state } = await readMoment();
  return new PostgresLiveStore(store, new LiveFeed(database, seq, readMoment), database.name, state, onClose);
}

/** One call after the other: whoever adds gathers what comes meanwhile into the next batch. */
class PostgresLiveStore implements LiveStore {
  readonly kept: LiveState;
  readonly seen: readonly SeenAccesses[];
  readonly #store: Store;
  readonly #feed: LiveFeed;
  readonly #name: string;
  readonly #onClose: () => Promise<void>;
  #last: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(
    store: Store,
    feed: LiveFeed,
    name: string,
    { kept, seen }: KeptEvidence,
    onClose: () => Promise<void>,
  ) {
    this.#store = store;
    this.#feed = feed;
    this.#name = name;
    this.kept = kept;
    this.seen = seen;
    this.#onClose = onClose;
  }

  follow(reader: LiveReader): void {
    this.#feed.follow(reader);
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
    await this.#feed.close();
    await this.#onClose();
  }
}
