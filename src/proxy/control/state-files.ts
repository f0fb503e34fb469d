import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';

const MAX_BYTES = 64 * 1024 * 1024;

/** The files that a proxy starts from when nobody answers. */
export interface StateFiles {
  /** The text of a file, or undefined where there is none. Throws `io`, `limit`. */
  read(name: string): string | undefined;
  /** Replaces a file whole. Throws `io`; the file is then as it was. */
  write(name: string, text: string): void;
}

/**
 * The files in a directory of the proxy's own. Throws `state` for one that others can change: whoever can write there
 * decides what is enforced. `io` where it cannot be made.
 */
export function stateFiles(dir: string): StateFiles {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw new InterlockError('io', dir, `the directory ${dir} cannot be made`, { cause });
  }
  const { mode, uid } = statSync(dir);
  if (uid !== process.geteuid?.() || (mode & 0o022) !== 0) {
    throw new InterlockError(
      'state',
      dir,
      `others may change files in ${dir}: make it yours alone (chmod 700 ${dir})`,
    );
  }
  return {
    read(name) {
      const path = join(dir, name);
      try {
        if (statSync(path).size > MAX_BYTES) throw new InterlockError('limit', path, `${path} is too large`);
        return readFileSync(path, 'utf8');
      } catch (cause) {
        if (cause instanceof InterlockError) throw cause;
        if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
        throw new InterlockError('io', path, `${path} cannot be read`, { cause });
      }
    },
    write(name, text) {
      const path = join(dir, name);
      const draft = `${path}.${process.pid}.new`;
      try {
        writeFileSync(draft, text, { mode: 0o600 });
        renameSync(draft, path);
      } catch (cause) {
        rmSync(draft, { force: true });
        throw new InterlockError('io', path, `${path} cannot be written`, { cause });
      }
    },
  };
}
