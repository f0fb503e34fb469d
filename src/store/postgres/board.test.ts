import { describe, expect, test } from 'vitest';
import type { Board, Notice } from '../board.ts';
import { databaseOf } from './raw.test-helper.ts';
import { hasPostgres, newPostgresUrl, startServer } from './server.test-helper.ts';
import { closeAfterEach, openStores } from './stores.test-helper.ts';

closeAfterEach();

/** What a reader was told, as it stands now; and waits for it to become something. */
class Heard {
  readonly all = new Map<string, Map<string, unknown>>();
  readonly left: string[] = [];
  batches = 0;
  #wake: (() => void)[] = [];

  async follow(board: Board): Promise<this> {
    await board.follow({
      fault: (error) => {
        throw error;
      },
      said: (replica, notices, isWhole) => this.#said(replica, notices, isWhole),
      left: (replica, how) => {
        this.left.push(how);
        this.all.delete(replica);
        this.#tell();
      },
    });
    return this;
  }

  of(board: Board): Record<string, unknown> | undefined {
    const own = this.all.get(board.replica);
    return own === undefined ? undefined : Object.fromEntries(own);
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  #said(replica: string, notices: readonly Notice[], isWhole: boolean): void {
    this.batches++;
    let own = this.all.get(replica);
    if (own === undefined || isWhole) this.all.set(replica, (own = new Map()));
    for (const { kind, name, data } of notices)
      if (data === undefined) own.delete(`${kind} ${name}`);
      else own.set(`${kind} ${name}`, data);
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake.splice(0)) wake();
  }
}

const point = (name: string, data?: number): Notice => ({
  kind: 'point',
  name,
  ...(data === undefined ? {} : { data }),
});

async function two() {
  const url = await newPostgresUrl();
  const [one, other] = [(await openStores(url)).board, (await openStores(url)).board];
  return { url, one, other, atOne: await new Heard().follow(one), atOther: await new Heard().follow(other) };
}

describe.skipIf(!hasPostgres)('replicas', () => {
  test('hear what the others say, the last of each name, what is taken back, and never themselves', async () => {
    const { one, other, atOne, atOther } = await two();
    one.say([point('a', 1), point('b', 1)]);
    one.say([point('a', 2), point('never said')]);
    await atOther.until(() => atOther.of(one)?.['point a'] === 2);
    expect(atOther.of(one)).toEqual({ 'point a': 2, 'point b': 1 });
    one.say([point('a')]);
    other.say([point('c', 3)]);
    await atOther.until(() => !('point a' in (atOther.of(one) ?? {})));
    await atOne.until(() => atOne.of(other)?.['point c'] === 3);
    expect([atOne.of(one), atOther.of(other)]).toEqual([undefined, undefined]);
  });

  test('say a thousand things at once in a few statements, and who comes later hears them whole', async () => {
    const { url, one, atOther } = await two();
    for (let i = 0; i < 1000; i++) one.say([point(`p${i}`, i)]);
    await atOther.until(() => Object.keys(atOther.of(one) ?? {}).length === 1000);
    expect(atOther.batches).toBeLessThan(20);
    // Taken back, more of them than are remembered as taken back.
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 1000; i++) one.say([point(`p${i}`)]);
      await atOther.until(() => Object.keys(atOther.of(one) ?? {}).length === 0);
      for (let i = 0; i < 1000; i++) one.say([point(`p${i}`, round)]);
      await atOther.until(() => Object.keys(atOther.of(one) ?? {}).length === 1000);
    }
    one.say([point('p0', 99)]);
    await atOther.until(() => atOther.of(one)?.['point p0'] === 99);
    const { board } = await openStores(url);
    const late = await new Heard().follow(board);
    expect(Object.keys(late.of(one) ?? {})).toHaveLength(1000);
    expect(late.of(one)?.['point p0']).toBe(99);
  });

  test('are told of one that ends, and of one whose lease is over; it comes back whole', async () => {
    const { url, one, other, atOther } = await two();
    const third = await openStores(url);
    third.board.say([point('x', 1)]);
    await new Heard().follow(third.board);
    await atOther.until(() => atOther.of(third.board) !== undefined);
    await third.close();
    await atOther.until(() => atOther.left.length === 1);
    expect(atOther.left).toEqual(['ended']);

    one.say([point('a', 1)]);
    await atOther.until(() => atOther.of(one) !== undefined);
    const db = await databaseOf(url);
    // As if it hung: what it writes does not arrive any more.
    await db.query(`create function hang() returns trigger language plpgsql as $$ begin
      if new.id = '${one.replica}' then return null; end if; return new; end $$;
      create trigger hang before update on replica for each row execute function hang()`);
    await atOther.until(() => atOther.left.length === 2);
    expect([atOther.left[1], atOther.of(one)]).toEqual(['silent', undefined]);
    await db.query('drop trigger hang on replica');
    await atOther.until(() => atOther.of(one) !== undefined);
    expect(atOther.of(one)).toEqual({ 'point a': 1 });
    await db.end();
    other.say([]);
  }, 60_000);

  test('say everything again after the server has crashed, and nobody is taken for gone', async () => {
    const server = await startServer();
    try {
      const url = server.url();
      const [one, other] = [(await openStores(url)).board, (await openStores(url)).board];
      await new Heard().follow(one);
      const atOther = await new Heard().follow(other);
      one.say([point('a', 1)]);
      await atOther.until(() => atOther.of(one) !== undefined);
      await server.kill('SIGQUIT');
      one.say([point('b', 2)]);
      await server.start();
      await atOther.until(() => atOther.of(one)?.['point b'] === 2 && atOther.of(one)?.['point a'] === 1);
      expect(atOther.left).toEqual([]);
    } finally {
      await server.stop();
    }
  }, 60_000);
});
