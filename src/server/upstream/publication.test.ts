import { describe, expect, test } from 'vitest';
import { ManualTimers, settle } from '../../node/manual-timers.test-helper.ts';
import { Publication } from './publication.ts';
import { Turns } from './turns.ts';

function fixture() {
  const timers = new ManualTimers();
  const now = { state: undefined as string | undefined };
  const told: { state: string; done: () => void; fail: () => void }[] = [];
  let failures = 0;
  const publication = new Publication<string>({
    timers,
    state: () => now.state,
    isSame: (one, other) => one === other,
    tell: (state) =>
      new Promise((resolve, reject) =>
        told.push({ state, done: resolve, fail: () => reject(new Error('away')) }),
      ),
    onFailed: () => failures++,
  });
  const look = async (state: string | undefined) => {
    now.state = state;
    publication.look();
    await settle();
  };
  return { timers, told, publication, look, failures: () => failures };
}
const states = (told: readonly { state: string }[]) => told.map(({ state }) => state);

describe('a state that is told to the parent', () => {
  test('is told once, and again when it has changed; while one is told, only the newest waits', async () => {
    const { told, look } = fixture();
    await look(undefined);
    await look('a');
    await look('b');
    await look('c');
    expect(states(told)).toEqual(['a']);
    told[0]?.done();
    await settle();
    expect(states(told)).toEqual(['a', 'c']);
    told[1]?.done();
    await settle();
    await look('c');
    expect(states(told)).toEqual(['a', 'c']);
  });

  test('is told again after a failure, and after the parent may have forgotten it', async () => {
    const { told, look, timers, publication, failures } = fixture();
    await look('a');
    told[0]?.fail();
    await timers.advance(10_000);
    expect([states(told), failures()]).toEqual([['a', 'a'], 1]);
    told[1]?.done();
    await settle();
    publication.forget();
    await look('a');
    expect(states(told)).toEqual(['a', 'a', 'a']);
  });

  test('is told no more once it is stopped', async () => {
    const { told, look, timers, publication } = fixture();
    await look('a');
    publication.stop();
    told[0]?.fail();
    await timers.advance(10_000);
    await look('b');
    expect(states(told)).toEqual(['a']);
    expect(timers.waiting).toBe(0);
  });
});

describe('turns', () => {
  test('let so many work at once; the next one begins when one ends, also with an error', async () => {
    const turns = new Turns(2, 1);
    const ends: ((error?: Error) => void)[] = [];
    const work = () =>
      turns.take(
        () =>
          new Promise<void>((resolve, reject) => ends.push((error) => (error ? reject(error) : resolve()))),
      );
    const [first, second, third] = [work(), work(), work()];
    await expect(work()).rejects.toMatchObject({ code: 'limit' });
    expect(ends).toHaveLength(2);
    ends[0]?.(new Error('no'));
    await expect(first).rejects.toThrow('no');
    await settle();
    expect(ends).toHaveLength(3);
    ends[1]?.();
    ends[2]?.();
    await Promise.all([second, third]);
    const fourth = work();
    ends[3]?.();
    await fourth;
  });
});
