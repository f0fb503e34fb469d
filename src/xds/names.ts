import type { Limits } from './limits.ts';
import { type Resource, type ResourceSet, setOf } from './resources.ts';
import type { ResourceType } from './types.ts';
import { tooMany } from './wire.ts';

const EVERYTHING = '*';

/** What a stream asks for of one type ("How the client specifies what resources to return"). */
export class Names {
  readonly #type: ResourceType;
  readonly #limits: Limits;
  #names: Set<string> = new Set();
  /** Something was named once: an empty list means nothing from then on. */
  #wasNamed = false;
  #isWildcard = false;
  /** What was asked for of the set that was asked about last. */
  #last: { readonly from: ResourceSet; readonly wanted: ResourceSet } | undefined;

  constructor(type: ResourceType, limits: Limits) {
    this.#type = type;
    this.#limits = limits;
  }

  /** Everything is asked for. */
  get isWildcard(): boolean {
    return this.#isWildcard;
  }

  /** The names that were asked for one by one. */
  get named(): ReadonlySet<string> {
    return this.#names;
  }

  has(name: string): boolean {
    return this.#isWildcard || this.#names.has(name);
  }

  /** State of the world: the complete list. */
  replace(names: readonly string[]): void {
    const next = new Set(names);
    const isWildcard = next.delete(EVERYTHING) || (names.length === 0 && this.#isNothingMeantAsAll());
    this.#wasNamed ||= names.length > 0;
    if (isWildcard === this.#isWildcard && isEqual(next, this.#names)) return;
    this.#names = next;
    this.#isWildcard = isWildcard;
    this.#last = undefined;
  }

  /** Delta: names to add and to take away. Throws `limit` for too many. */
  change(subscribe: readonly string[], unsubscribe: readonly string[]): void {
    if (subscribe.length === 0 && unsubscribe.length === 0) {
      this.#isWildcard ||= this.#isNothingMeantAsAll();
      return;
    }
    this.#last = undefined;
    this.#wasNamed ||= subscribe.length > 0;
    for (const name of subscribe) {
      if (name === EVERYTHING) this.#isWildcard = true;
      else this.#names.add(name);
    }
    for (const name of unsubscribe) {
      if (name === EVERYTHING) this.#isWildcard = false;
      else this.#names.delete(name);
    }
    if (this.#names.size > this.#limits.names) throw tooMany(this.#limits);
  }

  /** The part of the set that is asked for; the set itself where that is all of it. */
  of(set: ResourceSet): ResourceSet {
    if (this.#isWildcard) return set;
    if (this.#last?.from === set) return this.#last.wanted;
    const found = new Map<string, Resource>();
    for (const name of this.#names) {
      const resource = set.resources.get(name);
      if (resource !== undefined) found.set(name, resource);
    }
    const wanted = found.size === set.resources.size ? set : setOf(this.#type, found);
    this.#last = { from: set, wanted };
    return wanted;
  }

  #isNothingMeantAsAll(): boolean {
    return this.#type.isRoot && !this.#wasNamed && this.#names.size === 0;
  }
}

function isEqual(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && a.isSubsetOf(b);
}
