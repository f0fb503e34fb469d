import { printable, type Terminal } from './terminal.ts';

/** How often progress is said: often on a terminal, every few seconds elsewhere. */
const INTERVAL_MS = { terminal: 100, elsewhere: 5_000 };

/** What is known of long work at one moment. `total` is absent where it is not known (standard input). */
export interface Step {
  readonly what: string;
  readonly done: number;
  readonly total?: number | undefined;
}

/** Says how far long work is, at what rate, and what is left: one line that rewrites itself on a terminal. */
export class Progress {
  readonly #terminal: Terminal;
  readonly #now: () => number;
  readonly #start: number;
  #last: number;
  #drawn = false;

  constructor(terminal: Terminal, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#now = now;
    this.#start = now();
    this.#last = this.#start;
  }

  /** `done` and `total` in bytes. */
  step({ what, done, total }: Step): void {
    const { err } = this.#terminal;
    const tty = err.isTTY === true;
    const now = this.#now();
    if (now - this.#last < (tty ? INTERVAL_MS.terminal : INTERVAL_MS.elsewhere)) return;
    this.#last = now;
    const seconds = (now - this.#start) / 1000;
    const rate = done / Math.max(seconds, 0.001);
    const known = total !== undefined && total > 0;
    const share = known ? ` of ${mebibytes(total)} (${Math.floor((100 * done) / total)} %)` : '';
    const left = known && rate > 0 ? `, about ${Math.ceil(Math.max(0, total - done) / rate)} s left` : '';
    const line = `${printable(what)}: ${mebibytes(done)}${share}, ${mebibytes(rate)}/s${left}`;
    err.write(tty ? `\r\x1b[K${line.slice(0, 99)}` : `${line}\n`);
    this.#drawn = tty;
  }

  end(): void {
    if (this.#drawn) this.#terminal.err.write('\r\x1b[K');
    this.#drawn = false;
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1048576).toFixed(1)} MiB`;
}
