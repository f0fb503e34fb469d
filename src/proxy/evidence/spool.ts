import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { InterlockError } from '../../access/index.ts';
import { type Report, ReportSchema } from '../../proto/proxy/index.ts';
import type { Drained } from './aggregator.ts';

/** The most that waits on disk for the control plane: the oldest goes first. Bytes. */
export const SPOOL_BYTES = 64 * 1024 * 1024;
/** Largest report in bytes: the control plane takes messages of 4 MiB. A larger one becomes several. */
const MAX_REPORT_BYTES = 3 * 1024 * 1024;
const FILE = /^(\d{1,16})-(\d{1,16})\.report$/;

export interface SpoolOptions {
  readonly dir: string;
  readonly now: () => number;
  readonly limit?: number;
  /** The disk does not take it: kept in memory, within the same limit. Told once until it works again. */
  readonly onFault: (error: unknown) => void;
}

interface Entry {
  readonly sequence: number;
  readonly calls: number;
  readonly size: number;
  /** Until it is on disk. */
  bytes: Uint8Array | undefined;
}

/**
 * Reports that the control plane has not taken yet, oldest first: on disk, so that they outlive this process and the
 * control plane's absence. Past the limit the oldest are dropped, and their calls counted as lost.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #limit: number;
  readonly #entries: Entry[];
  readonly #epoch = randomBytes(16);
  #bytes: number;
  #sequence: number;
  #lost = 0;
  #faulty = false;
  #writing: Promise<void> = Promise.resolve();

  private constructor(options: SpoolOptions, entries: Entry[]) {
    this.#options = options;
    this.#limit = options.limit ?? SPOOL_BYTES;
    this.#entries = entries;
    this.#bytes = entries.reduce((sum, { size }) => sum + size, 0);
    this.#sequence = entries.at(-1)?.sequence ?? 0;
    this.#fit();
  }

  /** Finds what an earlier process left. Throws `io` where the directory cannot be used. */
  static async open(options: SpoolOptions): Promise<Spool> {
    const { dir } = options;
    try {
      await mkdir(dir, { recursive: true, mode: 0o700 });
      const entries: Entry[] = [];
      for (const name of await readdir(dir)) {
        const match = FILE.exec(name);
        if (match === null) {
          // A draft of a process that ended while it wrote.
          if (name.endsWith('.new')) await rm(join(dir, name), { force: true });
          continue;
        }
        const { size } = await stat(join(dir, name));
        entries.push({ sequence: Number(match[1]), calls: Number(match[2]), size, bytes: undefined });
      }
      return new Spool(
        options,
        entries.sort((a, b) => a.sequence - b.sequence),
      );
    } catch (cause) {
      throw new InterlockError(
        'io',
        dir,
        `evidence cannot be kept in ${dir} (${reasonOf(cause)}): make a state directory that this program's user owns`,
        {
          cause,
        },
      );
    }
  }

  /** How many reports wait. */
  get size(): number {
    return this.#entries.length;
  }

  /** Calls that were dropped since this was last asked for. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  /** Adds a report, with the next number. */
  add({ report, calls }: Drained): void {
    const bytes = this.#numbered(report);
    const half = bytes.length > MAX_REPORT_BYTES ? halves(report) : undefined;
    if (half !== undefined) {
      const [first, second] = half;
      const later = callsOf(second);
      this.add({ report: first, calls: Math.max(0, calls - later) });
      this.add({ report: second, calls: later });
      return;
    }
    this.#sequence = Number(report.sequence);
    // What the report itself says is lost would be lost with it.
    const entry: Entry = {
      sequence: this.#sequence,
      calls: calls + Number(report.lost),
      size: bytes.length,
      bytes,
    };
    this.#entries.push(entry);
    this.#bytes += entry.size;
    this.#fit();
    this.#writing = this.#writing.then(() => this.#writeAll());
  }

  #numbered(report: Report): Uint8Array {
    // Grows over restarts too, so that one acknowledgement names one report.
    report.sequence = BigInt(Math.max(this.#sequence + 1, this.#options.now()));
    report.epoch = this.#epoch;
    return toBinary(ReportSchema, report);
  }

  /** The oldest reports after a number, at most `count`; what cannot be read any more is counted as lost. */
  async after(sequence: number, count: number): Promise<Report[]> {
    const reports: Report[] = [];
    for (const entry of this.#entries.filter((each) => each.sequence > sequence).slice(0, count)) {
      try {
        const report = fromBinary(ReportSchema, entry.bytes ?? (await readFile(this.#path(entry))));
        // After a power cut a file may be there without its content.
        if (report.sequence !== BigInt(entry.sequence))
          throw new InterlockError(
            'state',
            this.#path(entry),
            `${this.#path(entry)} is not the report it was`,
          );
        reports.push(report);
      } catch (error) {
        if (!this.#entries.includes(entry)) continue;
        this.#options.onFault(error);
        this.#lost += entry.calls;
        this.#remove(entry);
      }
    }
    return reports;
  }

  /** The control plane has kept a report. */
  taken(sequence: number): void {
    const entry = this.#entries.find((each) => each.sequence === sequence);
    if (entry !== undefined) this.#remove(entry);
  }

  /** The control plane will never keep a report: what it tells of is lost. Gives how many calls that are. */
  refused(sequence: number): number {
    const entry = this.#entries.find((each) => each.sequence === sequence);
    if (entry === undefined) return 0;
    this.#lost += entry.calls;
    this.#remove(entry);
    return entry.calls;
  }

  /** Resolves when all that was added is on disk. */
  settled(): Promise<void> {
    return this.#writing;
  }

  /** Also those that an earlier attempt could not write. */
  async #writeAll(): Promise<void> {
    for (const entry of this.#entries.filter(({ bytes }) => bytes !== undefined)) {
      if (!(await this.#write(entry))) return;
    }
  }

  async #write(entry: Entry): Promise<boolean> {
    if (entry.bytes === undefined || !this.#entries.includes(entry)) return true;
    const path = this.#path(entry);
    try {
      await writeFile(`${path}.new`, entry.bytes, { mode: 0o600 });
      await rename(`${path}.new`, path);
      entry.bytes = undefined;
      this.#faulty = false;
      if (!this.#entries.includes(entry)) await rm(path, { force: true });
      return true;
    } catch (error) {
      if (!this.#faulty) this.#options.onFault(error);
      this.#faulty = true;
      // What was written of it takes room that others need.
      await rm(`${path}.new`, { force: true }).catch(() => {});
      return false;
    }
  }

  #fit(): void {
    while (this.#bytes > this.#limit) {
      const [oldest] = this.#entries;
      if (oldest === undefined) return;
      this.#lost += oldest.calls;
      this.#remove(oldest);
    }
  }

  #remove(entry: Entry): void {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#bytes -= entry.size;
    const path = this.#path(entry);
    this.#writing = this.#writing.then(() => rm(path, { force: true })).catch(() => {});
  }

  #path({ sequence, calls }: Entry): string {
    return join(this.#options.dir, `${sequence}-${calls}.report`);
  }
}

function reasonOf(cause: unknown): string {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
  return code === 'EACCES' || code === 'EPERM' ? 'permission denied' : code;
}

/** A report in two, or undefined where there is one entry or none. */
function halves({ accesses, flips, plaintext, unreached, lost }: Report): [Report, Report] | undefined {
  if (accesses.length + flips.length + plaintext.length + unreached.length < 2) return undefined;
  const cut = (list: readonly unknown[]) => Math.ceil(list.length / 2);
  const first = {
    accesses: accesses.slice(0, cut(accesses)),
    flips: flips.slice(0, cut(flips)),
    plaintext: plaintext.slice(0, cut(plaintext)),
    unreached: unreached.slice(0, cut(unreached)),
    lost,
  };
  const second = {
    accesses: accesses.slice(first.accesses.length),
    flips: flips.slice(first.flips.length),
    plaintext: plaintext.slice(first.plaintext.length),
    unreached: unreached.slice(first.unreached.length),
  };
  // One of each: the second half would be empty for ever.
  const { length } = [...second.accesses, ...second.flips, ...second.plaintext, ...second.unreached];
  if (length === 0) return undefined;
  return [create(ReportSchema, first), create(ReportSchema, second)];
}

function callsOf({ accesses }: Report): number {
  return accesses.reduce(
    (sum, { ok, error, failed, denied }) => sum + Number(ok + error + failed + denied),
    0,
  );
}
