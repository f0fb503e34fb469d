import { addressText } from '../../policy/index.ts';
import type { Address } from '../types.ts';
import { crc32c } from './crc32c.ts';
import { fault, MORE, type ProxyHeader, type ProxyRead } from './header.ts';

const FIXED = 16;
/** Longest header that is read after its fixed part: a Unix socket's addresses take 216 bytes, the rest is TLVs. */
const MAX_REST = 4_096;
const MAX_TLVS = 64;
const LOCAL = 0x20;
const PROXY = 0x21;
/** Address family and transport, with the bytes that the addresses take. */
const FAMILIES: Readonly<Record<number, number>> = { 0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216 };
const TLV_CRC32C = 0x03;

/** Reads version 2, whose signature stands at the start of `bytes`. */
export function readV2(bytes: Buffer): ProxyRead {
  if (bytes.length < FIXED) return MORE;
  const command = bytes[12] as number;
  if (command !== LOCAL && command !== PROXY) return fault('a PROXY header of another version or command');
  const rest = bytes.readUInt16BE(14);
  if (rest > MAX_REST) return fault(`a PROXY header of more than ${MAX_REST} bytes`);
  const length = FIXED + rest;
  if (bytes.length < length) return MORE;
  const family = bytes[13] as number;
  const taken = FAMILIES[family];
  // With LOCAL the family means nothing; the sender's own checks have no addresses.
  if (taken === undefined && command === PROXY) return fault('a PROXY header of another family or transport');
  if (taken !== undefined && rest < taken) return fault('a PROXY header whose addresses are cut off');
  const reason = tlvFault(bytes.subarray(0, length), FIXED + (taken ?? rest));
  if (reason !== undefined) return fault(reason);
  return { kind: 'header', header: command === LOCAL ? {} : addressesOf(bytes, family), length };
}

function addressesOf(bytes: Buffer, family: number): ProxyHeader {
  if (family !== 0x11 && family !== 0x21) return {};
  const size = family === 0x11 ? 4 : 16;
  const end = (i: 0 | 1): Address => {
    const at = FIXED + i * size;
    const host =
      size === 4
        ? addressText({ family: 4, value: bytes.readUInt32BE(at) })
        : addressText({ family: 6, value: BigInt(`0x${bytes.toString('hex', at, at + size)}`) });
    return { host, port: bytes.readUInt16BE(FIXED + 2 * size + 2 * i) };
  };
  return { source: end(0), destination: end(1) };
}

/** What is wrong with the type-length-values up to the end of the header; a checksum among them has to be right. */
function tlvFault(header: Buffer, start: number): string | undefined {
  let at = start;
  for (let count = 0; at < header.length; count++) {
    if (count === MAX_TLVS) return `a PROXY header with more than ${MAX_TLVS} TLVs`;
    if (at + 3 > header.length) return 'a PROXY header with a TLV that is cut off';
    const type = header[at];
    const length = header.readUInt16BE(at + 1);
    const value = at + 3;
    at = value + length;
    if (at > header.length) return 'a PROXY header with a TLV that is cut off';
    if (type !== TLV_CRC32C) continue;
    if (length !== 4 || header.readUInt32BE(value) !== checksumOf(header, value)) {
      return 'a PROXY header whose checksum is wrong';
    }
  }
  return undefined;
}

/** Of the whole header, its own place taken as zeros. */
function checksumOf(header: Buffer, at: number): number {
  const copy = Buffer.from(header);
  copy.fill(0, at, at + 4);
  return crc32c(copy);
}
