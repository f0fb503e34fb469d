interface Line {
  running: number;
  readonly waiting: (() => void)[];
}

/** Lets work begin in turns: so many at once, so many of them of one owner, and next whoever has the fewest. */
export class Turns {
  readonly #most: number;
  readonly #mostEach: number;
  /** Owners with work, in the order in which they are next. */
  readonly #lines = new Map<string, Line>();
  #running = 0;

  constructor(most: number, mostEach: number) {
    this.#most = most;
    this.#mostEach = mostEach;
  }

  /** The work's own outcome, once its turn has come and it is done. */
  async take<T>(owner: string, work: () => Promise<T>): Promise<T> {
    const line = this.#lineOf(owner);
    const { promise, resolve } = Promise.withResolvers<void>();
    line.waiting.push(resolve);
    this.#next();
    await promise;
    try {
      return await work();
    } finally {
      this.#running--;
      line.running--;
      if (line.running === 0 && line.waiting.length === 0) this.#lines.delete(owner);
      this.#next();
    }
  }

  #lineOf(owner: string): Line {
    let line = this.#lines.get(owner);
    if (line === undefined) this.#lines.set(owner, (line = { running: 0, waiting: [] }));
    return line;
  }

  /** The owner with the least work running; of several, the one that waits longest. */
  #neediest(): [string, Line] | undefined {
    let best: [string, Line] | undefined;
    for (const [owner, line] of this.#lines) {
      if (line.waiting.length === 0 || line.running >= this.#mostEach) continue;
      if (best === undefined || line.running < best[1].running) best = [owner, line];
    }
    return best;
  }

  #next(): void {
    while (this.#running < this.#most) {
      const found = this.#neediest();
      if (found === undefined) return;
      const [owner, line] = found;
      this.#lines.delete(owner);
      this.#lines.set(owner, line);
      line.running++;
      this.#running++;
      line.waiting.shift()?.();
    }
  }
}
