import { all, type Session } from '../session.ts';
import { digestOf, JsonValue } from '../values.ts';

/** Values that are asked for in one statement. */
export const CHUNK = 5000;
/** Most numbers that are remembered: a value of a hostile caller pushes others out, and costs a look-up. */
const MAX_KNOWN = 200_000;

const TABLES = ['endpoint', 'action'] as const;
type Table = (typeof TABLES)[number];

const FIND: Readonly<Record<Table, string>> = {
  endpoint: 'select digest, id from endpoint where digest = any($1::bytea[])',
  action: 'select digest, id from action where digest = any($1::bytea[])',
};
const ADD: Readonly<Record<Table, string>> = {
  endpoint:
    'insert into endpoint (digest, data) select * from unnest($1::bytea[], $2::json[]) on conflict do nothing',
  action:
    'insert into action (digest, data) select * from unnest($1::bytea[], $2::json[]) on conflict do nothing',
};

/** The same value as JSON has the same number, for good: nothing is ever taken out of the two tables. */
export class Interner {
  readonly #known: Record<Table, Map<string, number>> = { endpoint: new Map(), action: new Map() };

  /**
   * The numbers of values (as JSON texts), inside a transaction. New ones get one there: they are remembered only by
   * {@link keep}, once it is committed.
   */
  async idsOf(session: Session, table: Table, texts: Iterable<string>): Promise<Ids> {
    const ids = new Map<string, number>();
    const unknown: { text: string; digest: Buffer }[] = [];
    for (const text of new Set(texts)) {
      const id = this.#known[table].get(text);
      if (id === undefined) unknown.push({ text, digest: digestOf(text) });
      else ids.set(text, id);
    }
    // One order for everybody: whoever adds the same ones waits, and never in a circle.
    unknown.sort((a, b) => Buffer.compare(a.digest, b.digest));
    for (let at = 0; at < unknown.length; at += CHUNK) {
      const part = unknown.slice(at, at + CHUNK);
      const missing = await find(session, table, part, ids);
      if (missing.length === 0) continue;
      const digests = missing.map(({ digest }) => digest);
      const added = session.changes(
        ADD[table],
        digests,
        missing.map(({ text }) => new JsonValue(JSON.parse(text))),
      );
      await all<unknown>([added, find(session, table, missing, ids)]);
    }
    return { table, ids };
  }

  /** Remembers numbers that were given in a transaction that is committed. */
  keep({ table, ids }: Ids): void {
    const known = this.#known[table];
    for (const [text, id] of ids) {
      if (known.size >= MAX_KNOWN) known.clear();
      known.set(text, id);
    }
  }
}

export interface Ids {
  readonly table: Table;
  readonly ids: ReadonlyMap<string, number>;
}

async function find(
  session: Session,
  table: Table,
  wanted: readonly { text: string; digest: Buffer }[],
  ids: Map<string, number>,
) {
  const rows = await session.rows(
    FIND[table],
    wanted.map(({ digest }) => digest),
  );
  // Columns: bytea, bigint.
  const found = new Map(rows.map((row) => [(row[0] as Buffer).toString('hex'), Number(row[1])]));
  return wanted.filter(({ text, digest }) => {
    const id = found.get(digest.toString('hex'));
    if (id !== undefined) ids.set(text, id);
    return id === undefined;
  });
}

/** The number of a value that {@link Interner.idsOf} was asked for. */
export function idIn({ table, ids }: Ids, text: string): number {
  const id = ids.get(text);
  if (id === undefined) throw new RangeError(`the database gave no number to an ${table}`);
  return id;
}
