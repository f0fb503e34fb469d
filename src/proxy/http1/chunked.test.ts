import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkedBody } from './chunked.ts';

/** Where the body ends, or why it is refused; `more` where it goes on. */
function follow(pieces: readonly string[]): string {
  const body = new ChunkedBody();
  body.reset();
  let total = 0;
  for (const piece of pieces) {
    const bytes = Buffer.from(piece, 'latin1');
    const end = body.push(bytes, 0);
    total += end;
    if (body.fault !== undefined) return `${total}: ${body.fault}`;
    if (body.done) return `done ${total}`;
  }
  return 'more';
}

const SOUND: readonly (readonly [what: string, body: string])[] = [
  ['nothing', '0\r\n\r\n'],
  ['two chunks', '5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n'],
  ['a size in either case', 'a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n'],
  ['leading zeros', '0005\r\nhello\r\n000\r\n\r\n'],
  ['an extension', '5;name=value;x="y z"\r\nhello\r\n0;last\r\n\r\n'],
  ['trailers', '0\r\nGrpc-Status: 0\r\nx:\r\n\r\n'],
  ['line ends inside a chunk', '4\r\n\r\n\r\n\r\n0\r\n\r\n'],
];

const REFUSED: readonly (readonly [what: string, body: string, at: number])[] = [
  ['no size', '\r\nhello', 0],
  ['a size that is no number', 'x\r\n', 0],
  ['a negative size', '-5\r\n', 0],
  ['a hexadecimal prefix', '0x5\r\n', 1],
  ['a space after the size', '5 \r\nhello', 1],
  ['a size that ends with LF', '5\nhello', 1],
  ['a size beyond all memory', 'ffffffffffffff\r\n', 12],
  ['a chunk longer than its size', '3\r\nhello\r\n', 6],
  ['a chunk shorter than its size', '5\r\nhel\r\n0\r\n', 8],
  ['LF after a chunk', '5\r\nhello\n0', 8],
  ['LF in an extension', '5;a\nb\r\nhello', 3],
  ['a bare CR in an extension', '5;a\rb\r\nhello', 4],
  ['an extension of 257 bytes', `5;${'a'.repeat(257)}\r\nhello`, 258],
  ['a trailer that is a length', '0\r\nContent-Length: 3\r\n\r\n', 17],
  ['a trailer that says who calls', '0\r\nX-Forwarded_Client-Cert: x\r\n\r\n', 26],
  ['a trailer without a colon', '0\r\nfoo\r\n\r\n', 6],
  ['a folded trailer', '0\r\na: b\r\n c\r\n\r\n', 9],
  ['a trailer with a bare LF', '0\r\na: b\n\r\n', 7],
  ['trailers of 9 KB', `0\r\n${'a: bcdefg\r\n'.repeat(900)}\r\n`, 3 + 8192],
];

describe('a body in chunks', () => {
  it.each(SOUND)('with %s ends where its framing says', (_, body) => {
    expect(follow([`${body}GET / HTTP/1.1`])).toBe(`done ${body.length}`);
  });

  it.each(REFUSED)('with %s is refused, and no byte from the bad one on is passed', (_, body, at) => {
    expect(follow([body])).toMatch(new RegExp(`^${at}: `));
  });

  it('with many extensions is refused after 4 KiB of them', () => {
    expect(follow(['1;abcdefghijklmnopqrstuvwxyz\r\nx\r\n'.repeat(400)])).toContain('extensions');
  });

  it('reads the same however it is split', () => {
    const bodies = fc.constantFrom(...[...SOUND, ...REFUSED].map(([, body]) => body));
    fc.assert(
      fc.property(bodies, fc.array(fc.nat(), { maxLength: 8 }), (body, at) => {
        const cuts = [...new Set([0, ...at.map((n) => n % (body.length + 1)), body.length])].sort(
          (a, b) => a - b,
        );
        expect(follow(cuts.slice(1).map((end, i) => body.slice(cuts[i], end)))).toBe(follow([body]));
      }),
    );
  });
});
