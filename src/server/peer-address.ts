import { isIPv6 } from 'node:net';

/** An IPv4 address as it is written, also where it came in at a socket of IPv6. */
export function bareAddress(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/, '');
}

/** What is counted as one caller: a machine has a whole /64 of IPv6 addresses. */
export function networkOf(address: string): string {
  if (!isIPv6(address) || address.includes('.')) return address;
  const [head = '', tail] = address.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length;
  const groups = [...first, ...Array.from({ length: Math.max(0, zeros) }, () => '0'), ...last];
  return groups.slice(0, 4).join(':');
}
