import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';

/** Nobody but the owner may read or change what is in the directory, or look into it. */
const OTHERS = 0o077;
/** A file of ours is never as large; one that is was not written by us. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/**
 * A directory for private files: 0700, its files 0600, each written whole or not at all (a new file is renamed over
 * the old one). Throws `io` naming the directory where others can look into it.
 */
export class PrivateFiles {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
    try {
      mkdirSync(dir, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw new InterlockError('io', dir, `the directory ${dir} cannot be made`, { cause: error });
    }
    const { mode, uid } = statSync(dir);
    // Its owner may look into it whatever its mode says, and put files there.
    if (uid !== process.geteuid?.()) {
      throw new InterlockError(
        'io',
        dir,
        `private keys are kept in ${dir}, which belongs to user ${uid}: give a directory of this program's own`,
      );
    }
    if ((mode & OTHERS) !== 0) {
      const now = (mode & 0o777).toString(8);
      throw new InterlockError(
        'io',
        dir,
        `private keys are kept in ${dir}, and others may look into it (mode ${now}): run "chmod 700 ${dir}"`,
      );
    }
  }

  /** The text of a file, or undefined where there is none. */
  read(name: string): string | undefined {
    const path = join(this.dir, name);
    try {
      if (statSync(path).size > MAX_FILE_BYTES)
        throw new InterlockError('limit', path, `${path} is too large`);
      return readFileSync(path, 'utf8');
    } catch (error) {
      if (isMissing(error)) return undefined;
      if (error instanceof InterlockError) throw error;
      throw new InterlockError('io', path, `${path} cannot be read`, { cause: error });
    }
  }

  /** Replaces a file. Throws `io`; the file is then as it was. */
  write(name: string, text: string): void {
    const path = join(this.dir, name);
    const draft = `${path}.${process.pid}.new`;
    try {
      writeFileSync(draft, text, { mode: 0o600 });
      renameSync(draft, path);
    } catch (error) {
      rmSync(draft, { force: true });
      throw new InterlockError('io', path, `${path} cannot be written`, { cause: error });
    }
  }

  /** Removes a file, if it is there. */
  remove(name: string): void {
    rmSync(join(this.dir, name), { force: true });
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
