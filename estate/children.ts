import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, openSync, renameSync, type WriteStream } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { type Place, ROOT } from './place.ts';

/** What a process gets to end by itself. It does no harm to those that need longer: their state is thrown away. */
const GRACE_MS = 1500;
const LAST_LINES = 12;
/** Of each process twice as much is kept at most. */
const MAX_LOG_BYTES = 4 * 1024 * 1024;
const WITH_PARENT = pathToFileURL(join(ROOT, 'estate/with-parent.mjs')).href;

/** How a process is started. */
export interface Order {
  /** Its name, and that of its log. */
  readonly name: string;
  /** The name of its executable: by it the agent knows whose it is. */
  readonly binary: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** One process of the estate. */
export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  readonly lastLines: readonly string[];
  /** How it ended, in words; undefined while it runs. */
  readonly ended: string | undefined;
}

/** A process that ended though nobody told it to. */
export class Died extends Error {
  constructor({ name, ended, lastLines }: Child) {
    const last = lastLines.length === 0 ? 'It had said nothing.' : `Its last lines:\n${lastLines.join('\n')}`;
    super(`the process "${name}" has ended (${ended}). ${last}`);
    this.name = 'Died';
  }
}

/** All processes of the estate: the first that ends by itself ends everything. */
export class Children {
  readonly #place: Place;
  readonly #all: (Child & { ended: string | undefined })[] = [];
  readonly #died = Promise.withResolvers<never>();
  #isStopping = false;

  constructor(place: Place) {
    this.#place = place;
    // Whoever waits for something races with it; if nobody does, it is no fault of its own.
    this.#died.promise.catch(() => {});
  }

  /** Rejects with {@link Died} as soon as a process ends by itself. */
  get died(): Promise<never> {
    return this.#died.promise;
  }

  get count(): number {
    return this.#all.filter(({ ended }) => ended === undefined).length;
  }

  /** The last line of every process. */
  get lastWords(): readonly string[] {
    return this.#all.map(({ name, lastLines }) => `${name}: ${lastLines.at(-1) ?? '(nothing)'}`);
  }

  /** Starts a process in a session of its own: a key pressed in the terminal does not reach it. */
  start({ name, binary, args, env = {} }: Order, { mayEnd = false } = {}): Child {
    if (this.#isStopping) throw new Error(`the estate ends: ${name} is not started`);
    const log = join(this.#place.dir, 'logs', `${name}.log`);
    const child = spawn(this.#place.binary(binary), ['--import', WITH_PARENT, ...args], {
      cwd: this.#place.dir,
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      env: { ...ownEnvironment(), ...env },
    });
    const file = new LogFile(log);
    const lastLines: string[] = [];
    const one = { name, process: child, lastLines, ended: undefined as string | undefined };
    for (const stream of [child.stdout, child.stderr]) {
      // Both are pipes.
      if (stream === null) continue;
      createInterface(stream).on('line', (line) => {
        file.take(line);
        lastLines.push(line);
        if (lastLines.length > LAST_LINES) lastLines.shift();
      });
    }
    const over = (how: string) => {
      if (one.ended !== undefined) return;
      one.ended = how;
      file.end();
      if (!this.#isStopping && !mayEnd) this.#died.reject(new Died(one));
    };
    child.on('error', (error) => over(`it could not be started: ${error.message}`));
    child.on('close', (code, signal) => over(signal ?? `exit code ${code}`));
    this.#all.push(one);
    return one;
  }

  /** Resolves once the process says that it serves. Rejects with {@link Died} where any of them ends before. */
  async ready(child: Child): Promise<void> {
    await this.says(child, 'ready');
  }

  /** The next message of a process that has this field. */
  says<T extends object>(child: Child, field: keyof T & string): Promise<T> {
    const { promise, resolve } = Promise.withResolvers<T>();
    const take = (message: unknown) => {
      if (typeof message !== 'object' || message === null || !(field in message)) return;
      child.process.off('message', take);
      // What the programs of the estate send under this name.
      resolve(message as T);
    };
    child.process.on('message', take);
    return Promise.race([promise, this.died]);
  }

  /** Resolves with how a process ended that may end. */
  async end(child: Child): Promise<string> {
    while (child.ended === undefined) await pause(10);
    return child.ended;
  }

  /** Ends all of them: those that do not within their grace, at once. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const running = this.#all.filter(({ ended }) => ended === undefined);
    for (const { process: child } of running) child.kill('SIGTERM');
    const until = Date.now() + GRACE_MS;
    while (Date.now() < until && running.some(({ ended }) => ended === undefined)) await pause(20);
    for (const { process: child, ended } of running) if (ended === undefined) child.kill('SIGKILL');
    while (running.some(({ ended }) => ended === undefined)) await pause(10);
  }
}

/** A log that may be written for days: what is older than the last few megabytes is dropped. */
class LogFile {
  readonly #path: string;
  #stream: WriteStream;
  #bytes = 0;

  constructor(path: string) {
    this.#path = path;
    this.#stream = this.#open();
  }

  take(line: string): void {
    this.#bytes += line.length + 1;
    if (this.#bytes > MAX_LOG_BYTES) {
      this.end();
      renameSync(this.#path, `${this.#path}.old`);
      this.#stream = this.#open();
      this.#bytes = 0;
    }
    this.#stream.write(`${line}\n`);
  }

  end(): void {
    this.#stream.end();
  }

  #open(): WriteStream {
    // At once, so that the file is there to be renamed.
    const fd = openSync(this.#path, 'a', 0o600);
    // A full disk ends no process of the estate: its last lines are kept in memory too.
    return createWriteStream(this.#path, { fd }).on('error', () => {});
  }
}

/** The environment without what would lead a process to something of the user's own. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(NODE_OPTIONS|NODE_CHANNEL.*|VITEST.*|SPIFFE_.*|INTERLOCK_.*|OTEL_.*)$/.test(name),
  );
  return { ...Object.fromEntries(kept), NODE_NO_WARNINGS: '1' };
}
