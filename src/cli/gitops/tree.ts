import {
  closeSync,
  constants,
  type Dirent,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
} from 'node:fs';
import { join } from 'node:path';
import { InterlockError, isInterlockError } from '../../access/index.ts';
import { ioError } from '../files.ts';
import { plural } from '../words.ts';

/** Largest file, and all of them together, in bytes; most files, and the deepest directory. */
const MAX_FILE = 4 * 1024 * 1024;
const MAX_ALL = 64 * 1024 * 1024;
const MAX_FILES = 20_000;
export const MAX_ENTRIES = 200_000;
export const MAX_DEPTH = 16;

/** Never waits for the other end of a FIFO, and never follows a link. */
export const READ: number = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** Bytes that are no UTF-8 are refused; a mark of order is kept, so that a text is written as it was. */
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** One file below a directory; its path is from there, with "/". */
export interface TreeFile {
  readonly path: string;
  readonly text: string;
}

/** What could hold documents and is not read, and why: whoever removes what is not in a directory has to know. */
export interface LeftOut {
  readonly path: string;
  readonly why: string;
}

/** The text files of a directory whose names fit, by their paths. */
export interface Tree {
  /** Where it really is: what is written must lie below it. */
  readonly root: string;
  readonly files: readonly TreeFile[];
  /** Files of which the name alone is asked. */
  readonly named: readonly string[];
  readonly leftOut: readonly LeftOut[];
}

/**
 * Reads the files below a directory whose names fit. Hidden names and `node_modules` are passed over; links, FIFOs and
 * the like are left out and said. Throws `not_found`, `io`, and `limit` for what is too large: half a directory read is a
 * wish to remove the other half.
 */
export function readTree(
  dir: string,
  fits: (name: string) => boolean,
  isNamed: (name: string) => boolean = () => false,
): Tree {
  const root = realRoot(dir);
  const files: TreeFile[] = [];
  const leftOut: LeftOut[] = [];
  const named: string[] = [];
  const seen = { entries: 0, bytes: 0 };
  const visit = (below: string, depth: number) => {
    if (depth > MAX_DEPTH) throw beyond(dir, `is deeper than ${MAX_DEPTH} directories at ${below}`);
    for (const entry of entriesOf(join(root, below))) {
      const path = below === '' ? entry.name : `${below}/${entry.name}`;
      if (++seen.entries > MAX_ENTRIES) throw beyond(dir, `has more than ${plural(MAX_ENTRIES, 'name')}`);
      if (isPassedOver(entry.name)) continue;
      if (entry.isDirectory()) visit(path, depth + 1);
      else if (!entry.isFile()) leftOut.push(...notRead(path, entry, fits));
      else if (fits(entry.name)) {
        const text = readBelow(root, path);
        seen.bytes += text.length;
        if (files.push({ path, text }) > MAX_FILES || seen.bytes > MAX_ALL)
          throw beyond(dir, `has more than ${plural(MAX_FILES, 'file')} or 64 MiB`);
      } else if (isNamed(entry.name)) named.push(path);
    }
  };
  visit('', 0);
  return { root, files, named, leftOut };
}

/** Whether a name is one under which nobody keeps documents. */
export const isPassedOver = (name: string): boolean => name.startsWith('.') || name === 'node_modules';

/** The text of one regular file of at most 4 MiB below a directory that is real. Throws `limit`, `io`, `not_found`. */
export function readBelow(root: string, path: string, most: number = MAX_FILE): string {
  const file = join(root, path);
  let handle: number;
  try {
    handle = openSync(file, READ);
  } catch (cause) {
    throw ioError(file, cause);
  }
  try {
    const stat = fstatSync(handle);
    if (!stat.isFile()) throw new InterlockError('io', file, `"${file}" is no regular file`);
    if (stat.size > most) throw tooLarge(path, most);
    // One byte more than it may have: a file can grow while it is read.
    const bytes = Buffer.alloc(Math.min(most, stat.size) + 1);
    let size = 0;
    for (let n = -1; n !== 0 && size < bytes.length; size += n)
      n = readSync(handle, bytes, size, bytes.length - size, null);
    if (size > most) throw tooLarge(path, most);
    return UTF8.decode(bytes.subarray(0, size));
  } catch (cause) {
    if (cause instanceof TypeError)
      throw new InterlockError('invalid_document', path, `${path} is not UTF-8`, { cause });
    throw cause instanceof InterlockError ? cause : ioError(file, cause);
  } finally {
    closeSync(handle);
  }
}

/** The same; undefined for what is not there, too large, or made to trap. */
export function tryReadBelow(root: string, path: string, most: number): string | undefined {
  try {
    return readBelow(root, path, most);
  } catch (error) {
    if (isInterlockError(error)) return undefined;
    throw error;
  }
}

function tooLarge(path: string, most: number): InterlockError {
  return new InterlockError('limit', path, `${path} is larger than ${most / 1024 / 1024} MiB: split it`);
}

function realRoot(dir: string): string {
  try {
    const root = realpathSync(dir);
    if (lstatSync(root).isDirectory()) return root;
  } catch (cause) {
    throw ioError(dir, cause);
  }
  throw new InterlockError('usage', dir, `"${dir}" is a file: name the directory`);
}

function entriesOf(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true }).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw ioError(dir, cause);
  }
}

/** A link without an ending may be a directory; one with an ending that does not fit is none of ours. */
function notRead(path: string, entry: Dirent, fits: (name: string) => boolean): LeftOut[] {
  if (entry.isSymbolicLink())
    return fits(entry.name) || !entry.name.includes('.')
      ? [{ path, why: 'a symbolic link, which is not followed' }]
      : [];
  return fits(entry.name) ? [{ path, why: 'no regular file' }] : [];
}

function beyond(dir: string, what: string): InterlockError {
  return new InterlockError('limit', dir, `"${dir}" ${what}: name the directory of the documents`);
}
