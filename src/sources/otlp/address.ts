import { isIP } from 'node:net';
import { recordedPath } from '../../access/index.ts';

/** What an absolute URL (or `//host:port`) names. User information and the query are never kept. */
export interface Target {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
}

const URL_PARTS =
  /^(?:([a-z][a-z0-9+.-]*):)?\/\/(?:[^/?#]*@)?(\[[0-9A-Fa-f:.]+\]|[^/?#:@]+)(?::(\d{1,5}))?([/?#].*)?$/i;
const DEFAULT_PORTS = new Map([
  ['http', 80],
  ['https', 443],
]);

/** Reads a URL without decoding or normalising its path; an empty object where it is none. */
export function targetOf(url: string): Target {
  const match = URL_PARTS.exec(url);
  if (match === null) return {};
  const [, scheme, host = '', digits, rest] = match;
  const port = digits === undefined ? DEFAULT_PORTS.get((scheme ?? '').toLowerCase()) : Number(digits);
  return {
    host: host.startsWith('[') ? host.slice(1, -1) : host,
    ...(port !== undefined && port > 0 && port < 65_536 ? { port } : {}),
    path: rest?.startsWith('/') === true ? recordedPath(rest) : '/',
  };
}

/** A host as it is compared, with the port that some libraries write behind it; nothing for a socket's file name. */
export function hostIn(text: string | undefined): Target {
  if (text === undefined || text.includes('/')) return {};
  if (isAddress(text) || !text.includes(':')) return { host: text.toLowerCase() };
  const { host, port } = targetOf(`//${text}`);
  return {
    ...(host === undefined ? {} : { host: host.toLowerCase() }),
    ...(port === undefined ? {} : { port }),
  };
}

/** The IP address in `text`, with or without a port; undefined for names and for this host's own addresses. */
export function addressOf(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const bracket = /^\[([^\]]+)\](?::\d+)?$/.exec(text);
  const dotted = /^([\d.]+):\d+$/.exec(text);
  const ip = bracket?.[1] ?? dotted?.[1] ?? text;
  if (isIP(ip) === 0) return undefined;
  const plain = ip.toLowerCase().replace(/^::ffff:(?=[\d.]+$)/, '');
  // A loopback peer is a proxy beside the process, not who called.
  return plain.startsWith('127.') || plain === '::1' || plain === '0.0.0.0' || plain === '::'
    ? undefined
    : plain;
}

/** True for an IP address without a port. */
export function isAddress(text: string): boolean {
  return isIP(text) !== 0;
}
