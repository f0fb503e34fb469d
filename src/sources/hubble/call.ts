import { type Counter, HOUR_MS, OUTCOMES, type Outcome } from '../../access/index.ts';

/** One call that was counted and whose end may still turn out to be another than it first looked. */
export class CountedCall {
  readonly at: number;
  readonly #counter: Counter;
  readonly #instance: string | undefined;
  #outcome: Outcome;
  #mutual = false;

  constructor(counter: Counter, at: number, outcome: Outcome, instance: string | undefined) {
    this.at = at;
    this.#counter = counter;
    this.#instance = instance;
    this.#outcome = outcome;
    counter.add(at, outcome, instance);
  }

  get outcome(): Outcome {
    return this.#outcome;
  }

  /** Moves the call from the outcome it was counted under to another. */
  settle(outcome: Outcome): void {
    if (outcome === this.#outcome) return;
    const { counts } = this.#counter.evidence;
    const key = Math.floor(this.at / HOUR_MS) * 4 + OUTCOMES.indexOf(this.#outcome);
    const left = (counts.get(key) ?? 0) - 1;
    if (left > 0) counts.set(key, left);
    else counts.delete(key);
    this.#counter.add(this.at, outcome, this.#instance);
    this.#outcome = outcome;
    if (outcome !== 'ok' && this.#mutual) {
      this.#mutual = false;
      this.#counter.evidence.mutual--;
    }
  }

  /** Notes that both ends proved who they are. A call that did not go through proved nothing. */
  authenticated(): void {
    if (this.#mutual || this.#outcome !== 'ok') return;
    this.#mutual = true;
    this.#counter.evidence.mutual++;
  }
}
