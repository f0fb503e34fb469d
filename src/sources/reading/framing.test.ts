import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { eachLine, LineFramer, wholeDocument } from './framing.ts';

type Seen = { number: number; text: string; oversized?: true };

/** Every line and its number, as the framer and eachLine give them together. */
function framed(chunks: readonly Buffer[], limit?: number): Seen[] {
  const seen: Seen[] = [];
  let number = 0;
  const framer = new LineFramer(
    {
      lines(bytes) {
        number = eachLine(bytes, number, (line, at) => seen.push({ number: at, text: line.toString() }));
      },
      oversized(head) {
        seen.push({ number: ++number, text: head.toString(), oversized: true });
      },
    },
    limit === undefined ? {} : { limit },
  );
  for (const chunk of chunks) framer.push(chunk);
  framer.end();
  return seen;
}

/** The text cut at the given places. */
function cut(text: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (text.length + 1)).toSorted((a, b) => a - b), text.length];
  return at.slice(1).map((end, i) => text.subarray(at[i], end));
}

async function* from(...chunks: string[]) {
  for (const chunk of chunks) yield Buffer.from(chunk);
}

describe('framing', () => {
  test('gives the lines of the text however it was cut into chunks', () => {
    const piece = fc.constantFrom('a', 'bc', '\n', '\r\n', '\r', '\n\n', 'ä', '\0', '\ufeff', ' ');
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 40 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        (parts, places) => {
          const text = parts.join('');
          const expected: Seen[] = [];
          for (const [i, line] of text
            .replace(/^\ufeff/, '')
            .split('\n')
            .entries()) {
            const bare = line.replace(/\r$/, '');
            if (bare !== '') expected.push({ number: i + 1, text: bare });
          }
          expect(framed(cut(Buffer.from(text), places))).toEqual(expected);
        },
      ),
    );
  });

  test('passes a line over the limit over, tells its number and its start, and goes on behind it', () => {
    const long = 'x'.repeat(5000);
    const chunks = cut(
      Buffer.from(`one\n${long}\nthree\n${long}`),
      Array.from({ length: 200 }, (_, i) => i * 53),
    );
    const head = { text: 'x'.repeat(160), oversized: true };
    expect(framed(chunks, 1000)).toEqual([
      { number: 1, text: 'one' },
      { number: 2, ...head },
      { number: 3, text: 'three' },
      { number: 4, ...head },
    ]);
  });

  test('takes a line of exactly the limit, and holds no more than that of a longer one', () => {
    const line = 'y'.repeat(1000);
    expect(framed(cut(Buffer.from(`${line}\r\n`), [400]), 1000)).toEqual([{ number: 1, text: line }]);
    expect(framed(cut(Buffer.from(`${line}yyy`), [400]), 1000)[0]?.oversized).toBe(true);
  });

  test('does not copy lines that lie in one chunk', () => {
    const chunk = Buffer.from('one\ntwo\n');
    const lines: Buffer[] = [];
    const framer = new LineFramer({
      lines: (bytes) => void eachLine(bytes, 0, (line) => lines.push(line)),
      oversized: () => expect.unreachable(),
    });
    framer.push(chunk);
    expect(lines.every((line) => line.buffer === chunk.buffer)).toBe(true);
    expect(lines).toHaveLength(2);
  });

  test('gives a document whole, without its byte order mark, up to its limit', async () => {
    expect((await wholeDocument(from('\ufeffkind: ', 'Pod'), 'f', 12)).toString()).toBe('kind: Pod');
    await expect(wholeDocument(from('12345', '67890'), 'f.yaml', 9)).rejects.toMatchObject({
      code: 'limit',
      message: expect.stringContaining('f.yaml'),
    });
  });
});
