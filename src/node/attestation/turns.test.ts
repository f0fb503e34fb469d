import { describe, expect, test } from 'vitest';
import { settle } from '../manual-timers.test-helper.ts';
import { Turns } from './turns.ts';

describe('turns', () => {
  test('are so many at once, and of one owner so many, whoever came first', async () => {
    const turns = new Turns(3, 2);
    const begun: string[] = [];
    const release: (() => void)[] = [];
    const work = (name: string) => () => {
      begun.push(name);
      return new Promise<void>((resolve) => release.push(resolve));
    };
    const done = ['a1', 'a2', 'a3', 'a4', 'b1', 'c1'].map((name) => turns.take(name.slice(0, 1), work(name)));
    await settle();
    expect(begun).toEqual(['a1', 'a2', 'b1']);
    release.shift()?.();
    await settle();
    expect(begun.at(-1)).toBe('c1');
    while (release.length > 0) {
      release.shift()?.();
      await settle();
    }
    await Promise.all(done);
    expect(begun.slice(4)).toEqual(['a3', 'a4']);
  });

  test('are given back by work that fails', async () => {
    const turns = new Turns(1, 1);
    await expect(turns.take('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect(await turns.take('a', async () => 7)).toBe(7);
  });
});
