import { InterlockError } from '../../access/index.ts';
import { addressText, type Cidr, cidrContains, parseAddress, parseCidr } from '../../policy/index.ts';
import { bareAddress } from '../peer-address.ts';

/** Proxies in a row that are looked through. */
const MAX_HOPS = 32;
const MAX_HEADER = 4096;
const MAX_RANGES = 1000;

/** What of a request says whom a proxy has it from. */
export interface ForwardedHeaders {
  /** `X-Forwarded-For`. */
  readonly list?: string | undefined;
  /** `Forwarded` (RFC 7239). */
  readonly forwarded?: string | undefined;
}

/**
 * The proxies in front of this server that are believed when they say whom a call comes from. Each adds the address that it
 * was called from at the right end; so the caller is the first from the right that is none of them, and all that stands
 * left of it is what the caller says of itself. Nobody else is believed.
 */
export class TrustedProxies {
  readonly #ranges: readonly Cidr[];

  /** `10.0.0.0/8`, `fd00::/8`, or one address. Throws `usage`. */
  constructor(ranges: readonly string[] = []) {
    if (ranges.length > MAX_RANGES)
      throw new InterlockError('usage', '--trusted-proxy', `more than ${MAX_RANGES} are given`);
    this.#ranges = ranges.map(rangeOf);
  }

  /** Whom a call is from: `peer` is the address at the other end of the connection. */
  callerOf(peer: string, { list, forwarded }: ForwardedHeaders): string {
    const own = bareAddress(peer);
    if (!this.isTrusted(own)) return own;
    const found = [
      ...(list === undefined ? [] : [this.#walk(own, addressesOf(list))]),
      ...(forwarded === undefined ? [] : [this.#walk(own, addressesOfForwarded(forwarded))]),
    ];
    const [first = own, second = first] = found;
    // A proxy that writes one of the two passes the other one on as the caller wrote it.
    return first === second ? first : own;
  }

  /** Whether an address is that of a proxy which is believed. */
  isTrusted(address: string): boolean {
    const parsed = this.#ranges.length === 0 ? undefined : parseAddress(address);
    if (parsed === undefined) return false;
    const one: Cidr = { ...parsed, bits: parsed.family === 4 ? 32 : 128 };
    return this.#ranges.some((range) => cidrContains(range, one));
  }

  #walk(peer: string, said: readonly (string | undefined)[]): string {
    let caller = peer;
    for (const next of said.slice(-MAX_HOPS).toReversed()) {
      // One that hides it, or that nobody can read: it is known no further.
      if (next === undefined) return caller;
      caller = next;
      if (!this.isTrusted(caller)) return caller;
    }
    return caller;
  }
}

function rangeOf(text: string): Cidr {
  const address = parseAddress(text);
  const parsed = parseCidr(
    address === undefined ? text : `${addressText(address)}/${address.family === 4 ? 32 : 128}`,
  );
  const reason = parsed.ok
    ? parsed.cidr.bits === 0 && 'then everybody could say to be anybody: name the addresses of your proxies'
    : parsed.reason;
  if (parsed.ok && reason === false) return parsed.cidr;
  throw new InterlockError(
    'usage',
    '--trusted-proxy',
    `--trusted-proxy ${text.slice(0, 80)}: ${String(reason)}`,
  );
}

/** The addresses of an `X-Forwarded-For`, from left to right; undefined for what is none. */
function addressesOf(list: string): (string | undefined)[] {
  // The right end is what the nearest proxy wrote, however much is left of it.
  return list.slice(-MAX_HEADER).split(',').map(addressOf);
}

/** `192.0.2.1`, `2001:db8::1`, each also with a port: `192.0.2.1:80`, `[2001:db8::1]:80`. */
function addressOf(text: string): string | undefined {
  const [, v6, v4] = /^(?:\[([^\]]*)\](?::\d{1,5})?|([\d.]+):\d{1,5})$/.exec(text.trim()) ?? [];
  const parsed = parseAddress(v6 ?? v4 ?? text.trim());
  return parsed === undefined ? undefined : addressText(parsed);
}

/** One `name=value` of a `Forwarded`, and what is behind it. Each blank can be read in one way only. */
const PAIR =
  /[ \t]*(?:([!#$%&'*+.^`|~\w-]+)=(?:([!#$%&'*+.^`|~\w:-]+|\[[\da-fA-F:.]*\](?::\d+)?)|"((?:[^"\\]|\\.)*)")[ \t]*)?([;,]|$)/y;

/**
 * The `for` of each element of a `Forwarded`. One that is not written as the standard has it could swallow what a proxy has
 * added behind it: then nothing of it is believed.
 */
function addressesOfForwarded(header: string): (string | undefined)[] {
  if (header.length > MAX_HEADER) return [undefined];
  const found: (string | undefined)[] = [];
  let own: string | undefined;
  PAIR.lastIndex = 0;
  for (;;) {
    const match = PAIR.exec(header);
    if (match === null) return [undefined];
    const [, name, token, quoted, end] = match;
    if (name?.toLowerCase() === 'for') own = addressOf(token ?? quoted?.replaceAll(/\\(.)/g, '$1') ?? '');
    if (end === ';') continue;
    found.push(own);
    own = undefined;
    if (end === '') return found;
  }
}
