import { type ChildProcess, spawn } from 'node:child_process';
import { InterlockError } from '../../access/index.ts';
import type { Clock } from '../clock.ts';

/** How much of a command's output is kept to be told, in bytes; the rest is only counted. */
const KEPT_OUTPUT = 4_096;
/** After the polite signal, how long a command has before it is killed, in milliseconds. */
const GRACE_MS = 5_000;
/** How long the last of the output is waited for once a command has ended, in milliseconds. */
const LAST_OUTPUT_MS = 1_000;

/** How one run of a command ended. */
export interface CommandReport {
  /** Exit code, or the signal that ended it. */
  readonly ended: number | NodeJS.Signals | 'not started';
  /** Why it could not be started. */
  readonly fault?: NodeJS.ErrnoException | undefined;
  readonly timedOut: boolean;
  /** Bytes written to standard output and standard error. */
  readonly outputBytes: number;
  /** The first {@link KEPT_OUTPUT} bytes of it. */
  readonly output: string;
  readonly ms: number;
}

/** What runs, and for how long at most. */
export interface CommandOptions {
  readonly argv: readonly string[];
  /** Hands `argv`, joined by spaces, to a shell. Without it no shell ever sees it. */
  readonly shell: boolean;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly onReport: (report: CommandReport) => void;
}

/**
 * A command that runs after each renewal. Never twice at once: a renewal while it runs makes it run once more after.
 * After its time it is ended with all that it started.
 */
export class RenewalCommand {
  readonly #options: CommandOptions;
  #child: ChildProcess | undefined;
  #loop: Promise<CommandReport | undefined> | undefined;
  #again = false;
  #closed = false;

  constructor(options: CommandOptions) {
    this.#options = options;
  }

  /**
   * Runs the command, or once more when the one that runs now is done. Resolves when nothing runs any more, with the
   * last report; none where it was closed before.
   */
  async run(): Promise<CommandReport | undefined> {
    this.#again = true;
    this.#loop ??= this.#runs().finally(() => {
      this.#loop = undefined;
    });
    return await this.#loop;
  }

  async #runs(): Promise<CommandReport | undefined> {
    let report: CommandReport | undefined;
    while (this.#again && !this.#closed) {
      this.#again = false;
      report = await this.#once();
      this.#options.onReport(report);
    }
    return report;
  }

  /** Ends the command that runs, and starts no other. */
  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    endGroup(child, 'SIGTERM');
    const callOff = this.#options.clock.after(GRACE_MS, () => endGroup(child, 'SIGKILL'));
    await this.#loop;
    callOff();
  }

  async #once(): Promise<CommandReport> {
    const { argv, shell, timeoutMs, clock } = this.#options;
    const started = clock.now();
    const child = startChild(argv, shell, ['ignore', 'pipe', 'pipe']);
    const output = new Output();
    child.stdout?.on('data', (bytes: Buffer) => output.take(bytes));
    child.stderr?.on('data', (bytes: Buffer) => output.take(bytes));
    let timedOut = false;
    let callOff = clock.after(timeoutMs, () => {
      timedOut = true;
      endGroup(child, 'SIGTERM');
      callOff = clock.after(GRACE_MS, () => endGroup(child, 'SIGKILL'));
    });
    this.#child = child;
    const end = await ended(child, clock);
    this.#child = undefined;
    callOff();
    const { bytes, text } = output;
    return { ...end, timedOut, outputBytes: bytes, output: text, ms: clock.now() - started };
  }
}

/**
 * A program that the helper starts after the first set of files, and tells of each later set by a signal. One that has
 * ended is started again at the next renewal.
 */
export class SignalledProgram {
  readonly #argv: readonly string[];
  readonly #shell: boolean;
  readonly #signal: NodeJS.Signals;
  readonly #onReport: (text: string) => void;
  readonly #clock: Clock;
  #closed = false;
  #child: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();

  constructor(options: {
    argv: readonly string[];
    shell: boolean;
    signal: NodeJS.Signals;
    clock: Clock;
    onReport: (text: string) => void;
  }) {
    this.#argv = options.argv;
    this.#shell = options.shell;
    this.#signal = options.signal;
    this.#onReport = options.onReport;
    this.#clock = options.clock;
  }

  renewed(): void {
    if (this.#closed) return;
    if (this.#child !== undefined) {
      this.#child.kill(this.#signal);
      this.#onReport(`sent ${this.#signal} to ${this.#argv[0]} (process ${this.#child.pid ?? 'gone'})`);
      return;
    }
    const child = startChild(this.#argv, this.#shell, ['ignore', 'inherit', 'inherit']);
    this.#child = child;
    this.#onReport(`started ${this.#argv[0]} (process ${child.pid ?? 'none'})`);
    this.#ended = this.#awaitEnd(child);
  }

  async #awaitEnd(child: ChildProcess): Promise<void> {
    const { ended: how, fault } = await ended(child, this.#clock);
    this.#child = undefined;
    const why = fault === undefined ? '' : ` (${faultText(fault)})`;
    this.#onReport(`${this.#argv[0]} ended: ${how}${why}; the next renewal starts it again`);
  }

  async close(): Promise<void> {
    this.#closed = true;
    const child = this.#child;
    if (child === undefined) return;
    endGroup(child, 'SIGTERM');
    const callOff = this.#clock.after(GRACE_MS, () => endGroup(child, 'SIGKILL'));
    await this.#ended;
    callOff();
  }
}

/** Starts a program as the head of its own process group, so that all it starts can be ended with it. */
function startChild(
  argv: readonly string[],
  shell: boolean,
  stdio: ['ignore', 'pipe' | 'inherit', 'pipe' | 'inherit'],
): ChildProcess {
  const [program, ...args] = argv;
  if (program === undefined) throw new InterlockError('usage', 'command', 'the command to run is empty');
  if (shell) return spawn(argv.join(' '), { stdio, shell: true, detached: true });
  return spawn(program, args, { stdio, shell: false, detached: true });
}

/** Why a program could not be started. */
export function faultText({ code, message }: NodeJS.ErrnoException): string {
  if (code === 'ENOENT') return 'there is no such program';
  return code === 'EACCES' ? 'it may not be executed' : message;
}

function ended(child: ChildProcess, clock: Clock): Promise<Pick<CommandReport, 'ended' | 'fault'>> {
  return new Promise((resolve) => {
    let callOff = () => {};
    // A program that cannot be started has no 'exit' event.
    child.once('error', (fault) => resolve({ ended: 'not started', fault }));
    child.once('exit', (code, signal) => {
      const how = signal ?? code ?? 0;
      // A server that the command started may hold its output open for ever: it is not waited for.
      callOff = clock.after(LAST_OUTPUT_MS, () => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve({ ended: how });
      });
    });
    child.once('close', (code, signal) => {
      callOff();
      resolve({ ended: signal ?? code ?? 0 });
    });
  });
}

function endGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It is gone already.
  }
}

class Output {
  bytes = 0;
  #kept: Buffer[] = [];

  take(chunk: Buffer): void {
    const room = KEPT_OUTPUT - Math.min(this.bytes, KEPT_OUTPUT);
    if (room > 0) this.#kept.push(chunk.subarray(0, room));
    this.bytes += chunk.length;
  }

  get text(): string {
    return Buffer.concat(this.#kept).toString('utf8').trimEnd();
  }
}
