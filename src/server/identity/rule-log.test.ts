import { expect, test } from 'vitest';
import { RuleLog } from './rule-log.ts';

test('a reader of the current version has nothing to catch up on', () => {
  expect(new RuleLog(7).since(7)).toEqual(new Set());
});

test('a reader of an earlier version gets each name that changed since, once', () => {
  const log = new RuleLog(7);
  log.add(8, ['a', 'b']);
  log.add(9, ['b', 'c']);
  expect(log.since(7)).toEqual(new Set(['a', 'b', 'c']));
  expect(log.since(8)).toEqual(new Set(['b', 'c']));
});

test('a reader of an unknown version gets all rules: before the log, after its end, none at all', () => {
  const log = new RuleLog(7);
  log.add(8, ['a']);
  for (const version of [0, -1, 6, 9, Number.NaN]) expect(log.since(version)).toBeUndefined();
});

test('only the newest versions are remembered', () => {
  const log = new RuleLog(1);
  for (let version = 2; version <= 1500; version++) log.add(version, [`r${version}`]);
  expect(log.since(400)).toBeUndefined();
  expect(log.since(500)?.size).toBe(1000);
  log.add(
    1501,
    Array.from({ length: 200_000 }, (_, i) => `big${i}`),
  );
  expect(log.since(1500)).toBeUndefined();
  expect(log.since(1501)).toEqual(new Set());
});
