// What the benchmarks of identity share.
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory of its own, removed by {@link Scratch.remove}. */
export interface Scratch {
  readonly dir: string;
  remove(): void;
}

/** Makes a directory below `where`. */
export function scratch(where: string = tmpdir()): Scratch {
  const dir = mkdtempSync(join(where, 'interlock-bench-'));
  return { dir, remove: () => rmSync(dir, { recursive: true, force: true }) };
}

/** Ends a process that was started here, and waits for its end. */
export async function ended(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once('exit', () => resolve());
  child.kill(signal);
  await promise;
}

/** Milliseconds of the monotonic clock that all processes of a machine share. */
export function sharedClock(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** Of sorted values, or of any: the smallest that `share` of them do not exceed. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** Milliseconds in one line: half of them, nine tenths, all but a hundredth, the most. */
export function percentiles(values: readonly number[]): string {
  const at = (share: number) => `${Math.round(percentile(values, share))} ms`;
  return `p50 ${at(0.5)}  p90 ${at(0.9)}  p99 ${at(0.99)}  most ${at(1)}`;
}

/** How long the processor has worked for a process: milliseconds, in tens; utime and stime of /proc/PID/stat, which Linux counts in hundredths of a second (proc_pid_stat(5)). */
export function processorTime(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The name, in brackets, may hold anything; state is the first field behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Memory of a process, now or at most so far: megabytes of 1,000,000 bytes; /proc/PID/status has units of 1,024. */
export function megabytes(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kb = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1];
  return (Number(kb) * 1024) / 1e6;
}
