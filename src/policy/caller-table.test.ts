import { describe, expect, test } from 'vitest';
import { parseSpiffeId } from '../access/index.ts';
import { CallerTable } from './caller-table.ts';
import { hashOf } from './hash.ts';

describe('callers by prefix', () => {
  test('an ID whose prefix has the hash of another prefix is not taken for it', () => {
    const byHash = new Map<number, string>();
    let pair: [string, string] | undefined;
    for (let i = 0; pair === undefined; i++) {
      const prefix = `spiffe://e.org/s${i.toString(36)}/`;
      const other = byHash.get(hashOf(prefix));
      if (other !== undefined) pair = [other, prefix];
      byHash.set(hashOf(prefix), prefix);
    }
    const table = new CallerTable();
    const found: number[] = [];
    const ask = (prefix: string) =>
      table.find({ kind: 'workload', id: parseSpiffeId(`${prefix}sa/x`) }, found);
    const first = table.numberOf({ kind: 'prefix', prefix: pair[0] });
    expect([ask(pair[0]), found[0], ask(pair[1])]).toEqual([1, first, 0]);
    const second = table.numberOf({ kind: 'prefix', prefix: pair[1] });
    expect(second).not.toBe(first);
    expect([ask(pair[1]), found[0]]).toEqual([1, second]);
    expect([ask(pair[0]), found[0]]).toEqual([1, first]);
  });
});
