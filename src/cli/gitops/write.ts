import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, sep } from 'node:path';
import { InterlockError } from '../../access/index.ts';
import { ioError } from '../files.ts';
import { readBelow } from './tree.ts';

const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;

/**
 * Writes a file below a directory, whole or not at all. `before` is what it held when it was read: undefined for a file
 * that must not be there. Throws `conflict` where that is not so any more, `io` for what leads out of the directory.
 */
export function writeBelow(root: string, path: string, text: string, before: string | undefined): void {
  const file = join(root, path);
  try {
    checkInside(root, file);
    if (before !== undefined && readBelow(root, path) !== before)
      throw new InterlockError('conflict', path, `${path} was changed meanwhile: look again`);
    const draft = join(dirname(file), `.${basename(file)}-${randomBytes(6).toString('hex')}.tmp`);
    writeDraft(draft, text);
    try {
      if (before === undefined) linkSync(draft, file);
      else {
        chmodSync(draft, lstatSync(file).mode & 0o777);
        renameSync(draft, file);
      }
    } finally {
      rmSync(draft, { force: true });
    }
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    if (cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')
      throw new InterlockError('conflict', path, `${path} is there already`, { cause });
    throw ioError(file, cause);
  }
}

function writeDraft(draft: string, text: string): void {
  const handle = openSync(draft, CREATE, 0o666);
  try {
    writeFileSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A directory may have become a link since it was read. */
function checkInside(root: string, file: string): void {
  const parent = dirname(file);
  const real = realpathSync(parent);
  if (real === root || real.startsWith(root + sep)) return;
  throw new InterlockError('io', file, `"${file}" is not below "${root}": nothing was written`);
}
