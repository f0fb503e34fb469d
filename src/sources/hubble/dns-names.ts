import { BoundedMap } from './bounded-map.ts';

/** Addresses whose names are remembered, per asking pod and in all. */
const MAX_NAMES = 65_536;
const SEVERAL = '';

/**
 * Which name an address was looked up by. A shared address (a CDN) has many: the name that the same caller
 * asked for wins; else a name is given only while everyone asked for the same one.
 */
export class DnsNames {
  readonly #byAsker = new BoundedMap<string>(MAX_NAMES);
  readonly #byAddress = new BoundedMap<string>(MAX_NAMES);

  /** Takes in one answer: `asker` looked up `query` and was told `ips`. */
  learn(asker: string, query: string, ips: readonly string[]): void {
    const host = hostName(query);
    if (host === undefined) return;
    for (const ip of ips) {
      this.#byAsker.set(`${asker} ${ip}`, host);
      const known = this.#byAddress.get(ip);
      this.#byAddress.set(ip, known === undefined || known === host ? host : SEVERAL);
    }
  }

  /** The name under which `asker` reached `ip`, or undefined where none is known without doubt. */
  nameOf(asker: string, ip: string): string | undefined {
    return this.#byAsker.get(`${asker} ${ip}`) ?? (this.#byAddress.get(ip) || undefined);
  }
}

/** A DNS name in lower case without its last dot, or undefined where it is none (RFC 1035, 253 characters). */
export function hostName(name: string): string | undefined {
  const host = name.toLowerCase().replace(/\.$/, '');
  return /^[a-z0-9_](?:[a-z0-9._-]{0,251}[a-z0-9])?$/.test(host) ? host : undefined;
}
