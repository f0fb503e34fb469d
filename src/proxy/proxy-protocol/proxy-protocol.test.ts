import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c } from './crc32c.ts';
import { proxyHeader, readProxyHeader, signatureOf } from './index.ts';

const V4 = [
  { host: '192.0.2.1', port: 5 },
  { host: '198.51.100.2', port: 65_535 },
] as const;
const V6 = [
  { host: '2001:0db8:0000:0000:0000:0000:0000:0001', port: 1 },
  { host: '2001:0db8:0000:0000:0000:0000:0000:0002', port: 2 },
] as const;

/** A header of version 2 from its parts. */
function v2(command: number, family: number, rest: Buffer, length = rest.length): Buffer {
  const fixed = Buffer.from([command, family, length >> 8, length & 255]);
  return Buffer.concat([Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1'), fixed, rest]);
}

const IPV4 = Buffer.from([192, 0, 2, 1, 198, 51, 100, 2, 0, 5, 255, 255]);
const tlv = (type: number, value: Buffer) =>
  Buffer.concat([Buffer.from([type, value.length >> 8, value.length & 255]), value]);

/** The header with a right checksum in its last four bytes. */
function withChecksum(rest: Buffer): Buffer {
  const header = v2(0x21, 0x11, Buffer.concat([rest, tlv(3, Buffer.alloc(4))]));
  header.writeUInt32BE(crc32c(header), header.length - 4);
  return header;
}

describe('a PROXY header', () => {
  it.each([
    ['v1', V4],
    ['v1', V6],
    ['v2', V4],
    ['v2', V6],
  ] as const)(
    'of version %s that was written is read back, whatever follows',
    (version, [source, destination]) => {
      const header = proxyHeader(version, source, destination);
      expect(readProxyHeader(Buffer.concat([header, Buffer.from('PROXY')]))).toEqual({
        kind: 'header',
        header: { source, destination },
        length: header.length,
      });
    },
  );

  it('is not whole before its last byte', () => {
    const headers = [
      proxyHeader('v1', ...V4),
      proxyHeader('v2', ...V6),
      withChecksum(IPV4),
      Buffer.from('PROXY UNKNOWN\r\n'),
    ];
    for (const header of headers) {
      for (let end = 0; end < header.length; end++)
        expect(readProxyHeader(header.subarray(0, end)).kind).toBe('more');
      expect(readProxyHeader(header)).toMatchObject({ kind: 'header', length: header.length });
    }
  });

  it.each([
    ['LOCAL', v2(0x20, 0x00, Buffer.alloc(0))],
    ['LOCAL, whatever its family and addresses', v2(0x20, 0x99, IPV4)],
    ['a Unix socket', v2(0x21, 0x31, Buffer.alloc(216, 'a'))],
    ['an unspecified family', v2(0x21, 0x00, Buffer.alloc(0))],
    ['UNKNOWN', Buffer.from('PROXY UNKNOWN\r\n')],
    ['UNKNOWN with words after it', Buffer.from('PROXY UNKNOWN ffff::1 what 1 2\r\n')],
    ['addresses of two families', proxyHeader('v2', V4[0], V6[0])],
    ['addresses of two families, in words', proxyHeader('v1', V4[0], V6[0])],
  ])('names nobody with %s', (_, bytes) => {
    expect(readProxyHeader(bytes)).toEqual({ kind: 'header', header: {}, length: bytes.length });
  });

  it('may have other fields after its addresses, and a checksum that is right', () => {
    expect(
      readProxyHeader(
        v2(0x21, 0x11, Buffer.concat([IPV4, tlv(1, Buffer.from('h2')), tlv(4, Buffer.alloc(9))])),
      ),
    ).toMatchObject({
      header: { source: V4[0] },
    });
    expect(readProxyHeader(withChecksum(IPV4)).kind).toBe('header');
  });

  it.each([
    ['no signature', Buffer.from('GET / HTTP/1.1\r\n')],
    ['version 3', v2(0x31, 0x11, IPV4)],
    ['an unknown command', v2(0x22, 0x11, IPV4)],
    ['datagrams', v2(0x21, 0x12, IPV4)],
    ['addresses that are cut off', v2(0x21, 0x11, IPV4.subarray(0, 11))],
    ['more than 4 KiB', v2(0x21, 0x11, IPV4, 4_097)],
    ['a field that reaches beyond it', v2(0x21, 0x11, Buffer.concat([IPV4, Buffer.from([1, 0, 9, 1])]))],
    ['a field of two bytes', v2(0x21, 0x11, Buffer.concat([IPV4, Buffer.from([1, 0])]))],
    [
      '65 fields',
      v2(0x21, 0x11, Buffer.concat([IPV4, ...Array.from({ length: 65 }, () => tlv(4, Buffer.alloc(0)))])),
    ],
    ['a wrong checksum', v2(0x21, 0x11, Buffer.concat([IPV4, tlv(3, Buffer.alloc(4))]))],
    ['a checksum of three bytes', v2(0x21, 0x11, Buffer.concat([IPV4, tlv(3, Buffer.alloc(3))]))],
    ['a line without an end', Buffer.from(`PROXY TCP4 ${'1'.repeat(110)}`)],
    ['a port with a zero before it', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 05 6\r\n')],
    ['a port beyond 65535', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 65536 6\r\n')],
    ['an address of another family', Buffer.from('PROXY TCP4 ::1 2.2.2.2 5 6\r\n')],
    ['an octal address', Buffer.from('PROXY TCP4 010.1.1.1 2.2.2.2 5 6\r\n')],
    ['an address with a zone', Buffer.from('PROXY TCP6 fe80::1%eth0 ::1 5 6\r\n')],
    ['two spaces', Buffer.from('PROXY TCP4  1.1.1.1 2.2.2.2 5 6\r\n')],
    ['another word', Buffer.from('PROXY TCP4 1.1.1.1 2.2.2.2 5 6 7\r\n')],
    ['lower case', Buffer.from('PROXY tcp4 1.1.1.1 2.2.2.2 5 6\r\n')],
    ['a line that ends with LF', Buffer.from(`PROXY TCP4 1.1.1.1 2.2.2.2 5 6\n${'x'.repeat(90)}`)],
  ])('is refused with %s', (_, bytes) => {
    expect(readProxyHeader(bytes).kind).toBe('fault');
  });

  it('never takes more bytes than there are, whatever they are', () => {
    const signature = fc.constantFrom(
      Buffer.from('PROXY '),
      Buffer.from('\r\n\r\n\0\r\nQUIT\n!\x11', 'latin1'),
    );
    fc.assert(
      fc.property(signature, fc.uint8Array({ maxLength: 300 }), (start, rest) => {
        const bytes = Buffer.concat([start, rest]);
        const read = readProxyHeader(bytes);
        return read.kind !== 'header' || read.length <= bytes.length;
      }),
    );
    expect.assertions(0);
  });

  it('is told from other bytes as soon as they differ', () => {
    expect(
      ['', 'PRO', 'PROXY ', 'PROXI', 'GET', '\r\n', '\r\n\r\n\0'].map((text) =>
        signatureOf(Buffer.from(text)),
      ),
    ).toEqual(['more', 'more', 'v1', undefined, undefined, 'more', 'more']);
  });

  it('has the checksum of RFC 3720, appendix B.4', () => {
    expect(crc32c(Buffer.alloc(32)).toString(16)).toBe('8a9136aa');
    expect(crc32c(Buffer.alloc(32, 0xff)).toString(16)).toBe('62a8ab43');
    expect(crc32c(Buffer.from('123456789')).toString(16)).toBe('e3069283');
  });
});
