import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { isInterlockError } from '../../access/index.ts';
import { decodeOid, encodeOid, OID } from './oid.ts';
import { bufferOf, DerReader, TAG } from './reader.ts';
import { MAX_TIME, readTime, time } from './time.ts';
import { bitString, DerWriter, element, integer, octetString, sequence, set } from './writer.ts';

const read = (hex: string) => new DerReader(Buffer.from(hex, 'hex'), 'a test');

describe('the reader', () => {
  test.each([
    ['nothing', '', 'ends too early'],
    ['a tag alone', '30', 'ends too early'],
    ['a length alone', '3081', 'ends too early'],
    ['a length longer than the rest', '300201', 'longer than what it stands in'],
    ['a length that wraps around 32 bits', '3084fffffffe00', 'too long'],
    ['a length of 127 bytes', `30ff${'00'.repeat(127)}`, 'too long'],
    ['an indefinite length', '30800000', 'indefinite'],
    ['a length in the long form that fits the short one', '30810100', 'shortest form'],
    ['a length with a zero before it', '30820080', 'shortest form'],
    ['a length with two zeros before it', '3083000100', 'shortest form'],
    ['a tag of several bytes', '1f810100', 'more than one byte'],
  ])('refuses %s', (_, hex, message) => {
    expect(() => read(hex).next()).toThrow(message);
  });

  test('takes lengths of one to three bytes in their shortest form', () => {
    for (const length of [0, 1, 127, 128, 255, 256, 65_535, 65_536]) {
      const reader = new DerReader(element(TAG.octetString, Buffer.alloc(length)), 'a test');
      expect(reader.expect(TAG.octetString).content()).toHaveLength(length);
      expect(reader.done).toBe(true);
    }
  });

  test('does not look beyond the element it is inside of', () => {
    const inside = new DerReader(Buffer.from('30030402ff00', 'hex'), 'a test').enter(TAG.sequence);
    expect(() => inside.next()).toThrow('longer than what it stands in');
  });

  test('goes 24 deep and no deeper', () => {
    let reader = new DerReader(
      Array.from({ length: 30 }).reduce<Buffer>((inner) => sequence(inner), Buffer.alloc(0)),
      'a test',
    );
    for (let i = 0; i < 24; i++) reader = reader.enter(TAG.sequence);
    expect(() => reader.enter(TAG.sequence)).toThrow('more than 24 deep');
  });

  test.each([
    ['an empty number', '0200', 'empty'],
    ['a number with a zero too many', '02020001', 'shortest form'],
    ['a negative number with a byte too many', '0202ff80', 'shortest form'],
  ])('refuses %s', (_, hex, message) => {
    expect(() => read(hex).integer()).toThrow(message);
  });

  test.each([
    ['a negative number', '02018f'],
    ['2^31', '02050080000000'],
  ])('refuses %s as a small number', (_, hex) => {
    expect(() => read(hex).smallInteger()).toThrow('out of range');
  });

  test.each([
    ['without the count of unused bits', '0300'],
    ['with more unused bits than bits', '030101'],
    ['with 8 unused bits', '03020800'],
    ['with unused bits that are set', '03020781'],
    ['with a zero bit at its end', '03020680'],
    ['of more than 16 bits', '030400010101'],
  ])('refuses named bits %s', (_, hex) => {
    expect(() => read(hex).namedBits()).toThrow('named bits');
  });

  test.each([
    ['0303070080', 1 << 8],
    ['03020780', 1],
    ['03020106', (1 << 5) | (1 << 6)],
    ['030100', 0],
  ])('reads the named bits %s', (hex, bits) => {
    expect(read(hex).namedBits()).toBe(bits);
  });

  test('refuses a bit string that is not of whole bytes', () => {
    expect(() => read('03020780').bitString()).toThrow('whole bytes');
    expect(() => read('0300').bitString()).toThrow('whole bytes');
  });

  test.each(['0100', '010101', '01020000', '0101fe'])('refuses %s as a boolean', (hex) => {
    expect(() => read(hex).boolean()).toThrow('boolean');
  });

  test('walks whatever bytes come to an end, and refuses with an error of ours', () => {
    const walk = (reader: DerReader): void => {
      while (!reader.done) if ((reader.next() & 0x20) !== 0) walk(reader.inside());
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        let refused: unknown;
        try {
          walk(new DerReader(bufferOf(bytes), 'a test'));
        } catch (error) {
          refused = error;
        }
        expect(refused === undefined || isInterlockError(refused)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('writing', () => {
  test('by the writer gives what the builders give', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 10 }), (parts) => {
        const writer = new DerWriter(8192);
        for (const part of parts.toReversed()) {
          const end = writer.at;
          writer.raw(Buffer.from(part));
          writer.header(TAG.octetString, end);
        }
        writer.header(TAG.sequence, 8192);
        expect(writer.bytes.subarray(writer.at)).toEqual(sequence(...parts.map((part) => octetString(part))));
      }),
    );
  });

  test.each([127, 128, 255, 256, 65_535, 65_536])('headers of %i bytes are the same', (length) => {
    const writer = new DerWriter(70_000);
    writer.raw(Buffer.alloc(length));
    writer.header(TAG.sequence, 70_000);
    expect(writer.bytes.subarray(writer.at)).toEqual(sequence(Buffer.alloc(length)));
  });

  test('more than there is room for is a limit, not a wrong document', () => {
    const writer = new DerWriter(16);
    expect(() => writer.raw(Buffer.alloc(17))).toThrow('at most 16 bytes');
    writer.raw(Buffer.alloc(16));
    expect(() => writer.header(TAG.sequence, 16)).toThrow('at most 16 bytes');
  });

  test.each([
    [0, '020100'],
    [127, '02017f'],
    [128, '02020080'],
    [65_535, '020300ffff'],
    [Number.MAX_SAFE_INTEGER, '02071fffffffffffff'],
    [Buffer.from('0000ff', 'hex'), '020200ff'],
    [Buffer.alloc(0), '020100'],
  ])('the number %o is %s', (value, hex) => {
    expect(integer(value).toString('hex')).toBe(hex);
  });

  test('a set is in the order of its bytes', () => {
    expect(set(integer(2), integer(1)).toString('hex')).toBe('3106020101020102');
  });

  test('a bit string has no unused bits', () => {
    expect(bitString(Buffer.from([1, 2])).toString('hex')).toBe('0303000102');
  });
});

describe('object identifiers', () => {
  test.each([
    ['2.5.29.15', '551d0f'],
    ['1.2.840.113549.1.1.11', '2a864886f70d01010b'],
    ['2.16.840.1.101.3.4.3.18', '608648016503040312'],
    ['2.999', '8837'],
    // X.667 section 6.4: a UUID as one arc.
    ['2.25.329800735698586629295641978511506172918', '6983f09da7ebcfdee0c7a1a7b2c0948cc8f9d776'],
  ])('%s is %s', (dotted, hex) => {
    expect(encodeOid(dotted).toString('hex')).toBe(hex);
    expect(decodeOid(Buffer.from(hex, 'hex'))).toBe(dotted);
  });

  test('of every standard here are read back', () => {
    for (const dotted of Object.values(OID)) expect(decodeOid(encodeOid(dotted))).toBe(dotted);
    expect(new Set(Object.values(OID)).size).toBe(Object.values(OID).length);
  });

  test.each(['', '80', '8001', '2a80', '2a8001', 'ff', `2a${'81'.repeat(64)}01`])('%s is none', (hex) => {
    expect(() => decodeOid(Buffer.from(hex, 'hex'))).toThrow('malformed');
  });
});

describe('times', () => {
  test.each([
    [Date.UTC(1950, 0, 1), '170d3530303130313030303030305a'],
    [Date.UTC(1999, 11, 31, 23, 59, 59), '170d3939313233313233353935395a'],
    [Date.UTC(2000, 1, 29), '170d3030303232393030303030305a'],
    [Date.UTC(2049, 11, 31, 23, 59, 59), '170d3439313233313233353935395a'],
    [Date.UTC(2050, 0, 1), '180f32303530303130313030303030305a'],
    [MAX_TIME, '180f39393939313233313233353935395a'],
  ])('%i is %s', (ms, hex) => {
    expect(time(ms).toString('hex')).toBe(hex);
    expect(readTime(read(hex))).toBe(ms);
  });

  test('of every second from 1950 to 9999 are read back', () => {
    const seconds = fc.integer({ min: Date.UTC(1950, 0, 1) / 1000, max: MAX_TIME / 1000 });
    fc.assert(
      fc.property(seconds, fc.nat({ max: 999 }), (second, ms) => {
        expect(readTime(new DerReader(time(second * 1000 + ms), 'a test'))).toBe(second * 1000);
        const { length } = time(second * 1000);
        expect(length).toBe(second * 1000 < Date.UTC(2050, 0, 1) ? 15 : 17);
      }),
      { numRuns: 1000 },
    );
  });

  test.each([
    Number.NaN,
    Number.POSITIVE_INFINITY,
    -Number.MAX_VALUE,
    MAX_TIME + 1000,
    Date.UTC(1949, 11, 31),
  ])('%d cannot be written', (ms) => {
    expect(() => time(ms)).toThrow('no time that a certificate can have');
  });

  const utc = (text: string) => element(TAG.utcTime, Buffer.from(text));
  const generalized = (text: string) => element(TAG.generalizedTime, Buffer.from(text));
  test.each([
    ['without seconds', utc('2611211200Z')],
    ['without Z', utc('261121120000')],
    ['with an offset', utc('261121120000+0000')],
    ['with a fraction', generalized('20261121120000.5Z')],
    ['with a space', utc('26112112000 Z')],
    ['with a sign', utc('2611211200+1Z')],
    ['with a month 0', utc('260021120000Z')],
    ['with a month 13', utc('261321120000Z')],
    ['with a day 0', utc('261100120000Z')],
    ['with 31 November', utc('261131120000Z')],
    ['with 29 February of no leap year', utc('270229120000Z')],
    ['with 29 February 2100', generalized('21000229120000Z')],
    ['with 24 hours', utc('261121240000Z')],
    ['with 60 minutes', utc('261121126000Z')],
    ['with a leap second', utc('261121125960Z')],
    ['of another type', octetString(Buffer.from('261121120000Z'))],
  ])('%s are refused', (_, der) => {
    expect(() => readTime(new DerReader(der, 'a test'))).toThrow('malformed');
  });
});

test('the identifier of the path prefixes is the UUID in the source, as one arc', () => {
  expect(OID.pathPrefixes).toBe('2.25.285462345472240929934442930920386972705');
});
