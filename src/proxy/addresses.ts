import { isIPv4, isIPv6, SocketAddress } from 'node:net';
import { type Cidr, cidrContains, parseCidr } from '../policy/index.ts';
import { InterlockError } from '../access/index.ts';

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

/** The address as policies write it: an IPv4 address that a dual-stack socket shows as IPv6 is IPv4; no zone. */
export function plainAddress(address: string | undefined): string {
  if (address === undefined) return '';
  const mapped = MAPPED.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const zone = address.indexOf('%');
  return zone < 0 ? address : address.slice(0, zone);
}

/** The address in the one form that the system would show it in, so that equal addresses are equal texts. */
export function canonicalAddress(address: string): string {
  if (!isIPv6(address)) return address;
  return plainAddress(new SocketAddress({ address, family: 'ipv6' }).address);
}

/** The bytes of an address, 4 or 16, or undefined for what is none. */
export function parseAddress(address: string): Buffer | undefined {
  const cidr = cidrOf(address);
  if (cidr === undefined) return undefined;
  const hex = cidr.value.toString(16).padStart(cidr.family === 4 ? 8 : 32, '0');
  return Buffer.from(hex, 'hex');
}

/** Whether an address lies in one of the blocks. */
export function isWithin(address: string, blocks: readonly Cidr[]): boolean {
  const one = cidrOf(address);
  return one !== undefined && blocks.some((block) => cidrContains(block, one));
}

/** The blocks of a list, of which each is a CIDR. Throws `invalid_document`. */
export function blocksOf(texts: readonly string[]): readonly Cidr[] {
  return texts.map((text) => {
    const parsed = parseCidr(text);
    if (parsed.ok) return parsed.cidr;
    throw new InterlockError(
      'invalid_document',
      text,
      `"${text}" is no block of addresses: ${parsed.reason}`,
    );
  });
}

function cidrOf(address: string): Cidr | undefined {
  const plain = plainAddress(address);
  const parsed = parseCidr(`${plain}/${isIPv4(plain) ? 32 : 128}`);
  return parsed.ok ? parsed.cidr : undefined;
}
