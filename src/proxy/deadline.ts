import type { Clock } from '../workload/index.ts';

/**
 * One timer that is moved far more often than it fires: moving it later costs a comparison, since the timer that runs
 * already looks again when it fires.
 */
export class Deadline {
  readonly #clock: Clock;
  readonly #onPassed: () => void;
  #at = Number.POSITIVE_INFINITY;
  #armedFor = Number.POSITIVE_INFINITY;
  #callOff: (() => void) | undefined;

  constructor(clock: Clock, onPassed: () => void) {
    this.#clock = clock;
    this.#onPassed = onPassed;
  }

  /** Calls back in `ms` from now unless it is set again or cleared before. */
  set(ms: number): void {
    this.#at = this.#clock.now() + ms;
    if (this.#at < this.#armedFor) this.#arm(ms);
  }

  /** Lets the timer run out without a call. */
  clear(): void {
    this.#at = Number.POSITIVE_INFINITY;
  }

  /** Ends the timer itself: nothing keeps a reference any more. */
  close(): void {
    this.clear();
    this.#callOff?.();
    this.#callOff = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #arm(ms: number): void {
    this.#callOff?.();
    this.#armedFor = this.#at;
    this.#callOff = this.#clock.after(ms, () => this.#look());
  }

  #look(): void {
    this.#callOff = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    if (this.#at === Number.POSITIVE_INFINITY) return;
    const left = this.#at - this.#clock.now();
    if (left > 0) this.#arm(left);
    else {
      this.#at = Number.POSITIVE_INFINITY;
      this.#onPassed();
    }
  }
}
