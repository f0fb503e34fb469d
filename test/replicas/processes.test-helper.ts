import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));

/** One run of the program, and all that it has said. */
export class Run {
  readonly child: ChildProcess;
  readonly ended: Promise<number | null>;
  out = '';
  err = '';
  #waiting: (() => void)[] = [];

  constructor(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    this.ended = once(this.child, 'close').then(([code]: (number | null)[]) => code ?? null);
    this.child.stdout?.on('data', (chunk) => this.#take(() => (this.out += String(chunk))));
    this.child.stderr?.on('data', (chunk) => this.#take(() => (this.err += String(chunk))));
    void this.ended.then(() => this.#take(() => {}));
  }

  /** Waits until the output has what fits. */
  said(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#until('out', pattern);
  }

  /** Waits until the log has what fits, behind a place in it. */
  logged(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return this.#until('err', pattern, from);
  }

  /** Ends it as a crash does. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    await this.ended;
  }

  async #until(what: 'out' | 'err', pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this[what].slice(from));
      if (found !== null) return found;
      if (this.child.exitCode !== null || this.child.signalCode !== null)
        throw new Error(`it has ended without ${pattern}: ${this.err}`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #take(add: () => void): void {
    add();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

/** The port that a control plane says agents and proxies connect to. */
export async function agentsPort(up: Run): Promise<string> {
  return (await up.said(/agents and proxies\s+port (\d+)/))[1] ?? '';
}
