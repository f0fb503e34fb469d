import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import { printable, Terminal, WIDTH } from './terminal.ts';
import { wrap } from './wrap.ts';

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

  test('what would move the cursor, reorder or hide text is shown as an escape', () => {
    expect(printable('a\u001b[2Jb')).toBe('a\\u001b[2Jb');
    expect(printable('a\u202eb\nc\u0000')).toBe('a\\u202eb\\u000ac\\u0000');
    // A name that differs in something unseen must not look like another one.
    expect(printable('front\u001b]8;;x\u0007end')).toBe('front\\u001b]8;;x\\u0007end');
    for (const c of ['\u200b', '\u2028', '\ufeff', '\u061c', '\u3164', '\ufe0f', '\ud800', '\u{e0041}']) {
      expect(printable(`a${c}b`)).toMatch(/^a(\\u[0-9a-f]{4}){1,2}b$/);
    }
    expect(printable('größe 東京 🚂')).toBe('größe 東京 🚂');
  });

  test('no way of printing lets text from outside act on the terminal', () => {
    const outside = 'a\u001b[2J\u009b31m\u202eb';
    const text = printed((t) => {
      t.prose(outside, 2);
      t.heading(outside);
      t.table([['A'], [outside]]);
      t.json({ [outside]: outside });
    });
    expect(text).not.toMatch(/[^\P{C}\n]/u);
    expect(JSON.parse(printed((t) => t.json({ [outside]: outside })))).toEqual({ [outside]: outside });
  });

  test('prose is wrapped at spaces', () => {
    expect(wrap('one two three', 7)).toEqual(['one two', 'three']);
  });
});
