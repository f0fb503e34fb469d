import type { ReportMark } from '../../../store/index.ts';

/** Epochs of one reporter that are remembered, as many as the store does. */
const MAX_EPOCHS = 32;
/** Reporters that are remembered here: they name themselves. Of the others the store is asked, which remembers more. */
const MAX_REPORTERS = 50_000;

/** Which reports are kept for good: of each reporter and epoch, the number up to which all are. */
export class Marks {
  readonly #marks = new Map<string, Map<string, number>>();

  isKept({ reporter, epoch, sequence }: ReportMark): boolean {
    return (this.#marks.get(reporter)?.get(epoch) ?? 0) >= sequence;
  }

  keep({ reporter, epoch, sequence }: ReportMark): void {
    let epochs = this.#marks.get(reporter);
    if (epochs === undefined) {
      const [first] = this.#marks.keys();
      if (this.#marks.size >= MAX_REPORTERS && first !== undefined) this.#marks.delete(first);
      epochs = new Map();
    } else this.#marks.delete(reporter);
    this.#marks.set(reporter, epochs);
    const highest = Math.max(sequence, epochs.get(epoch) ?? 0);
    // Taken out and put in again: the one used last goes last.
    epochs.delete(epoch);
    epochs.set(epoch, highest);
    const [oldest] = epochs.keys();
    if (epochs.size > MAX_EPOCHS && oldest !== undefined) epochs.delete(oldest);
  }
}

/** One text for one report. */
export function markKey({ reporter, epoch, sequence }: ReportMark): string {
  return `${reporter} ${epoch} ${sequence}`;
}
