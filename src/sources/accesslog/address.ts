/** An address as a proxy logs it. */
export interface Address {
  readonly ip: string;
  /** 0 where none is written, or where the address was taken from a header. */
  readonly port: number;
  readonly hasPort: boolean;
}

const V4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;
const V6 = /^[0-9a-f:]*:[0-9a-f:]*(\d+\.\d+\.\d+\.\d+)?$/;
const MAPPED = '::ffff:';

/**
 * Reads `10.0.0.7:8080`, `[fd00::7]:8080`, either without a port, and the same behind `tcp://` or
 * `envoy://NAME/` (Envoy's internal listeners). Undefined for sockets, names and everything else.
 */
export function addressOf(text: string | undefined): Address | undefined {
  if (text === undefined || text.length > 128) return undefined;
  const rest = text.slice(text.lastIndexOf('/') + 1).toLowerCase();
  const colon = rest.lastIndexOf(':');
  const bracket = rest.indexOf(']');
  if (rest.startsWith('[') ? colon > bracket : colon >= 0 && rest.indexOf(':') === colon) {
    const port = portOf(rest.slice(colon + 1));
    const host = rest.startsWith('[') ? rest.slice(1, bracket) : rest.slice(0, colon);
    const ip = ipOf(host);
    return port === undefined || ip === undefined ? undefined : { ip, port, hasPort: true };
  }
  const ip = ipOf(rest.startsWith('[') && rest.endsWith(']') ? rest.slice(1, -1) : rest);
  return ip === undefined ? undefined : { ip, port: 0, hasPort: false };
}

/** A TCP port as text, or undefined where it is none. */
export function portOf(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65_535 ? port : undefined;
}

/** The text of an IP address, IPv4 in IPv6 as IPv4; undefined where it is none. */
function ipOf(text: string): string | undefined {
  const ip = text.startsWith(MAPPED) && V4.test(text.slice(MAPPED.length)) ? text.slice(MAPPED.length) : text;
  const v4 = V4.exec(ip);
  if (v4 !== null) return v4.slice(1).every((part) => Number(part) <= 255) ? ip : undefined;
  return ip.length <= 45 && V6.test(ip) ? ip : undefined;
}

/** Whether an address is the machine's own: a proxy and its application talk through it. */
export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

/** The DNS name in `reviews.default.svc:9080`, in lower case; undefined for addresses and what is no name. */
export function hostOf(text: string | undefined): string | undefined {
  if (text === undefined || text.length > 300 || addressOf(text) !== undefined) return undefined;
  const host = text
    .replace(/:\d{1,5}$/, '')
    .toLowerCase()
    .replace(/\.$/, '');
  // RFC 1035 section 2.3.4: at most 253 characters; the underscore is in names that Kubernetes and Istio make.
  return host.length <= 253 && /^[a-z0-9_]([a-z0-9._-]*[a-z0-9])?$/.test(host) ? host : undefined;
}
