import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { lines, readRequest } from './http1.test-helper.ts';
import { HeadReader } from './head-reader.ts';
import { RequestHead } from './request-head.ts';

const HOST = 'Host: shop';

/** What has to be refused, whatever the program behind would make of it: one line each. */
const REFUSED: readonly (readonly [what: string, bytes: Buffer, status: number])[] = [
  [
    'Content-Length and Transfer-Encoding (CL.TE)',
    lines('POST / HTTP/1.1', HOST, 'Content-Length: 6', 'Transfer-Encoding: chunked'),
    400,
  ],
  [
    'Transfer-Encoding and Content-Length (TE.CL)',
    lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: chunked', 'Content-Length: 6'),
    400,
  ],
  ['two lengths', lines('POST / HTTP/1.1', HOST, 'Content-Length: 6', 'Content-Length: 5'), 400],
  ['the same length twice', lines('POST / HTTP/1.1', HOST, 'Content-Length: 6', 'Content-Length: 6'), 400],
  ['a list of lengths', lines('POST / HTTP/1.1', HOST, 'Content-Length: 6, 6'), 400],
  ['a signed length', lines('POST / HTTP/1.1', HOST, 'Content-Length: +6'), 400],
  ['a hexadecimal length', lines('POST / HTTP/1.1', HOST, 'Content-Length: 0x6'), 400],
  ['an empty length', lines('POST / HTTP/1.1', HOST, 'Content-Length:'), 400],
  ['a length beyond all numbers', lines('POST / HTTP/1.1', HOST, `Content-Length: ${'9'.repeat(20)}`), 400],
  ['Content_Length', lines('POST / HTTP/1.1', HOST, 'Content_Length: 6'), 400],
  ['Transfer_Encoding', lines('POST / HTTP/1.1', HOST, 'Transfer_Encoding: chunked'), 400],
  ['another coding', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: gzip'), 400],
  ['chunked after another coding', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: gzip, chunked'), 400],
  [
    'chunked twice',
    lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
    400,
  ],
  ['xchunked', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: xchunked'), 400],
  ['chunked after a vertical tab', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: \x0bchunked'), 400],
  ['chunked, quoted', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding: "chunked"'), 400],
  ['chunks in HTTP/1.0', lines('POST / HTTP/1.0', HOST, 'Transfer-Encoding: chunked'), 400],
  ['space before the colon', lines('POST / HTTP/1.1', HOST, 'Transfer-Encoding : chunked'), 400],
  ['a tab before the colon', lines('POST / HTTP/1.1', HOST, 'Content-Length\t: 6'), 400],
  ['a folded field', lines('GET / HTTP/1.1', HOST, 'X: a', ' b'), 400],
  ['a first field that is folded', lines('GET / HTTP/1.1', ' Host: shop'), 400],
  ['a bare LF between fields', Buffer.from('GET / HTTP/1.1\r\nHost: shop\nX: y\r\n\r\n'), 400],
  ['a bare LF after the request line', Buffer.from('GET / HTTP/1.1\nHost: shop\r\n\r\n'), 400],
  ['a bare CR in a value', lines('GET / HTTP/1.1', HOST, 'X: a\rTransfer-Encoding: chunked'), 400],
  ['a bare CR before the line end', Buffer.from('GET / HTTP/1.1\r\nHost: shop\r\r\n\r\n'), 400],
  ['NUL in a value', lines('GET / HTTP/1.1', HOST, 'X: a\0b'), 400],
  ['NUL in a name', lines('GET / HTTP/1.1', HOST, 'X\0: a'), 400],
  ['a field without a colon', lines('GET / HTTP/1.1', HOST, 'X'), 400],
  ['a field without a name', lines('GET / HTTP/1.1', HOST, ': a'), 400],
  ['two Hosts', lines('GET / HTTP/1.1', HOST, HOST), 400],
  ['no Host', lines('GET / HTTP/1.1', 'X: y'), 400],
  ['a Host with a path', lines('GET / HTTP/1.1', 'Host: shop/x'), 400],
  ['a Host with a user', lines('GET / HTTP/1.1', 'Host: a@shop'), 400],
  ['a Host of two words', lines('GET / HTTP/1.1', 'Host: shop other'), 400],
  ['no method', lines(' / HTTP/1.1', HOST), 400],
  ['a method with a character that no token has', lines('GE"T / HTTP/1.1', HOST), 400],
  ['a long method', lines(`${'A'.repeat(33)} / HTTP/1.1`, HOST), 400],
  ['no target', lines('GET  HTTP/1.1', HOST), 400],
  ['two spaces before the version', lines('GET /  HTTP/1.1', HOST), 400],
  ['a tab instead of a space', lines('GET\t/ HTTP/1.1', HOST), 400],
  ['a control character in the target', lines('GET /\x01 HTTP/1.1', HOST), 400],
  ['a byte above ASCII in the target', lines('GET /\xe4 HTTP/1.1', HOST), 400],
  ['no version', lines('GET /', HOST), 400],
  ['HTTP/0.9 with headers', lines('GET / HTTP/0.9', HOST), 505],
  ['HTTP/2.0 in words', lines('GET / HTTP/2.0', HOST), 505],
  ['HTTP/1.2', lines('GET / HTTP/1.2', HOST), 505],
  ['http in lower case', lines('GET / http/1.1', HOST), 400],
  ['a version with two digits', lines('GET / HTTP/1.10', HOST), 400],
  ['words after the version', lines('GET / HTTP/1.1 x', HOST), 400],
  ['CONNECT', lines('CONNECT shop:443 HTTP/1.1', HOST), 405],
  ['TRACE', lines('TRACE / HTTP/1.1', HOST), 405],
  ['a target in authority form', lines('GET shop:80 HTTP/1.1', HOST), 400],
  ['an absolute form of another host', lines('GET http://other/x HTTP/1.1', HOST), 400],
  ['an absolute form with a user', lines('GET http://a@shop/x HTTP/1.1', HOST), 400],
  ['Connection that names Host', lines('GET / HTTP/1.1', HOST, 'Connection: close, Host'), 400],
  [
    'Connection that names Content-Length',
    lines('POST / HTTP/1.1', HOST, 'Content-Length: 3', 'Connection: content-length'),
    400,
  ],
  [
    'Connection that names the caller',
    lines('GET / HTTP/1.1', HOST, 'Connection: X-Forwarded-Client-Cert'),
    400,
  ],
  [
    'Connection with many names',
    lines('GET / HTTP/1.1', HOST, `Connection: ${Array.from({ length: 40 }, (_, i) => `x${i}`).join(',')}`),
    400,
  ],
  ['an expectation that nobody knows', lines('GET / HTTP/1.1', HOST, 'Expect: miracles'), 400],
  ['257 fields', lines('GET / HTTP/1.1', HOST, ...Array.from({ length: 256 }, (_, i) => `x${i}: y`)), 400],
  ['a head of 65 KiB', lines('GET / HTTP/1.1', HOST, `X: ${'y'.repeat(65_536)}`), 431],
  ['a head of 1 MB', lines('GET / HTTP/1.1', HOST, `X: ${'y'.repeat(1_000_000)}`), 431],
  ['TLS where HTTP is due', Buffer.from('\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', 'latin1'), 400],
];

describe('the head of a request is refused', () => {
  it.each(REFUSED.map(([what, bytes, status]) => [what, status, bytes] as const))(
    'with %s: %i',
    (_, status, bytes) => {
      expect(readRequest([bytes])).toBe(String(status));
    },
  );
});

describe('the head of a request is read', () => {
  const read = (...all: readonly string[]) => {
    const head = new RequestHead();
    const bytes = lines(...all);
    expect(head.read(bytes, bytes.length)).toBeUndefined();
    return head;
  };

  it.each([
    ['as it is', '/a/b?x=1', '/a/b', '/a/b?x=1'],
    ['with dot segments resolved', '/a/./b/../c?x', '/a/c', '/a/c?x'],
    ['with slashes merged', '//a///b', '/a/b', '/a/b'],
    ['with escapes of unreserved characters decoded', '/%61%2D?%61', '/a-', '/a-?%61'],
    ['with other escapes kept', '/%20%C3%A4', '/%20%C3%A4', '/%20%C3%A4'],
    ['with braces escaped, since they would stand for a template', '/{a}', '/%7Ba%7D', '/%7Ba%7D'],
    ['of an absolute form', 'http://shop/a?b', '/a', '/a?b'],
    ['of an absolute form without a path', 'http://shop?b', '/', '/?b'],
    ['of an absolute form that ends with the host', 'http://SHOP', '/', '/'],
  ])('its path %s', (_, target, judged, forwarded) => {
    const head = read(`GET ${target} HTTP/1.1`, HOST);
    expect([head.judgedPath, head.forwardedTarget()]).toEqual([judged, forwarded]);
    expect(head.rewritten).toBe(target !== forwarded);
  });

  it('with a path that cannot be made safe as it came, to be denied where policies bite', () => {
    const head = read('GET /a%2Fb/../c HTTP/1.1', HOST);
    expect([head.judgedPath, head.rewritten]).toEqual(['/a%2Fb/../c', false]);
  });

  it('with "*" for OPTIONS', () => {
    expect(read('OPTIONS * HTTP/1.1', HOST).judgedPath).toBe('*');
  });

  it('with its headers by name, and without those that end here', () => {
    const head = read(
      'GET / HTTP/1.1',
      HOST,
      'X: a',
      'x:  b ',
      'X-Forwarded-Client-Cert: URI=spiffe://evil',
      'x_forwarded_client_cert: URI=spiffe://evil',
      'Connection: close, y',
      'Y: 1',
      '__proto__: z',
    );
    expect(Object.entries(head.headers)).toEqual([
      ['host', 'shop'],
      ['x', 'a,b'],
      ['__proto__', 'z'],
    ]);
    expect(head.fields.close).toBe(true);
  });

  it('after one empty line, but not after two', () => {
    expect(readRequest([Buffer.from('\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')])).toContain('GET');
    expect(readRequest([Buffer.from('\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')])).toBe('400');
  });

  it('one after the other into the same object, with nothing left of the one before', () => {
    const head = new RequestHead();
    const first = lines(
      'POST /a HTTP/1.0',
      HOST,
      'Content-Length: 3',
      'Connection: close',
      'Expect: 100-continue',
    );
    head.read(first, first.length);
    const second = lines('GET /b HTTP/1.1', HOST);
    head.read(second, second.length);
    const { length, close, expectsContinue, cuts } = head.fields;
    expect([head.minor, length, close, expectsContinue, cuts]).toEqual([1, -1, false, false, []]);
  });
});

describe('however the bytes arrive', () => {
  const token = fc.stringMatching(/^[A-Za-z0-9-]{1,12}$/);
  const value = fc.stringMatching(/^[ -~]{0,30}$/);
  const target = fc.stringMatching(/^\/[!-~]{0,40}$/);
  const whole = fc
    .tuple(
      fc.constantFrom('GET', 'POST', 'PATCH', 'QUERY'),
      target,
      fc.array(fc.tuple(token, value), { maxLength: 8 }),
      fc.string(),
    )
    .map(([method, path, fields, body]) =>
      Buffer.concat([
        lines(`${method} ${path} HTTP/1.1`, HOST, ...fields.map(([name, text]) => `${name}: ${text}`)),
        Buffer.from(body),
      ]),
    );
  /** Well-formed ones, the refused ones, and ones in which a byte was changed. */
  const any = fc.oneof(
    whole,
    fc.constantFrom(...REFUSED.filter(([, bytes]) => bytes.length < 5_000).map(([, bytes]) => bytes)),
    fc.tuple(whole, fc.nat(), fc.nat(255)).map(([bytes, at, byte]) => {
      const changed = Buffer.from(bytes);
      changed[at % changed.length] = byte;
      return changed;
    }),
  );

  it('any split of them reads the same', () => {
    fc.assert(
      fc.property(any, fc.array(fc.nat(), { maxLength: 6 }), (bytes, at) => {
        const cuts = [...new Set([0, ...at.map((n) => n % (bytes.length + 1)), bytes.length])].sort(
          (a, b) => a - b,
        );
        const pieces = cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end));
        const together = readRequest([bytes]);
        const apart = readRequest(pieces);
        // A line end that is none is found before the head is whole, and of one that is not whole it is known sooner.
        if (together === 'more') expect(['more', '400']).toContain(apart);
        else expect(apart).toBe(together);
      }),
      { numRuns: 500 },
    );
  });

  it('a byte at a time costs no more than the bytes', () => {
    const reader = new HeadReader();
    const bytes = lines('GET / HTTP/1.1', HOST, `X: ${'y'.repeat(8_000)}`);
    for (let i = 0; i < bytes.length - 1; i++) expect(reader.push(bytes.subarray(i, i + 1))).toBe(-1);
    expect(reader.push(bytes.subarray(-1))).toBe(bytes.length);
    expect(reader.bytes.equals(bytes)).toBe(true);
  });

  it('holds no more than a head and a chunk of one that never ends', () => {
    const reader = new HeadReader();
    const chunk = Buffer.alloc(16_384, 'a');
    const ends = [1, 2, 3, 4].map(() => reader.push(chunk));
    expect(ends).toEqual([-1, -1, -1, -2]);
    expect(reader.held).toBe(65_536);
  });
});
