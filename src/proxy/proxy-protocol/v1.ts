import { isIPv4, isIPv6 } from 'node:net';
import { fault, MORE, type ProxyRead, V1_SIGNATURE } from './header.ts';

/** Longest line of version 1, with its line end. */
const MAX_LINE = 107;

/** Reads version 1, whose signature stands at the start of `bytes`. */
export function readV1(bytes: Buffer): ProxyRead {
  const end = bytes.subarray(0, MAX_LINE).indexOf('\r\n');
  if (end < 0) return bytes.length < MAX_LINE ? MORE : fault('a PROXY line without an end');
  const length = end + 2;
  const words = bytes.toString('latin1', V1_SIGNATURE.length, end).split(' ');
  const [family, from = '', to = '', fromPort = '', toPort = ''] = words;
  // Whatever follows UNKNOWN is not to be looked at.
  if (family === 'UNKNOWN') return { kind: 'header', header: {}, length };
  const isAddress = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isIPv6 : undefined;
  if (isAddress === undefined || words.length !== 5) return fault('a PROXY line of another form');
  if (!isAddress(from) || !isAddress(to) || from.includes('%') || to.includes('%')) {
    return fault('a PROXY line whose addresses are none');
  }
  const source = portOf(fromPort);
  const destination = portOf(toPort);
  if (source < 0 || destination < 0) return fault('a PROXY line whose ports are none');
  return {
    kind: 'header',
    header: { source: { host: from, port: source }, destination: { host: to, port: destination } },
    length,
  };
}

function portOf(text: string): number {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) < 65_536 ? Number(text) : -1;
}
