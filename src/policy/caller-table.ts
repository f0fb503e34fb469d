import type { Principal } from '../access/index.ts';
import { maskAddress, maskIpv4, parseAddress, parseIpv4 } from './address.ts';
import type { Caller } from './caller.ts';
import { HASH_START, hashOf, hashStep } from './hash.ts';

interface Prefix {
  readonly text: string;
  readonly number: number;
  /** Another prefix of the same hash. */
  readonly next: Prefix | undefined;
}

/** Blocks of one prefix length by their first address. */
interface Blocks {
  readonly bits: number;
  readonly byFirst: Map<number | bigint, number>;
}

/** Numbers for the callers that rules name, and for a principal the numbers of all callers that it is one of. */
export class CallerTable {
  #count = 0;
  readonly #exact = new Map<string, number>();
  /** By hash of `spiffe://td/` or `spiffe://td/path/`: looked up along an ID without cutting it. */
  readonly #prefixes = new Map<number, Prefix>();
  /** Trust domains again, for the one ID that has no path. */
  readonly #domains = new Map<string, number>();
  readonly #entities = new Map<string, number>();
  readonly #v4: Blocks[] = [];
  readonly #v6: Blocks[] = [];

  /** The caller's number; undefined for a person, whom no request names yet. */
  numberOf(caller: Caller): number | undefined {
    switch (caller.kind) {
      case 'exact':
        return this.#numberIn(this.#exact, caller.id);
      case 'prefix':
        return this.#prefix(caller.prefix);
      case 'domain': {
        const number = this.#prefix(`spiffe://${caller.name}/`);
        this.#domains.set(`spiffe://${caller.name}`, number);
        return number;
      }
      case 'entity':
        return this.#numberIn(this.#entities, caller.name);
      case 'cidr': {
        const { family, bits, value } = caller.cidr;
        const lengths = family === 4 ? this.#v4 : this.#v6;
        let blocks = lengths.find((known) => known.bits === bits);
        if (blocks === undefined) {
          blocks = { bits, byFirst: new Map() };
          lengths.push(blocks);
        }
        return this.#numberIn(blocks.byFirst, value);
      }
      case 'person':
        return undefined;
    }
  }

  #numberIn<K>(map: Map<K, number>, key: K): number {
    const known = map.get(key);
    if (known !== undefined) return known;
    map.set(key, this.#count);
    return this.#count++;
  }

  #prefix(text: string): number {
    const hash = hashOf(text);
    const first = this.#prefixes.get(hash);
    for (let known = first; known !== undefined; known = known.next)
      if (known.text === text) return known.number;
    this.#prefixes.set(hash, { text, number: this.#count, next: first });
    return this.#count++;
  }

  /** Writes the numbers of all callers that the principal is one of into `found` and gives how many they are. */
  find(principal: Principal, found: number[]): number {
    if (principal.kind === 'unauthenticated') return this.#findOrigin(principal.from, found);
    const exact = this.#exact.get(principal.id);
    if (exact !== undefined) found[0] = exact;
    const count = exact === undefined ? 0 : 1;
    return this.#prefixes.size === 0 ? count : this.#findPrefixes(principal.id, found, count);
  }

  #findPrefixes(id: string, found: number[], count: number): number {
    let total = count;
    let hash = HASH_START;
    let hasPath = false;
    for (let i = 0; i < id.length; i++) {
      const unit = id.charCodeAt(i);
      hash = hashStep(hash, unit);
      if (unit !== 0x2f || i < 9) continue;
      hasPath = true;
      for (let known = this.#prefixes.get(hash); known !== undefined; known = known.next) {
        // Equal hashes are not enough: a caller may have chosen its name for the hash.
        if (id.startsWith(known.text)) found[total++] = known.number;
      }
    }
    const domain = hasPath ? undefined : this.#domains.get(id);
    if (domain !== undefined) found[total++] = domain;
    return total;
  }

  #findOrigin(origin: string, found: number[]): number {
    let total = 0;
    const entity = this.#entities.get(origin);
    if (entity !== undefined) found[total++] = entity;
    if (this.#v4.length + this.#v6.length === 0) return total;
    const v4 = parseIpv4(origin);
    const address = v4 >= 0 ? undefined : parseAddress(origin);
    const lengths = v4 >= 0 || address?.family === 4 ? this.#v4 : this.#v6;
    for (const { bits, byFirst } of lengths) {
      const first =
        v4 >= 0 ? maskIpv4(v4, bits) : address === undefined ? undefined : maskAddress(address, bits);
      const number = first === undefined ? undefined : byFirst.get(first);
      if (number !== undefined) found[total++] = number;
    }
    return total;
  }
}
