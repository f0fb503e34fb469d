import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../../access/index.ts';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import { Changes } from './changes.ts';
import { Fleet } from './fleet.ts';
import { type NewPoint, type Point, Points } from './points.ts';

const cart = parseSpiffeId('spiffe://example.org/ns/shop/sa/cart');

function open() {
  const timers = new ManualTimers();
  const points = new Points(timers);
  const connect = (instance: string, over: Partial<NewPoint> = {}) =>
    points.connect({ kind: 'proxy', identity: cart, instance, workloads: [cart], version: 't', ...over }, 0);
  return { timers, points, changes: new Changes({ fleet: new Fleet(points, timers), timers }), connect };
}

describe('points', () => {
  test('keep what is known of them over connections; a state in force ends a fault', () => {
    const { points, connect } = open();
    const { key } = connect('a');
    points.want(key, 5);
    points.refuse(key, 'nack', 'x'.repeat(5000));
    points.disconnect(key);
    expect(connect('a')).toMatchObject({
      wanted: 5,
      connected: true,
      fault: { code: 'nack', message: 'x'.repeat(2000) },
    });
    points.confirm(key, 5);
    expect(points.get(key)).toMatchObject({ applied: 5 });
    expect(points.get(key)?.fault).toBeUndefined();
    points.confirm(key, 4);
    expect(points.get(key)?.applied).toBe(5);
  });

  test('that are not known change nothing', () => {
    const { points } = open();
    const seen: Point[] = [];
    points.subscribe((point) => seen.push(point));
    for (const act of [
      () => points.want('x', 1),
      () => points.confirm('x', 1),
      () => points.disconnect('x'),
      () => points.refuse('x', 'io', ''),
    ])
      act();
    expect([[...points.all], seen]).toEqual([[], []]);
  });
});

describe('a change', () => {
  test('is followed until everyone has confirmed it, in milliseconds from when it was made', async () => {
    const { timers, points, changes, connect } = open();
    const keys = ['a', 'b', 'c'].map((name) => connect(name).key);
    for (const key of keys) points.want(key, 9);
    const id = changes.follow(new Map(keys.map((key) => [key, 9])), timers.now());
    const waiting = changes.wait(id, 0, 60_000);
    await timers.advance(40);
    points.confirm(keys[0] ?? '', 9);
    expect(await waiting).toMatchObject({
      confirmed: [{ point: { instance: 'a' }, ms: 40 }],
      waiting: [{}, {}],
    });
    const rest = changes.wait(id, 2, 60_000);
    await timers.advance(10);
    points.confirm(keys[1] ?? '', 10);
    points.confirm(keys[2] ?? '', 8);
    points.confirm(keys[2] ?? '', 9);
    expect((await rest).confirmed.map(({ ms }) => ms)).toEqual([40, 50, 50]);
  });

  test('that someone does not confirm is told as it stands when the time is over', async () => {
    const { timers, points, changes, connect } = open();
    const { key } = connect('a');
    points.want(key, 2);
    const waiting = changes.wait(changes.follow(new Map([[key, 2]])), 0, 1000);
    await settle();
    points.disconnect(key);
    await timers.advance(1000);
    expect(await waiting).toMatchObject({ confirmed: [], waiting: [{ point: { connected: false } }] });
    expect(timers.waiting).toBe(0);
  });

  test('of nobody is done at once, and one that is forgotten is not found', async () => {
    const { changes } = open();
    expect(await changes.wait(changes.follow(new Map()), 0, 1000)).toMatchObject({
      confirmed: [],
      waiting: [],
    });
    for (let i = 0; i < 1000; i++) changes.follow(new Map());
    await expect(changes.wait('change-1', 0, 0)).rejects.toMatchObject({ code: 'not_found' });
  });
});
