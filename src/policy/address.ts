/** An IP address as a number: 32 bits for IPv4, 128 for IPv6. */
export type Address =
  | { readonly family: 4; readonly value: number }
  | { readonly family: 6; readonly value: bigint };

/** A CIDR block: the addresses that share the first `bits` bits of `value`. */
export type Cidr = Address & { readonly bits: number };

export type ParsedCidr =
  | { readonly ok: true; readonly cidr: Cidr }
  | { readonly ok: false; readonly reason: string };

/** The IPv4 address as an unsigned number, or -1. Leading zeros are refused: some readers take them for octal. */
export function parseIpv4(text: string): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  if (text.length > 15) return -1;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === 0x2e) {
      if (octet < 0 || ++dots > 3) return -1;
      value = value * 256 + octet;
      octet = -1;
    } else {
      if (c < 0x30 || c > 0x39 || octet === 0) return -1;
      octet = octet < 0 ? c - 0x30 : octet * 10 + c - 0x30;
      if (octet > 255) return -1;
    }
  }
  return octet < 0 || dots !== 3 ? -1 : value * 256 + octet;
}

/** The address, or undefined where `text` is none. `::ffff:a.b.c.d` is the IPv4 address (RFC 4291, 2.5.5.2). */
export function parseAddress(text: string): Address | undefined {
  const v4 = parseIpv4(text);
  if (v4 >= 0) return { family: 4, value: v4 };
  const value = parseIpv6(text);
  if (value === undefined) return undefined;
  return value >> 32n === 0xffffn ? { family: 4, value: Number(value & 0xffffffffn) } : { family: 6, value };
}

/** Text forms of RFC 4291, section 2.2; no zone. */
function parseIpv6(text: string): bigint | undefined {
  if (text.length > 45 || !text.includes(':')) return undefined;
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const last = groups.at(-1);
  const tail = last?.at(-1);
  if (last !== undefined && tail?.includes('.') === true) {
    const v4 = parseIpv4(tail);
    if (v4 < 0) return undefined;
    last.splice(-1, 1, (v4 >>> 16).toString(16), (v4 & 0xffff).toString(16));
  }
  const [head = [], rear = []] = groups;
  const missing = 8 - head.length - rear.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of [...head, ...Array.from({ length: missing }, () => '0'), ...rear]) {
    if (!/^[0-9A-Fa-f]{1,4}$/.test(group)) return undefined;
    value = (value << 16n) | BigInt(`0x${group}`);
  }
  return value;
}

/** Reads `10.0.0.0/8` or `fd00::/8`. Bits beyond the prefix must be zero: the writer meant something else. */
export function parseCidr(text: string): ParsedCidr {
  const slash = text.indexOf('/');
  if (slash < 0) return { ok: false, reason: `write an address with its prefix length, as in "${text}/32"` };
  const host = text.slice(0, slash);
  const address = parseAddress(host);
  const length = text.slice(slash + 1);
  if (address === undefined) return { ok: false, reason: `"${host}" is not an IP address` };
  if (address.family === 4 && host.includes(':')) {
    return { ok: false, reason: 'write an IPv4-mapped address as IPv4' };
  }
  const width = address.family === 4 ? 32 : 128;
  const bits = /^(0|[1-9]\d{0,2})$/.test(length) ? Number(length) : -1;
  if (bits < 0 || bits > width)
    return { ok: false, reason: `"/${length}" is not a prefix length of 0 to ${width}` };
  const cidr: Cidr = { ...address, bits };
  if (maskAddress(address, bits) !== address.value) {
    return { ok: false, reason: `bits are set beyond the first ${bits}: write the block's first address` };
  }
  return { ok: true, cidr };
}

/** The address with only its first `bits` bits kept. */
export function maskAddress(address: Address, bits: number): number | bigint {
  return address.family === 4 ? maskIpv4(address.value, bits) : maskIpv6(address.value, bits);
}

/** An IPv4 address with only its first `bits` bits kept. */
export function maskIpv4(value: number, bits: number): number {
  // A shift by 32 is a shift by 0 in JavaScript.
  return bits === 0 ? 0 : (value & (-1 << (32 - bits))) >>> 0;
}

/** An IPv6 address with only its first `bits` bits kept. */
export function maskIpv6(value: bigint, bits: number): bigint {
  const drop = BigInt(128 - bits);
  return (value >> drop) << drop;
}

/** Whether every address of `inner` is one of `outer`. */
export function cidrContains(outer: Cidr, inner: Cidr): boolean {
  return (
    outer.family === inner.family &&
    outer.bits <= inner.bits &&
    maskAddress(inner, outer.bits) === outer.value
  );
}

/** The address as text; IPv6 in eight full groups. */
export function addressText(address: Address): string {
  if (address.family === 4) return [24, 16, 8, 0].map((shift) => (address.value >>> shift) & 255).join('.');
  const hex = address.value.toString(16).padStart(32, '0');
  return (hex.match(/.{4}/g) ?? []).join(':');
}
