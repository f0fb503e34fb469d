import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';

/** How a program is started. */
export interface Start {
  readonly command: string;
  readonly args: readonly string[];
  /** The user and group to run as, without other groups. */
  readonly uid?: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** How a program ended. */
export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

const PATIENCE_MS = 30_000;
const LINES_KEPT = 2000;

/** A program that goes on, and the lines that it writes. */
export class Child {
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #lines: string[] = [];
  #news = Promise.withResolvers<void>();

  constructor({ command, args, uid, env, cwd }: Start) {
    this.#process = spawn(command, args, { ...as(uid), cwd, env: environment(env), stdio: 'pipe' });
    this.#exited = new Promise((resolve) => {
      this.#process.once('exit', () => resolve());
      this.#process.once('error', (error) => {
        this.#take(error.message);
        resolve();
      });
    });
    this.#process.stdin?.end();
    for (const stream of [this.#process.stdout, this.#process.stderr]) {
      if (stream !== null) createInterface({ input: stream }).on('line', (line) => this.#take(line));
    }
  }

  get pid(): number {
    return this.#process.pid ?? -1;
  }

  /** How many lines it has written: what is said from now on comes after. */
  get mark(): number {
    return this.#lines.length;
  }

  /** The first line from `mark` on that `read` makes something of. Throws with the last lines when it does not come. */
  async line<T>(read: (line: string) => T | undefined, mark = 0, what = 'an expected line'): Promise<T> {
    const end = AbortSignal.timeout(PATIENCE_MS);
    const over = new Promise<boolean>((resolve) => {
      end.addEventListener('abort', () => resolve(true), { once: true });
      void this.#exited.then(() => resolve(true));
    });
    for (let next = mark; ; ) {
      for (; next < this.#lines.length; next++) {
        const found = read(this.#lines[next] ?? '');
        if (found !== undefined) return found;
      }
      const has = this.#news.promise;
      if (end.aborted || (await Promise.race([has.then(() => false), over]))) {
        throw new Error(`${what} did not come; last was: ${this.#lines.slice(-8).join(' / ').slice(0, 600)}`);
      }
    }
  }

  /** The lines from `mark` on. */
  since(mark: number): readonly string[] {
    return this.#lines.slice(mark);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill(signal);
    const late = pause(8000, undefined, { ref: false }).then(() => this.#process.kill('SIGKILL'));
    await Promise.race([this.#exited, late]);
    await this.#exited;
  }

  #take(line: string): void {
    // Marks are positions: what is too old is emptied, not removed.
    if (this.#lines.length >= LINES_KEPT) this.#lines[this.#lines.length - LINES_KEPT] = '';
    this.#lines.push(line);
    this.#news.resolve();
    this.#news = Promise.withResolvers();
  }
}

/** Runs a program to its end. */
export async function runToEnd({ command, args, uid, env, cwd }: Start, input = ''): Promise<Ended> {
  const options = { ...as(uid), cwd, env: environment(env), timeout: 60_000, maxBuffer: 64 << 20 };
  return new Promise((resolve) => {
    const child = execFile(command, args, options, (error, out, err) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, out, err: err === '' && error !== null ? error.message : err });
    });
    child.stdin?.on('error', () => {}).end(input);
  });
}

/** Asks until there is an answer. */
export async function until<T>(ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 2 * PATIENCE_MS;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await pause(200);
  }
  throw new Error(`it did not come to be in ${(2 * PATIENCE_MS) / 1000} s`);
}

function as(uid: number | undefined): { uid?: number; gid?: number } {
  return uid === undefined ? {} : { uid, gid: uid };
}

function environment(own: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...own };
}
