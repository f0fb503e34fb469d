/**
 * Where the control planes of one state are: any of them is as good as the others. They are taken in turn, from one that
 * chance picks, so that not all who start at once come to the same.
 */
export class Addresses {
  readonly #all: readonly string[];
  #at: number;

  /** HOST:PORT each, at least one; `random` gives a number in [0, 1). */
  constructor(addresses: string | readonly string[], random: () => number) {
    this.#all = typeof addresses === 'string' ? [addresses] : addresses;
    if (this.#all.length === 0) throw new RangeError('there is no address');
    this.#at = Math.floor(random() * this.#all.length);
  }

  get current(): string {
    return this.#all[this.#at] ?? '';
  }

  /** The one in turn; the next one is then. */
  take(): string {
    const { current } = this;
    this.next();
    return current;
  }

  /** The one in turn is away: the next one is. */
  next(): void {
    this.#at = (this.#at + 1) % this.#all.length;
  }
}
