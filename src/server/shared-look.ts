/**
 * Answers all who ask with few looks: anybody can ask, and keeps what is looked at busy with one look at a time. Each caller gets
 * what there is from the moment of its call on: who comes while one look is under way waits for the next, together with all
 * others who do.
 */
export class SharedLook<T> {
  readonly #look: () => Promise<T>;
  #asking: Promise<T> | undefined;
  #next: Promise<T> | undefined;

  constructor(look: () => Promise<T>) {
    this.#look = look;
  }

  /** Throws what the look throws. */
  ask(): Promise<T> {
    if (this.#asking === undefined) {
      this.#asking = this.#look().finally(() => {
        this.#asking = undefined;
      });
      return this.#asking;
    }
    const again = () => {
      this.#next = undefined;
      return this.ask();
    };
    this.#next ??= this.#asking.then(again, again);
    return this.#next;
  }
}
