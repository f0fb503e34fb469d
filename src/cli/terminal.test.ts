import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { printable, Terminal, WIDTH, wrap } from './terminal.ts';

function printed(print: (terminal: Terminal) => void, tty = false): string {
  let text = '';
  const sink = () =>
    new Writable({
      write(chunk, _encoding, done) {
        text += String(chunk);
        done();
      },
    });
  print(new Terminal(Object.assign(sink(), { isTTY: tty }), sink(), {}));
  return text;
}

describe('the terminal', () => {
  test('a table never exceeds the width and loses no character', () => {
    const long = 'x'.repeat(150);
    const text = printed((t) =>
      t.table([
        ['A', 'B'],
        [long, 'y'.repeat(90)],
        ['short', 'z'],
      ]),
    );
    for (const line of text.split('\n')) expect(line.length).toBeLessThanOrEqual(WIDTH);
    expect(text.match(/x/g)).toHaveLength(150);
    expect(text.match(/y/g)).toHaveLength(90);
  });

  test('colour is written on a terminal only', () => {
    expect(printed((t) => t.line(t.paint('red', 'no')))).toBe('no\n');
    expect(printed((t) => t.line(t.paint('red', 'no')), true)).toContain('\u001b[31m');
  });

  test('control characters and bidi marks from outside cannot reach the terminal', () => {
    expect(printable('a\u001b[2Jb')).toBe('ab');
    expect(printable('a\u202eb\nc\u0000')).toBe('a\\u202eb\\u000ac\\u0000');
  });

  test('prose is wrapped at spaces', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
  });
});
