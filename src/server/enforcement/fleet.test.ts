import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import type { BoardReader, Notice } from '../../store/index.ts';
import { Changes } from './changes.ts';
import { Fleet } from './fleet.ts';
import { pointKey, Points } from './points.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');
const web = parseSpiffeId('spiffe://example.org/ns/shop/sa/web');
const keyOf = (instance: string) => pointKey({ identity: cart, instance });

/** Boards of several control planes, without a database: what one says the others hear at once, or when they listen again. */
class Boards {
  readonly #readers = new Map<string, BoardReader>();
  readonly #said = new Map<string, Map<string, Notice>>();
  readonly deaf = new Set<string>();

  board(replica: string) {
    return {
      replica,
      say: (notices: readonly Notice[]) => {
        const own = this.#said.get(replica) ?? new Map<string, Notice>();
        this.#said.set(replica, own);
        for (const notice of notices) own.set(`${notice.kind} ${notice.name}`, notice);
        for (const [other, reader] of this.#readers)
          if (other !== replica && !this.deaf.has(other)) reader.said(replica, notices, false);
      },
    };
  }

  listen(replica: string, reader: Omit<BoardReader, 'fault'>): void {
    this.#readers.set(replica, { ...reader, fault: () => {} });
  }

  /** It hears everything that the others say by now. */
  hear(replica: string): void {
    this.deaf.delete(replica);
    for (const [other, own] of this.#said)
      if (other !== replica)
        this.#readers.get(replica)?.said(
          other,
          [...own.values()].filter(({ data }) => data !== undefined),
          true,
        );
  }

  leave(replica: string, how: 'ended' | 'silent'): void {
    for (const [other, reader] of this.#readers) if (other !== replica) reader.left(replica, how);
  }
}

function open(...names: readonly string[]) {
  const timers = new ManualTimers();
  const boards = new Boards();
  const planes = names.map((name) => {
    const board = boards.board(name);
    const own = new Points(timers);
    const fleet = new Fleet(own, timers, board);
    const caught: boolean[] = [];
    const changes = new Changes({
      fleet,
      timers,
      board,
      // What a control plane takes over it tells its proxies of.
      catchUp: async (isDrill) => {
        caught.push(isDrill);
        for (const { key, connected } of own.all) if (connected) own.want(key, timers.now());
      },
    });
    boards.listen(name, {
      said: (replica, notices, isWhole) => {
        fleet.said(replica, notices, isWhole);
        changes.said(replica, notices);
      },
      left: (replica, how) => fleet.left(replica, how),
    });
    const connect = (instance: string, workload = cart) => {
      own.connect({ kind: 'proxy', identity: cart, instance, workloads: [workload], version: 't' }, 0);
      own.want(keyOf(instance), timers.now());
      own.confirm(keyOf(instance), timers.now());
    };
    return { own, fleet, changes, connect, caught };
  });
  return { timers, boards, planes };
}

type PlaneOf = ReturnType<typeof open>['planes'][number];
const keys = ({ fleet }: PlaneOf) =>
  [...fleet.all].map(({ instance, connected }) => `${instance} ${connected}`).sort();

describe('the proxies of several control planes', () => {
  test('are known at all; one that moves is one, and one whose control plane fell silent is unknown until it is back', async () => {
    const { timers, boards, planes } = open('A', 'B');
    const [a, b] = planes as [PlaneOf, PlaneOf];
    a.connect('one');
    b.connect('two');
    b.connect('three', web);
    expect([keys(a), a.fleet.of(web).length]).toEqual([['one true', 'three true', 'two true'], 1]);
    expect(keys(b)).toEqual(keys(a));
    boards.leave('B', 'silent');
    expect(a.fleet.get(keyOf('two'))).toMatchObject({ connected: false, unheard: true });
    await timers.advance(1000);
    a.connect('two');
    expect(a.fleet.get(keyOf('two'))).toMatchObject({ connected: true });
    expect(a.fleet.get(keyOf('two'))?.unheard).toBeUndefined();
    expect(keys(a)).toEqual(['one true', 'three false', 'two true']);
    // It was only cut off: what it says now counts, and its connection of the one that has moved is over.
    b.own.disconnect(keyOf('two'));
    boards.hear('A');
    expect(keys(a)).toEqual(['one true', 'three true', 'two true']);
    boards.leave('B', 'ended');
    expect(a.fleet.get(keyOf('three'))).toMatchObject({ connected: false });
    expect(a.fleet.get(keyOf('three'))?.unheard).toBeUndefined();
  });

  test('are forgotten at all, once they are away at all', () => {
    const { planes } = open('A', 'B');
    const [a, b] = planes as [PlaneOf, PlaneOf];
    b.connect('one');
    expect(() => a.fleet.forget(keyOf('one'))).toThrow(expect.objectContaining({ code: 'conflict' }));
    b.own.disconnect(keyOf('one'));
    a.fleet.forget(keyOf('one'));
    expect([keys(a), keys(b)]).toEqual([[], []]);
    expect(() => b.fleet.forget(keyOf('one'))).toThrow(expect.objectContaining({ code: 'not_found' }));
  });
});

describe('a change at one control plane', () => {
  test('waits for the proxies of the others, and is the same change there', async () => {
    const { timers, planes } = open('A', 'B');
    const [a, b] = planes as [PlaneOf, PlaneOf];
    a.connect('one');
    b.connect('two');
    b.connect('three', web);
    await timers.advance(10);
    a.own.want(keyOf('one'), timers.now());
    const concerns = new Set([cart]);
    const id = a.changes.follow(new Map([[keyOf('one'), timers.now()]]), timers.now(), concerns);
    // Nobody has answered: whoever has confirmed something before has not confirmed this.
    expect(a.changes.progress(id)).toMatchObject({ confirmed: [], waiting: [{}, {}] });
    a.changes.announce(id, { concerns });
    await settle();
    expect(b.caught).toEqual([false]);
    await timers.advance(5);
    b.own.confirm(keyOf('two'), timers.now());
    a.own.confirm(keyOf('one'), timers.now());
    for (const { changes } of [a, b]) {
      const { confirmed, waiting } = changes.progress(id);
      expect(confirmed.map(({ point, ms }) => `${point.instance} ${ms}`).sort()).toEqual(['one 5', 'two 5']);
      expect(waiting).toEqual([]);
    }
  });

  test('is confirmed by a proxy that has come over from one that is gone, and by none that says it is at two', async () => {
    const { timers, boards, planes } = open('A', 'B');
    const [a, b] = planes as [PlaneOf, PlaneOf];
    b.connect('two');
    await timers.advance(10);
    const id = a.changes.follow(new Map(), timers.now(), 'all');
    boards.deaf.add('B');
    a.changes.announce(id, { concerns: 'all' });
    await settle();
    boards.leave('B', 'silent');
    expect(a.changes.progress(id)).toMatchObject({ confirmed: [], waiting: [{ point: { unheard: true } }] });
    await timers.advance(10);
    a.connect('two');
    expect(a.changes.progress(id).confirmed).toMatchObject([{ ms: 10, point: { connected: true } }]);
    // The other one is back, with a connection of that name that has not confirmed.
    boards.hear('A');
    expect(a.changes.progress(id)).toMatchObject({ confirmed: [], waiting: [{}] });
    boards.hear('B');
    await settle();
    b.own.confirm(keyOf('two'), timers.now());
    expect(a.changes.progress(id).confirmed).toHaveLength(1);
  });
});
