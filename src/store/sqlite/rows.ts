import type { DatabaseSync, SQLOutputValue } from 'node:sqlite';

/** A row as an array of its columns: cheaper than an object when there are many. */
export type Row = SQLOutputValue[];

/** The rows of a query, one at a time. */
export function* rowsOf(db: DatabaseSync, sql: string): Generator<Row> {
  const statement = db.prepare(sql);
  statement.setReturnArrays(true);
  // With setReturnArrays a row is an array; the type of iterate() does not know of it.
  for (const row of statement.iterate()) yield row as unknown as Row;
}

/** The first column of the first row, or undefined. */
export function valueOf(
  db: DatabaseSync,
  sql: string,
  ...values: (string | number)[]
): SQLOutputValue | undefined {
  const row = db.prepare(sql).get(...values);
  return row === undefined ? undefined : Object.values(row)[0];
}

/** Gives the same text the same number, within one transaction; new texts are added to the table. */
export class Interner {
  readonly #known = new Map<string, number>();
  readonly #select;
  readonly #insert;

  constructor(db: DatabaseSync, table: 'endpoint' | 'action' | 'name') {
    this.#select = db.prepare(`SELECT id FROM ${table} WHERE data = ?`);
    this.#insert = db.prepare(`INSERT INTO ${table} (data) VALUES (?)`);
  }

  idOf(data: string): number {
    let id = this.#known.get(data);
    if (id !== undefined) return id;
    const row = this.#select.get(data);
    id = Number(row === undefined ? this.#insert.run(data).lastInsertRowid : row['id']);
    this.#known.set(data, id);
    return id;
  }
}

/** The values of a table of interned texts, by number, each read once. */
export function internedValues<T>(db: DatabaseSync, table: 'endpoint' | 'action' | 'name'): Map<number, T> {
  const values = new Map<number, T>();
  // The texts are JSON that this program wrote for values of type T.
  for (const [id, data] of rowsOf(db, `SELECT id, data FROM ${table}`))
    values.set(Number(id), JSON.parse(String(data)) as T);
  return values;
}
