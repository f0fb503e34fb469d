import { InterlockError } from '../../access/index.ts';

/** Does some things at once; others wait their turn. */
export class Turns {
  readonly #atOnce: number;
  readonly #mayWait: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(atOnce: number, mayWait: number) {
    this.#atOnce = atOnce;
    this.#mayWait = mayWait;
  }

  /** Does it when it is its turn. Throws `limit` where too many wait already. */
  async take<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#atOnce) this.#running++;
    else {
      if (this.#waiting.length >= this.#mayWait)
        throw new InterlockError('limit', 'parent', `${this.#mayWait} requests wait for the parent already`);
      // Who ends hands over its place.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
