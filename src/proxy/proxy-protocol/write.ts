import { isIPv4, isIPv6 } from 'node:net';
import { parseAddress } from '../addresses.ts';
import type { Address } from '../types.ts';
import { V2_SIGNATURE } from './header.ts';

/** The header of a connection from `source` to `destination`; where the two are not of one family, it names none. */
export function proxyHeader(version: 'v1' | 'v2', source: Address, destination: Address): Buffer {
  return version === 'v1' ? v1(source, destination) : v2(source, destination);
}

function v1(source: Address, destination: Address): Buffer {
  const both = (is: (host: string) => boolean) => is(source.host) && is(destination.host);
  const family = both(isIPv4) ? 'TCP4' : both(isIPv6) ? 'TCP6' : undefined;
  if (family === undefined) return Buffer.from('PROXY UNKNOWN\r\n');
  const addresses = `${source.host} ${destination.host} ${source.port} ${destination.port}`;
  return Buffer.from(`PROXY ${family} ${addresses}\r\n`);
}

function v2(source: Address, destination: Address): Buffer {
  const from = parseAddress(source.host);
  const to = parseAddress(destination.host);
  if (from === undefined || to === undefined || from.length !== to.length) {
    // LOCAL: the sender has nothing to say about whom it speaks for.
    return Buffer.concat([V2_SIGNATURE, Buffer.from([0x20, 0x00, 0, 0])]);
  }
  const body = Buffer.alloc(from.length * 2 + 4);
  from.copy(body, 0);
  to.copy(body, from.length);
  body.writeUInt16BE(source.port, from.length * 2);
  body.writeUInt16BE(destination.port, from.length * 2 + 2);
  const fixed = Buffer.from([0x21, from.length === 4 ? 0x11 : 0x21, body.length >> 8, body.length & 255]);
  return Buffer.concat([V2_SIGNATURE, fixed, body]);
}
