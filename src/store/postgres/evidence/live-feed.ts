import type { Json } from '../../identity-store.ts';
import type { KeptEvidence, LiveReader } from '../../live.ts';
import type { Database } from '../database.ts';
import { Listening } from '../listening.ts';
import type { Session } from '../session.ts';
import { liveChannel } from './evidence-store.ts';

/** Batches that are read at once. */
const PAGE = 20;

/** Reads what was kept up to a moment. */
export type Moment = () => Promise<{ readonly seq: number; readonly state: KeptEvidence }>;

/** Tells a reader every batch of live evidence that any replica keeps, in their order and once. */
export class LiveFeed {
  readonly #listening: Listening;
  readonly #readMoment: Moment;
  #seq: number;
  #reader: LiveReader | undefined;

  /** `seq` is the last batch that the reader knows. */
  constructor(database: Database, seq: number, readMoment: Moment) {
    this.#seq = seq;
    this.#readMoment = readMoment;
    this.#listening = new Listening({
      database,
      channel: liveChannel(database),
      read: (session) => this.#read(session),
      every: database.heartbeat,
      onFault: (error) => this.#reader?.fault(error),
    });
  }

  follow(reader: LiveReader): void {
    this.#reader = reader;
    // It goes on trying by itself.
    this.#listening.start().catch(() => {});
  }

  close(): Promise<void> {
    this.#reader = undefined;
    return this.#listening.close();
  }

  async #read(session: Session): Promise<void> {
    for (let rows = PAGE; rows === PAGE && this.#reader !== undefined; ) rows = await this.#page(session);
  }

  async #page(session: Session): Promise<number> {
    // The head first: what is numbered up to it is there to be read, or is not known any more.
    const head = Number((await session.row('select seq from live_head'))?.[0] ?? 0);
    // A database that has come back from a copy of before.
    if (head < this.#seq) return this.#missed();
    const rows = await session.rows(
      `select seq, id, news from live_batch where seq > $1 order by seq limit ${PAGE}`,
      this.#seq,
    );
    // Columns of the schema; the news are what the server wrote.
    for (const [seq, id, data] of rows as unknown as (readonly [number, string, Json])[]) {
      if (seq !== this.#seq + 1) return this.#missed();
      await this.#reader?.batch(seq, { id, data });
      this.#seq = seq;
    }
    // Numbers without news.
    if (rows.length < PAGE && this.#seq < head) return this.#missed();
    return rows.length;
  }

  async #missed(): Promise<number> {
    const { seq, state } = await this.#readMoment();
    await this.#reader?.missed(seq, state);
    this.#seq = seq;
    return PAGE;
  }
}
