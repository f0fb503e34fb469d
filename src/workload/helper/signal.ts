import { readFile, stat } from 'node:fs/promises';
import { InterlockError } from '../../access/index.ts';

/** Longest pid file that is read, in bytes. */
const MAX_PID_FILE = 64;

/** The process that a pid file names. Throws `not_found` or `invalid_document`. */
export async function readPidFile(file: string): Promise<number> {
  let text: string;
  try {
    const { size } = await stat(file);
    if (size > MAX_PID_FILE) throw new RangeError('too long');
    text = (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    if (cause instanceof RangeError) throw bad(file);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InterlockError('not_found', file, `the pid file "${file}" cannot be read: ${why}`, { cause });
  }
  const pid = Number(text);
  // 1 is the init process; 0 and negative numbers are whole groups (kill(2)).
  if (!/^\d{1,10}$/.test(text) || pid < 2) throw bad(file);
  return pid;
}

/** Signals a process. Throws `not_found` where there is none, `forbidden` where the system refuses. */
export function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (cause) {
    const gone = cause instanceof Error && 'code' in cause && cause.code === 'ESRCH';
    throw new InterlockError(
      gone ? 'not_found' : 'forbidden',
      String(pid),
      gone ? `there is no process ${pid} to signal` : `not allowed to signal process ${pid}`,
      { cause },
    );
  }
}

function bad(file: string): InterlockError {
  return new InterlockError(
    'invalid_document',
    file,
    `the pid file "${file}" holds no process number above 1`,
  );
}
