import { type Attribution, Directory, type Fact, factKey } from '../../access/index.ts';

/** What inventories say so far: later facts replace earlier ones of the same object. */
export class Inventory {
  readonly #facts = new Map<string, Fact>();
  #attribution: Attribution | undefined;

  constructor(facts: Iterable<Fact> = []) {
    this.add(facts);
  }

  add(facts: Iterable<Fact>): void {
    for (const fact of facts) this.#facts.set(factKey(fact), fact);
    this.#attribution = undefined;
  }

  facts(): Fact[] {
    return [...this.#facts.values()];
  }

  attribution(): Attribution {
    this.#attribution ??= new Directory(this.#facts.values());
    return this.#attribution;
  }
}
