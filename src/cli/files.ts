import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { basename, dirname, isAbsolute, join } from 'node:path';
import { InterlockError } from '../access/index.ts';

/** Largest policy file that is read, in bytes. */
const MAX_POLICY_FILE = 4 * 1024 * 1024;

/** The policy files of a directory (its `*.yaml` and `*.yml`, not below it), or the one file. Throws `not_found`, `io`. */
export function policyFiles(path: string): string[] {
  try {
    if (statSync(path).isFile()) return [path];
    return readdirSync(path)
      .filter((name) => /\.ya?ml$/.test(name) && !isDoubtsFile(name))
      .toSorted()
      .map((name) => join(path, name));
  } catch (cause) {
    throw ioError(path, cause);
  }
}

/** Where `propose --out` puts what it did not make into rules. It is no policy and is not read as one. */
export const DOUBTS_FILE = 'doubts.yaml';

/** Ending of the doubts of a proposal for one workload. No policy's file ends so, whatever its names are. */
export const DOUBTS_ENDING = '.doubts';

/** True for a file of doubts. */
export function isDoubtsFile(name: string): boolean {
  return name === DOUBTS_FILE || name.endsWith(DOUBTS_ENDING);
}

/** Policy files of a directory that are not among `written`: left from before, and read as if they were current. */
export function leftFrom(dir: string, written: ReadonlyMap<string, string>): string[] {
  return policyFiles(dir)
    .map((path) => basename(path))
    .filter((name) => !written.has(name));
}

/** The text of a small file. Throws `not_found`, `io` or `limit`. */
export function readText(file: string): string {
  try {
    if (statSync(file).size > MAX_POLICY_FILE) {
      throw new InterlockError('limit', file, `${file} is larger than 4 MiB: split it`);
    }
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw cause instanceof InterlockError ? cause : ioError(file, cause);
  }
}

/** Longest part of a file's name that is kept as it is; file systems take 255 bytes for all of it. */
const KEPT_OF_A_PART = 80;

/**
 * Files to be written, named after things whose names come from outside. No name leads out of a directory or is
 * hidden there, and no two are the same on any file system: what is changed or was given before gets a hash.
 */
export class OutFiles {
  readonly files = new Map<string, string>();
  readonly #taken = new Set<string>();

  /** Adds a file named `NAMESPACE.NAME` and the ending, and gives the name that it got. */
  add(namespace: string, name: string, ending: string, text: string): string {
    const plain = `${partOf(namespace).replaceAll('.', '-')}.${partOf(name)}`;
    let stem = plain === `${namespace}.${name}` ? plain : hashed(plain, namespace, name);
    // File systems may not tell upper and lower case apart.
    while (this.#taken.has(`${stem}${ending}`.toLowerCase())) stem = hashed(plain, stem, namespace, name);
    const file = `${stem}${ending}`;
    this.#taken.add(file.toLowerCase());
    this.files.set(file, text);
    return file;
  }
}

function partOf(name: string): string {
  const part = name.replaceAll(/[^A-Za-z0-9._-]+/g, '-').slice(0, KEPT_OF_A_PART);
  return part.replace(/^([.-]|$)/, '_');
}

function hashed(plain: string, ...unique: string[]): string {
  return `${plain}-${createHash('sha256').update(JSON.stringify(unique)).digest('hex').slice(0, 8)}`;
}

/** Writes each file whole or not at all; none outside of `dir`. Throws `io`. */
export function writeFiles(dir: string, files: ReadonlyMap<string, string>): void {
  for (const name of files.keys()) {
    const leadsOut = isAbsolute(name) || name.split(/[/\\]/).some((part) => part === '..' || part === '');
    if (leadsOut || /\p{C}/u.test(name)) {
      throw new InterlockError('io', name, `"${name}" is no file below "${dir}": nothing was written`);
    }
  }
  try {
    for (const [name, text] of files) {
      const target = join(dir, name);
      mkdirSync(dirname(target), { recursive: true });
      const draft = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
      writeFileSync(draft, text);
      renameSync(draft, target);
    }
  } catch (cause) {
    throw ioError(dir, cause);
  }
}

/** A file system error as a person reads it. */
export function ioError(path: string, cause: unknown): InterlockError {
  const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
  if (code === 'ENOENT') {
    return new InterlockError('not_found', path, `there is no file or directory "${path}"`, { cause });
  }
  const why: Record<string, string> = {
    EACCES: 'permission denied',
    EPERM: 'permission denied',
    ENOSPC: 'the disk is full',
    EISDIR: 'it is a directory',
    ENOTDIR: 'a part of the path is not a directory',
    EROFS: 'the file system is read-only',
  };
  return new InterlockError('io', path, `"${path}" could not be used: ${why[code] ?? code}`, { cause });
}
