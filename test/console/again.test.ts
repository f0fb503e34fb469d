import { expect, test } from 'vitest';
import { Again } from '../../console/src/api/again.ts';

/** A clock that is moved by hand, and what was read by it. */
class Desk {
  now = 0;
  readonly said: string[] = [];
  #answer: (() => void)[] = [];
  #later: { at: number; run: () => void }[] = [];
  readonly again = new Again({
    read: (name) => {
      this.said.push(`${name} at ${this.now}`);
      return new Promise<void>((resolve) => this.#answer.push(resolve));
    },
    now: () => this.now,
    after: (ms, run) => this.#later.push({ at: this.now + ms, run }),
  });

  async advance(ms: number): Promise<void> {
    this.now += ms;
    const due = this.#later.filter(({ at }) => at <= this.now);
    this.#later = this.#later.filter(({ at }) => at > this.now);
    for (const { run } of due) run();
    await Promise.resolve();
  }

  async answer(): Promise<void> {
    for (const resolve of this.#answer.splice(0)) resolve();
    for (let i = 0; i < 5; i++) await Promise.resolve();
  }
}

test('the first change is read at once, and all of the next second as one', async () => {
  const desk = new Desk();
  desk.again.isOld('graph.get');
  await desk.answer();
  for (let i = 0; i < 9; i++) {
    await desk.advance(100);
    desk.again.isOld('graph.get');
  }
  desk.again.isOld('rollouts.list');
  expect(desk.said).toEqual(['graph.get at 0', 'rollouts.list at 900']);
  await desk.advance(100);
  expect(desk.said.at(-1)).toBe('graph.get at 1000');
  await desk.advance(5000);
  expect(desk.said).toHaveLength(3);
});

test('what takes long to read is read less often', async () => {
  const desk = new Desk();
  desk.again.isOld('graph.get');
  await desk.advance(800);
  await desk.answer();
  desk.again.isOld('graph.get');
  await desk.advance(700);
  expect(desk.said).toEqual(['graph.get at 0']);
  await desk.advance(100);
  expect(desk.said.at(-1)).toBe('graph.get at 1600');
});
