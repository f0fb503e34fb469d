import { createInterface } from 'node:readline';
import type { Terminal } from '../src/cli/terminal.ts';

/** A step of the story that did not hold. */
export class NotVerified extends Error {
  constructor(check: string, found: string) {
    super(`${check}: ${found}`);
    this.name = 'NotVerified';
  }
}

/** What was verified, and by what it was seen. */
export interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly found: string;
  /** Milliseconds since the start. */
  readonly at: number;
}

export interface TellerOptions {
  readonly terminal: Terminal;
  readonly input: NodeJS.ReadStream;
  /** Nobody is asked to go on. */
  readonly headless: boolean;
  readonly startedAt: number;
}

/** How long the story waits for Enter before it goes on by itself. */
const PATIENCE_MS = 30_000;

/** Tells the story in a terminal, and keeps what was verified. */
export class Teller {
  readonly #options: TellerOptions;
  readonly #checks: Check[] = [];
  #step = 0;

  constructor(options: TellerOptions) {
    this.#options = options;
  }

  get checks(): readonly Check[] {
    return this.#checks;
  }

  /** Somebody sits before it. */
  get isWatched(): boolean {
    return !this.#options.headless;
  }

  /** Milliseconds since the start. */
  get elapsed(): number {
    return performance.now() - this.#options.startedAt;
  }

  /** Begins a step: its title, and what it is about. */
  step(title: string, about: string): void {
    const { terminal } = this.#options;
    terminal.line();
    terminal.line(terminal.paint('bold', `${++this.#step}  ${title}`));
    terminal.prose(about, 3);
  }

  say(text: string): void {
    this.#options.terminal.prose(text, 3);
  }

  /** Lines as they are, such as a table. */
  lines(lines: readonly string[]): void {
    const { terminal } = this.#options;
    for (const line of lines) terminal.line(`     ${terminal.paint('dim', line)}`);
  }

  /** What a person would type for the same. */
  command(text: string): void {
    const { terminal } = this.#options;
    terminal.line(`   ${terminal.paint('cyan', `$ ${text}`)}`);
  }

  /** Says that something holds, and by what it was seen. Throws {@link NotVerified} where it does not. */
  check(name: string, ok: boolean, found: string): void {
    const { terminal } = this.#options;
    this.#checks.push({ name, ok, found, at: Math.round(this.elapsed) });
    const mark = ok ? terminal.paint('green', 'ok') : terminal.paint('red', 'NOT');
    terminal.line(`   ${mark} ${name}: ${found}`);
    if (!ok) throw new NotVerified(name, found);
  }

  /** Waits for Enter where somebody watches; goes on by itself after a while. */
  async pause(what: string): Promise<void> {
    const { terminal, input, headless } = this.#options;
    if (headless || !input.isTTY) return;
    terminal.out.write(terminal.paint('dim', `   [Enter: ${what}; by itself in ${PATIENCE_MS / 1000} s] `));
    const reader = createInterface({ input, terminal: false });
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => {
        terminal.line();
        resolve();
      }, PATIENCE_MS);
      reader.once('line', () => {
        clearTimeout(timer);
        resolve();
      });
      reader.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
    reader.close();
    // Nothing of the terminal is read until the next question.
    input.pause();
  }
}
