import type { ClientBase, QueryConfig } from 'pg';
import { DatabaseFailure } from './failures.ts';
import { toDriver, type Value } from './values.ts';

/** A row as an array of its columns. */
export type Row = readonly unknown[];

/**
 * One connection. Statements are sent at once, each behind the one before it, and their answers come in that order: a
 * dozen of them cost one round trip. After one has failed in a transaction, those behind it fail as well.
 */
export class Session {
  readonly #client: ClientBase;
  #waiting = 0;

  constructor(client: ClientBase) {
    this.#client = client;
  }

  /** Whether something was asked that is not answered yet. */
  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** The rows of a statement. Errors: {@link DatabaseFailure} alone. */
  async rows(text: string, ...values: readonly Value[]): Promise<Row[]> {
    return (await this.#run(text, values)).rows;
  }

  /** The first row, or undefined. */
  async row(text: string, ...values: readonly Value[]): Promise<Row | undefined> {
    return (await this.#run(text, values)).rows[0];
  }

  /** How many rows a statement changed. */
  async changes(text: string, ...values: readonly Value[]): Promise<number> {
    return (await this.#run(text, values)).rowCount ?? 0;
  }

  /** Runs a statement without values and gives what PostgreSQL calls it ("COMMIT"); several at once, divided by `;`. `limit` in milliseconds. */
  async command(text: string, limit?: number): Promise<string> {
    this.#waiting++;
    try {
      // The driver gives up on its own after this time; its types do not name it.
      const query: QueryConfig & { query_timeout?: number } = { text };
      if (limit !== undefined) query.query_timeout = limit;
      return (await this.#client.query(query)).command;
    } catch (cause) {
      throw new DatabaseFailure(cause);
    } finally {
      this.#waiting--;
    }
  }

  async #run(text: string, values: readonly Value[]) {
    const name = nameOf(text);
    this.#waiting++;
    try {
      return await this.#client.query<unknown[]>({
        text,
        values: values.map(toDriver),
        rowMode: 'array',
        ...(name === undefined ? {} : { name }),
      });
    } catch (cause) {
      throw new DatabaseFailure(cause);
    } finally {
      this.#waiting--;
    }
  }
}

/** Statements that a connection keeps parsed: all of ours, were it not for filters made of parts. */
const MAX_PREPARED = 200;
const names = new Map<string, string>();

function nameOf(text: string): string | undefined {
  let name = names.get(text);
  if (name === undefined && names.size < MAX_PREPARED) names.set(text, (name = `s${names.size}`));
  return name;
}

/** Waits for all, also where one fails, and throws what failed first: the rest only failed behind it. */
export async function all<T>(answers: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(answers);
  for (const each of settled) if (each.status === 'rejected') throw each.reason;
  return settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
}
