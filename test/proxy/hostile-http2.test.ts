import { afterEach, describe, expect, it } from 'vitest';
import { MAX_STREAMS } from '../../src/proxy/http2/limits.ts';
import {
  closeAll,
  DB,
  dial,
  dialPlain,
  enforcement,
  httpApp,
  startApp,
  type TestInbound,
  until,
  WEB,
} from '../../src/proxy/proxy.test-helper.ts';
import { TestClock } from '../../src/workload/testing.ts';
import {
  ACK,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  type Frame,
  GET,
  GOAWAY,
  HEADERS,
  PING,
  RawHttp2,
  RST_STREAM,
  SETTINGS,
  WINDOW_UPDATE,
} from './raw-http2.test-helper.ts';
import { inboundHttp2 } from './two-proxies.test-helper.ts';

afterEach(closeAll);

const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok';
const headers = (
  stream: number,
  fields: readonly (readonly [string, string])[],
  flags = END_HEADERS | END_STREAM,
) => frame(HEADERS, flags, stream, block(fields));
const with_ = (...more: readonly (readonly [string, string])[]) => [...GET, ...more];
const without = (name: string) => GET.filter(([one]) => one !== name);
const post = (...more: readonly (readonly [string, string])[]) => [
  [':method', 'POST'] as const,
  ...without(':method'),
  ...more,
];
/** `:status` of the static table in the answers of this proxy (RFC 7541, appendix A), or as text. */
const statusOf = ({ payload }: Frame): number => {
  const byIndex: Readonly<Record<number, number>> = { 0x88: 200, 0x8c: 400, 0x8d: 404, 0x8e: 500 };
  const found = byIndex[payload[0] ?? 0];
  if (found !== undefined) return found;
  return Number(/\d{3}/.exec(payload.toString('latin1', 1, 6))?.[0] ?? huffmanDigits(payload));
};
/** Digits in Huffman code (RFC 7541, appendix B): 0, 1, 2 take five bits, 3 to 9 six. */
function huffmanDigits(payload: Buffer): number {
  const bits = [...payload.subarray(2, 2 + ((payload[1] ?? 0) & 0x7f))]
    .map((byte) => byte.toString(2).padStart(8, '0'))
    .join('');
  let [text, at] = ['', 0];
  while (text.length < 3) {
    const five = Number.parseInt(bits.slice(at, at + 5), 2);
    if (five < 3) [text, at] = [`${text}${five}`, at + 5];
    else [text, at] = [`${text}${Number.parseInt(bits.slice(at, at + 6), 2) - 0x19 + 3}`, at + 6];
  }
  return Number(text);
}

async function open(options: Parameters<typeof inboundHttp2>[1] = {}) {
  const app = await httpApp(OK);
  const far = await inboundHttp2(app.address, options);
  return { app, far, raw: new RawHttp2(await dial(far.port)) };
}

/** A good request on another connection is answered: whatever happened before. */
async function stillServes(far: TestInbound): Promise<void> {
  const raw = new RawHttp2(await dial(far.port));
  raw.send(headers(1, GET));
  const answer = await raw.first(({ type, stream }) => type === HEADERS && stream === 1);
  expect(answer && statusOf(answer)).toBe(200);
}

describe('requests that are not what they should be', () => {
  it.each<[string, readonly (readonly [string, string])[]]>([
    ['no host', without(':authority')],
    ['two hosts', with_(['host', 'other'])],
    ['a host with userinfo', [...without(':authority'), [':authority', 'me@db']]],
    ['a host with a slash', [...without(':authority'), [':authority', 'db/x']]],
    [
      'another scheme',
      [
        [':method', 'GET'],
        [':scheme', 'ftp'],
        [':path', '/a'],
        [':authority', 'db'],
      ],
    ],
    ['an unknown expectation', with_(['expect', 'miracles'])],
    ['content_length', with_(['content_length', '5'])],
    ['transfer_encoding', with_(['transfer_encoding', 'chunked'])],
    ['two lengths of the same', post(['content-length', '0'], ['content-length', '0'])],
    ['a length with a sign', post(['content-length', '+1'])],
    [
      'a path with a space',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/a b'],
        [':authority', 'db'],
      ],
    ],
    [
      'a path with a control character',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/a\u0001'],
        [':authority', 'db'],
      ],
    ],
    [
      'a path with a line end',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/a HTTP/1.1\r\nx: y'],
        [':authority', 'db'],
      ],
    ],
    [
      'a path without a slash',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', 'a'],
        [':authority', 'db'],
      ],
    ],
    [
      'an empty path',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', ''],
        [':authority', 'db'],
      ],
    ],
    [
      '* with GET',
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '*'],
        [':authority', 'db'],
      ],
    ],
    [
      'a method with a space',
      [
        [':method', 'GET /x'],
        [':scheme', 'https'],
        [':path', '/a'],
        [':authority', 'db'],
      ],
    ],
    ['a name in capitals', with_(['X-Y', 'a'])],
    ['Transfer-Encoding', post(['transfer-encoding', 'chunked'])],
    ['Connection', with_(['connection', 'x-forwarded-client-cert'])],
    ['Upgrade', with_(['upgrade', 'websocket'])],
    ['te: chunked', with_(['te', 'chunked'])],
    ['an unknown pseudo-field', with_([':evil', 'x'])],
    ['a pseudo-field twice', with_([':path', '/b'])],
    ['a pseudo-field behind others', [['x', 'y'], ...GET]],
    [
      'CONNECT',
      [
        [':method', 'CONNECT'],
        [':authority', 'db:5432'],
      ],
    ],
    [
      'extended CONNECT',
      [
        [':method', 'CONNECT'],
        [':protocol', 'websocket'],
        [':scheme', 'https'],
        [':path', '/a'],
        [':authority', 'db'],
      ],
    ],
    [
      'TRACE',
      [
        [':method', 'TRACE'],
        [':scheme', 'https'],
        [':path', '/a'],
        [':authority', 'db'],
      ],
    ],
  ])('%s: refused, and the program sees nothing of it', async (_, fields) => {
    const { app, far, raw } = await open();
    raw.send(headers(1, fields));
    const answer = await raw.first(
      ({ type, stream }) => type === GOAWAY || (stream === 1 && (type === HEADERS || type === RST_STREAM)),
    );
    if (answer?.type === HEADERS) expect([400, 405]).toContain(statusOf(answer));
    else expect([RST_STREAM, GOAWAY, undefined]).toContain(answer?.type);
    expect(app.requests).toEqual([]);
    await stillServes(far);
  });

  // nghttp2 leaves out fields that break its rules, where they are not those of HTTP/2 itself.
  it.each<[string, readonly [string, string]]>([
    ['a value with a line end', ['x', 'a\r\nx-forwarded-client-cert: URI=spiffe://evil']],
    ['a value with NUL', ['x', 'a\0b']],
    ['a name with a line end', ['x: y\r\nz', 'a']],
    ['a name with a colon', ['x:y', 'a']],
  ])('%s: goes no further, and is not seen by conditions', async (_, field) => {
    const { app, far, raw } = await open();
    raw.send(headers(1, with_(field, ['good', 'yes'])));
    await raw.first(({ type, stream }) => type === HEADERS && stream === 1);
    expect(app.requests).toEqual([
      `GET /a HTTP/1.1\r\nhost: db\r\nx-forwarded-client-cert: By=${DB};URI=${WEB}\r\ngood: yes\r\n\r\n`,
    ]);
    expect(far.recorder.lines).toEqual(['GET /a /web ok']);
  });

  it.each([
    ['shorter', 'abc'],
    ['longer', 'abcdefgh'],
  ])('a body that is %s than its length ends the request, and not the next one', async (_, body) => {
    const { app, far, raw } = await open();
    raw.send(
      headers(1, post(['content-length', '5']), END_HEADERS),
      frame(DATA, END_STREAM, 1, Buffer.from(body)),
    );
    // nghttp2 resets the stream for the one, and closes the connection for the other.
    const answer = await raw.first(
      ({ type, stream }) => type === GOAWAY || (type === RST_STREAM && stream === 1),
    );
    expect(answer).toBeDefined();
    expect(raw.frames.some(({ type }) => type === HEADERS)).toBe(false);
    await stillServes(far);
    // The connection to the program on which half a request lies is not used for another one.
    expect(app.requests.filter((request) => request.includes('GET'))).toHaveLength(1);
    expect(app.requests.some((request) => /abc.*GET/s.test(request))).toBe(false);
  });

  it('a body with the look of a request is a body', async () => {
    const { app, raw } = await open();
    raw.send(
      headers(1, post(), END_HEADERS),
      frame(DATA, END_STREAM, 1, Buffer.from('0\r\n\r\nGET /evil HTTP/1.1\r\nhost: db\r\n\r\n')),
    );
    await raw.first(({ type, stream }) => type === HEADERS && stream === 1);
    await until(() => app.requests.join('').endsWith('0\r\n\r\n'));
    expect(app.requests.join('')).toContain('transfer-encoding: chunked\r\n\r\n25\r\n0\r\n\r\nGET /evil');
  });

  it('fields beyond the limits are refused', async () => {
    const { app, far, raw } = await open();
    raw.send(headers(1, with_(...Array.from({ length: 400 }, (_, i) => [`x-${i}`, 'y'] as const))));
    const many = await raw.first(
      ({ type, stream }) => stream === 1 && (type === HEADERS || type === RST_STREAM),
    );
    expect(many?.type).toBe(RST_STREAM);
    const large = block(with_(['x', 'y'.repeat(1_000_000)]));
    const pieces = Array.from({ length: Math.ceil(large.length / 16_384) }, (_, i) =>
      frame(
        i === 0 ? HEADERS : CONTINUATION,
        (i === 0 ? END_STREAM : 0) | ((i + 1) * 16_384 >= large.length ? END_HEADERS : 0),
        3,
        large.subarray(i * 16_384, (i + 1) * 16_384),
      ),
    );
    raw.send(...pieces);
    expect(
      await raw.first(({ type, stream }) => type === GOAWAY || (stream === 3 && type === RST_STREAM)),
    ).toBeDefined();
    expect(app.requests).toEqual([]);
    await stillServes(far);
  });
});

describe('floods', () => {
  it('CONTINUATION without an end closes the connection', async () => {
    const { far, raw } = await open();
    raw.send(frame(HEADERS, END_STREAM, 1, block(GET)));
    for (let i = 0; i < 10_000 && !raw.socket.destroyed; i++)
      raw.send(frame(CONTINUATION, 0, 1, block([[`x-${i}`, 'y']])));
    await raw.closing();
    expect(raw.socket.destroyed).toBe(true);
    await stillServes(far);
  });

  it('streams that are reset at once close the connection, and few of them reach the program', async () => {
    const { app, far, raw } = await open();
    const cancel = Buffer.from([0, 0, 0, 8]);
    for (let i = 0; i < 20_000 && !raw.socket.destroyed; i++) {
      raw.send(headers(2 * i + 1, GET), frame(RST_STREAM, 0, 2 * i + 1, cancel));
      if (i % 500 === 0) await new Promise(setImmediate);
    }
    await raw.closing();
    expect(raw.frames.some(({ type, payload }) => type === GOAWAY && payload.readUInt32BE(4) !== 0)).toBe(
      true,
    );
    expect(app.requests.length).toBeLessThan(5 * MAX_STREAMS);
    await stillServes(far);
  });

  it.each([
    ['SETTINGS', frame(SETTINGS, 0, 0, Buffer.from([0, 3, 0, 0, 0, 9]))],
    ['PING', frame(PING, 0, 0, Buffer.alloc(8))],
    ['empty DATA', frame(DATA, 0, 1)],
    [
      'WINDOW_UPDATE beyond the largest window',
      frame(WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])),
    ],
  ])('of %s by one who does not read end without harm to others', async (_, one) => {
    const { far, raw } = await open();
    raw.send(headers(1, post(), END_HEADERS));
    raw.socket.pause();
    const many = Buffer.concat(Array.from({ length: 1_000 }, () => one));
    for (let i = 0; i < 100 && !raw.socket.destroyed; i++) {
      raw.send(many);
      await new Promise(setImmediate);
    }
    await stillServes(far);
    expect(far.context.counters.open).toBeLessThanOrEqual(2);
  });

  it('no more streams than announced are open at once', async () => {
    let held = 0;
    const app = await startApp(() => held++);
    const far = await inboundHttp2(app.address);
    const raw = new RawHttp2(await dial(far.port));
    for (let i = 0; i < MAX_STREAMS + 50; i++) raw.send(headers(2 * i + 1, GET));
    const refused = await raw.first(
      ({ type, payload }) => type === RST_STREAM && payload.readUInt32BE(0) === 7,
    );
    expect(refused?.stream).toBeGreaterThan(2 * MAX_STREAMS);
    await until(() => held === MAX_STREAMS);
  });
});

describe('half a protocol', () => {
  it.each([
    ['a frame that is too large', frame(DATA, 0, 0, Buffer.alloc(20_000))],
    ['DATA on no stream', frame(DATA, 0, 0)],
    ['HEADERS on an even stream', headers(2, GET)],
    ['bytes that are no field block', frame(HEADERS, END_HEADERS | END_STREAM, 1, Buffer.alloc(50, 0xff))],
    ['a window of nothing', frame(WINDOW_UPDATE, 0, 0, Buffer.alloc(4))],
    ['SETTINGS of an odd size', frame(SETTINGS, 0, 0, Buffer.alloc(5))],
  ])('%s closes the connection, and no other', async (_, bytes) => {
    const { app, far, raw } = await open();
    raw.send(bytes);
    expect(await raw.closing()).toBeGreaterThan(0);
    expect(app.requests).toEqual([]);
    await stillServes(far);
    await until(() => far.context.counters.open === 1);
    expect(far.context.counters.badRequests).toBeGreaterThan(0);
  });

  it('a connection on which nothing happens is closed in an orderly way', async () => {
    const clock = new TestClock();
    const { app, far, raw } = await open({ clock });
    await raw.first(({ type, flags }) => type === SETTINGS && flags === ACK);
    clock.advance(80_000);
    const away = await raw.first(({ type }) => type === GOAWAY);
    expect(away?.payload.readUInt32BE(4)).toBe(0);
    // What comes later may be sent elsewhere, and the connection stays until the caller has read so.
    expect(away?.payload.readUInt32BE(0)).toBe(0);
    const ping = await raw.first(({ type, flags }) => type === PING && flags === 0);
    raw.send(headers(1, GET));
    raw.send(frame(PING, ACK, 0, ping?.payload));
    await until(() => far.context.counters.open === 0);
    expect(app.requests).toEqual([]);
  });

  it('a caller that is gone without a word is noticed by PING, and its streams end at the program', async () => {
    const clock = new TestClock();
    let ended = 0;
    const app = await startApp((socket) => socket.on('close', () => ended++));
    const far = await inboundHttp2(app.address, { clock });
    const raw = new RawHttp2(await dial(far.port));
    raw.send(headers(1, GET));
    await until(() => app.sockets.length === 1);
    clock.advance(31_000);
    await raw.first(({ type }) => type === PING);
    clock.advance(6_000);
    await until(() => far.context.counters.open === 0 && ended === 1);
    expect(far.recorder.lines).toEqual(['GET /a /web error']);
  });

  it('is told from HTTP/1.1 in plain text byte by byte, and half of it is given up', async () => {
    const app = await httpApp(OK);
    const clock = new TestClock();
    const far = await inboundHttp2(app.address, {
      clock,
      enforcements: [enforcement(undefined, 'plaintext')],
    });
    const socket = await dialPlain(far.port);
    for (const byte of 'PRI * HTTP/2.0\r\n\r\nSM') socket.write(byte);
    await until(() => far.context.counters.open === 1 && far.recorder.plain.length === 1);
    await until(() => {
      clock.advance(10_000);
      return far.context.counters.open === 0;
    });
    expect(app.requests).toEqual([]);
  });
});
