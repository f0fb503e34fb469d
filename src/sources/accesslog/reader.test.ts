import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { exportTally, Tally } from '../../access/index.ts';
import { eachLine } from '../reading/framing.ts';
import { AccessLogReader, type TextScan } from './reader.ts';
import { NOON } from './testing.ts';

/** A text format that has one line. */
const textScan: TextScan = (line) =>
  line.bytes.toString('utf8', line.from, line.to) === '[text]' ? 'the one text line' : 'another text line';

function open() {
  const tally = new Tally('envoy');
  return { tally, reader: new AccessLogReader(tally, { now: NOON }, textScan) };
}

/** What was counted, with what differs by how the lines were cut left out. */
const counted = (tally: Tally) => ({ ...exportTally(tally), numbers: [...exportTally(tally).numbers] });

const value = fc.oneof(
  fc.constantFrom('GET', '/a', '/a?b=c', '-', '10.0.0.1:80', 'ü"\\', '{"a":1}'),
  fc.string({ maxLength: 6 }),
  fc.integer({ min: -5, max: 1000 }),
  fc.constantFrom(null, true, [1], { a: [] }),
);
const KEYS = ['method', 'path', 'authority', 'upstream_host', 'request_id', 'downstream_remote_address'];
const entry = fc
  .record({
    at: fc.integer({ min: NOON - 7_200_000, max: NOON }),
    rest: fc.dictionary(fc.constantFrom(...KEYS), value),
  })
  .map(({ at, rest }) => ({ start_time: new Date(at).toISOString(), method: 'GET', path: '/', ...rest }));
const lineText = fc.oneof(
  { weight: 6, arbitrary: entry.map((it) => JSON.stringify(it)) },
  // Cut off anywhere, so that a key, a string, a number or an escape would go on in the next line.
  fc.tuple(entry, fc.nat(300)).map(([it, cut]) => JSON.stringify(it).slice(0, cut)),
  entry.map((it) => ` ${JSON.stringify(it, undefined, ' ').replaceAll('\n', '\t')} `),
  fc.constantFrom(
    '',
    ' ',
    '{',
    '{}',
    '[text]',
    '[other',
    'no line',
    '{"path"',
    '{"path":',
    '{"path":1',
    '{"a":"\0"}',
  ),
);
const lines = fc.array(fc.tuple(lineText, fc.constantFrom('\n', '\n', '\r\n')), { maxLength: 30 });

describe('lines read where they lie', () => {
  test('count as the same lines one by one do, whatever is broken among them', () => {
    fc.assert(
      fc.property(lines, fc.boolean(), fc.nat(100), (given, cutEnd, spare) => {
        const text = given.map((parts) => parts.join('')).join('');
        const block = Buffer.alloc(Buffer.byteLength(text) + spare, 'x').subarray(0, Buffer.byteLength(text));
        block.write(text);
        const bytes = cutEnd ? block.subarray(0, -1) : block;
        const one = open();
        const number = eachLine(bytes, 7, (line, at) => one.reader.line(line, at));
        const all = open();
        expect(all.reader.lines(bytes, 7)).toBe(number);
        expect(counted(all.tally)).toEqual(counted(one.tally));
      }),
      { numRuns: 1000 },
    );
  });

  test('a key that was remembered with its colon on the next line is not found across two lines', () => {
    const { tally, reader } = open();
    reader.line(Buffer.from('{"path"\n:"/a","start_time":"2026-10-15T11:00:00Z"}'), 1);
    const block = `{"path"\n:"/a","start_time":"2026-10-15T11:00:00Z"}\n${'x'.repeat(200)}\n`;
    reader.lines(Buffer.from(block), 1);
    expect([...tally.skips()].map(({ reason, firstLine }) => [reason, firstLine])).toContainEqual([
      'broken JSON',
      2,
    ]);
  });

  test('every instance of a caller is named, also when there are more than have a mark of their own', () => {
    const { tally, reader } = open();
    const id = (name: string) => `spiffe://example.org/ns/shop/sa/${name}`;
    const line = (n: number) =>
      JSON.stringify({
        start_time: new Date(NOON - n).toISOString(),
        method: 'GET',
        path: '/a',
        downstream_remote_address: `10.0.0.${n}:1234`,
        downstream_local_address: '10.1.0.1:8080',
        downstream_peer_uri_san: id('web'),
        downstream_local_uri_san: id('cart'),
      });
    for (let n = 99; n >= 10; n--) reader.lines(Buffer.from(`${line(n)}\n${'x'.repeat(100)}\n`), n);
    const [access, ...more] = tally.accesses();
    expect(more).toEqual([]);
    expect([...(access?.evidence.instances ?? [])]).toEqual(
      Array.from({ length: 16 }, (_, i) => `10.0.0.${10 + i}`),
    );
  });
});
