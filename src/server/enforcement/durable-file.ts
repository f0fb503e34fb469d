import {
  closeSync,
  constants,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { InterlockError } from '../../access/index.ts';

/** A file of ours is never as large. */
const MAX_BYTES = 16 * 1024 * 1024;

/** One small file that is replaced whole, survives a power cut, and is for its owner alone. */
export class DurableFile {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Its text, or undefined where there is none. Throws `io`, `limit`. */
  read(): string | undefined {
    try {
      if (statSync(this.path).size > MAX_BYTES)
        throw new InterlockError('limit', this.path, `${this.path} is larger than ${MAX_BYTES} bytes`);
      return readFileSync(this.path, 'utf8');
    } catch (cause) {
      if (cause instanceof InterlockError) throw cause;
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
      throw new InterlockError('io', this.path, `${this.path} cannot be read`, { cause });
    }
  }

  /** Replaces it. Throws `io`; it is then as it was. */
  write(text: string): void {
    const draft = `${this.path}.${process.pid}.new`;
    try {
      const file = openSync(draft, 'w', 0o600);
      try {
        writeSync(file, text);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(draft, this.path);
      syncDirectory(dirname(this.path));
    } catch (cause) {
      rmSync(draft, { force: true });
      throw new InterlockError('io', this.path, `${this.path} cannot be written`, { cause });
    }
  }
}

/** Makes a rename survive a power cut. */
function syncDirectory(path: string): void {
  const dir = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
}
