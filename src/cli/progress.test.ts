import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { Progress } from './progress.ts';
import { Terminal } from './terminal.ts';

const MIB = 1048576;

/** Runs steps a second apart and gives what was written. */
function said(tty: boolean, steps: { done: number; total?: number }[]): string {
  let text = '';
  let now = 0;
  const stream = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const terminal = new Terminal(stream, Object.assign(stream, { isTTY: tty }), {});
  const progress = new Progress(terminal, () => now);
  for (const step of steps) {
    now += 1000;
    progress.step({ what: 'a.jsonl', ...step });
  }
  progress.end();
  return text;
}

describe('progress', () => {
  const steps = Array.from({ length: 12 }, (_, i) => ({ done: (i + 1) * MIB, total: 24 * MIB }));

  test('rewrites one line on a terminal, with rate and what is left, and clears it', () => {
    const text = said(true, steps);
    expect(text).not.toContain('\n');
    expect(text).toContain('a.jsonl: 6.0 MiB of 24.0 MiB (25 %), 1.0 MiB/s, about 18 s left');
    expect(text.endsWith('\r\x1b[K')).toBe(true);
  });

  test('says a line every few seconds elsewhere, without control characters', () => {
    const lines = said(false, steps).trimEnd().split('\n');
    expect(lines).toEqual([
      'a.jsonl: 5.0 MiB of 24.0 MiB (20 %), 1.0 MiB/s, about 19 s left',
      'a.jsonl: 10.0 MiB of 24.0 MiB (41 %), 1.0 MiB/s, about 14 s left',
    ]);
  });

  test('of a pipe says what was read, and promises no end', () => {
    expect(
      said(
        false,
        Array.from({ length: 5 }, (_, i) => ({ done: (i + 1) * MIB })),
      ),
    ).toBe('a.jsonl: 5.0 MiB, 1.0 MiB/s\n');
  });
});
