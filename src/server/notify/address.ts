import { lookup } from 'node:dns/promises';
import { InterlockError } from '../../access/index.ts';
import { type Cidr, cidrContains, parseAddress, parseCidr } from '../../policy/index.ts';

/** An address as the resolver gives it. */
export interface Resolved {
  readonly address: string;
  readonly family: number;
}

/** All addresses of a name; a test brings its own. */
export type Resolve = (host: string) => Promise<readonly Resolved[]>;

export const systemResolve: Resolve = (host) => lookup(host, { all: true, verbatim: true });

/** Whether a message may go there: to the public network, to this machine or a private network if so allowed, or never. */
export type AddressKind = 'public' | 'private' | 'loopback' | 'never';

/**
 * The blocks of the special-purpose registries of IANA (RFC 6890 and its successors), and addresses under which clouds hand
 * credentials to whoever asks. The first block that holds an address says what it is.
 */
const BLOCKS: readonly (readonly [AddressKind, readonly string[]])[] = [
  // Link-local addresses hold the metadata of every large cloud; these hold that of Alibaba and Azure.
  ['never', ['169.254.0.0/16', '100.100.100.200/32', '168.63.129.16/32']],
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', '198.18.0.0/15']],
  ['never', ['0.0.0.0/8', '192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24']],
  ['never', ['198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/4', '240.0.0.0/4']],
  ['public', ['0.0.0.0/0']],
  // By IPv6: the services of Amazon for its machines, and the metadata of Google, Oracle, Scaleway, Linode and Alibaba.
  ['never', ['fd00:ec2::/32', 'fd20:ce::254/128', 'fd00:c1::a9fe:a9fe/128', 'fd00:42::42/128']],
  ['never', ['fd00:a9fe:a9fe::1/128', 'fd00:100::100:200/128']],
  ['private', ['fc00::/7']],
  // Documentation, and ways of writing or carrying another address that nobody writes by hand.
  ['never', ['2001:db8::/32', '3fff::/20', '2001::/23']],
  ['public', ['2000::/3']],
];

const TABLE = BLOCKS.flatMap(([kind, blocks]) => blocks.map((text) => [kind, cidrOf(text)] as const));

/** Blocks of IPv6 that carry an IPv4 address, and how many bits stand behind it: it is judged in their place. */
const CARRIERS = [
  // RFC 4291, 2.5.5.1; RFC 6052 (NAT64); RFC 3056 (6to4).
  { block: cidrOf('::/96'), behind: 0n },
  { block: cidrOf('64:ff9b::/96'), behind: 0n },
  { block: cidrOf('2002::/16'), behind: 80n },
] as const;

/** What kind of address a text is. What is no address goes nowhere. */
export function addressKind(text: string): AddressKind {
  // A zone names an interface of this machine: only addresses that are no public ones have one.
  const address = parseAddress(text);
  if (address === undefined) return 'never';
  const one: Cidr = { ...address, bits: address.family === 4 ? 32 : 128 };
  const known = TABLE.find(([, block]) => cidrContains(block, one))?.[0];
  if (address.family === 4 || known === 'loopback') return known ?? 'never';
  const carrier = CARRIERS.find(({ block }) => cidrContains(block, one));
  if (carrier === undefined) return known ?? 'never';
  const value = Number((address.value >> carrier.behind) & 0xffffffffn);
  const v4: Cidr = { family: 4, value, bits: 32 };
  return TABLE.find(([, block]) => cidrContains(block, v4))?.[0] ?? 'never';
}

/** Where a channel's messages may go. */
export interface Reach {
  readonly url: URL;
  /** Private networks and this machine too. */
  readonly allowPrivate: boolean;
}

/** The host of an address as a resolver takes it. */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[|\]$/g, '');
}

/**
 * The addresses that a message may be sent to: every one of its host, or none. Throws `forbidden` where one of them is not
 * allowed (a name that leads to a public and to an inner address is made for that), `unavailable` where it has none.
 */
export async function addressesOf(
  { url, allowPrivate }: Reach,
  resolve: Resolve,
): Promise<readonly Resolved[]> {
  const host = hostOf(url);
  const literal = parseAddress(host);
  const found =
    literal === undefined
      ? await resolved(host, resolve)
      : [{ address: host, family: host.includes(':') ? 6 : 4 }];
  if (found.length === 0) throw new InterlockError('unavailable', host, `${host} has no address`);
  for (const { address } of found) {
    const kind = addressKind(address);
    if (kind === 'never')
      throw new InterlockError('forbidden', host, `${host} is ${address}: nothing is ever sent there`);
    if (kind !== 'public' && !allowPrivate)
      throw new InterlockError(
        'forbidden',
        host,
        `${host} is ${address}, in a private network or on this machine: "allowPrivate: true" of its channel allows that`,
      );
    if (url.protocol !== 'https:' && kind !== 'loopback')
      throw new InterlockError(
        'forbidden',
        host,
        `${host} is ${address}: plain http is for this machine alone`,
      );
  }
  return found;
}

async function resolved(host: string, resolve: Resolve): Promise<readonly Resolved[]> {
  try {
    return await resolve(host);
  } catch (cause) {
    throw new InterlockError('unavailable', host, `${host} has no address now`, { cause });
  }
}

function cidrOf(text: string): Cidr {
  const parsed = parseCidr(text);
  if (!parsed.ok) throw new TypeError(`${text}: ${parsed.reason}`);
  return parsed.cidr;
}
