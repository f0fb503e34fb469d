import { expect, test } from 'vitest';
import { BoundedMap } from './bounded-map.ts';

test('a full map forgets what was set longest ago, hands it over, and never holds more than its limit', () => {
  const forgotten: number[] = [];
  const map = new BoundedMap<number>(10, (value) => forgotten.push(value));
  for (let i = 0; i < 100; i++) {
    map.set(`${i}`, i);
    map.set('kept', -1);
    expect(map.get('kept')).toBe(-1);
    expect(map.get(`${i}`)).toBe(i);
  }
  const held = map.drain();
  expect(held.length).toBeLessThanOrEqual(10);
  expect([...forgotten, ...held.filter((value) => value >= 0)]).toEqual(
    Array.from({ length: 100 }, (_, i) => i),
  );
  expect(map.get('99')).toBeUndefined();
});
