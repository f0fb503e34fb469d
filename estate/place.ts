import { constants, copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout, and where its estates have their directories. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RUNS = fileURLToPath(new URL('.run', import.meta.url));

/** The longest path of a socket is 107 bytes (`sun_path`); the longest one below the directory is this. */
const LONGEST_SOCKET = 107 - '/proxies/recommendation/proxy.sock'.length;

/** The directory of one estate, and the executables in it. */
export interface Place {
  readonly dir: string;
  /** The path of the Node binary under a name of its own. */
  binary(name: string): string;
}

/**
 * Makes the directory of one estate, in the checkout or else in the directory for temporary files: nothing of the
 * user's own state is touched. Throws what the file system says where neither can be written.
 */
export function makePlace(): Place {
  const dir = makeDirectory();
  const bin = join(dir, 'bin');
  for (const name of ['bin', 'logs', 'proxies', 'identities']) mkdirSync(join(dir, name), { mode: 0o700 });
  // The first one may have to be copied; the others are links to it then.
  let first = process.execPath;
  const binary = (name: string) => {
    const path = join(bin, name);
    try {
      linkSync(first, path);
    } catch (error) {
      if (isThere(error)) return path;
      // Another file system, one without hard links, or a file that is not ours to link.
      copyFileSync(first, path, constants.COPYFILE_FICLONE);
      first = path;
    }
    return path;
  };
  return { dir, binary };
}

const isThere = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'EEXIST';

function makeDirectory(): string {
  if (Buffer.byteLength(join(RUNS, '1234567-XXXXXX')) <= LONGEST_SOCKET) {
    try {
      mkdirSync(RUNS, { recursive: true, mode: 0o700 });
      return mkdtempSync(`${RUNS}/${process.pid}-`);
    } catch {
      // A checkout that this user may not write.
    }
  }
  const temporary = mkdtempSync(join(tmpdir(), 'estate-'));
  if (Buffer.byteLength(temporary) <= LONGEST_SOCKET) return temporary;
  rmSync(temporary, { recursive: true });
  return mkdtempSync('/tmp/estate-');
}
