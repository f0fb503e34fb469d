import { randomBytes } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import {
  lstat,
  mkdir,
  open,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  unlink,
  type FileHandle,
} from 'node:fs/promises';
import { join } from 'node:path';
import { InterlockError } from '../../access/index.ts';

/** One file of a set. */
export interface SetFile {
  /** A plain name: no folders, not hidden. */
  readonly name: string;
  readonly data: string | Uint8Array;
  readonly mode: number;
}

/** Whose the files become; numbers as the system has them. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** What readers open: a link to the folder of the set that counts. Kubernetes names it so in its volumes. */
const CURRENT = '..data';
const SET = /^\.\.set-[0-9a-f]{16}$/;
const LEFTOVER = /^\.\.link-[0-9a-f]{16}$/;
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,199}$/;
const FOLDER_MODE = 0o755;
/** A file of ours that was written before sets were, at most so long, is taken over. */
const MAX_ADOPTED = 1024 * 1024;

/**
 * Files that change together, in one directory. Each set is a folder of its own; `NAME` is a link to `..data/NAME`, and
 * `..data` a link to the newest folder. One rename of that link is the change, so at no moment, and after no crash,
 * does the directory hold a certificate of one set and a key of another, as it could with a rename for each file. The
 * set before stays until the next change: a reader that resolved `..data` once reads a whole set from it. Only a reader
 * that opens two names one after the other can fall on both sides of the change; one file that holds both cannot.
 * One writer at a time: two helpers in one directory are not supported.
 */
export class FileSet {
  readonly dir: string;
  readonly #owner: Owner | undefined;

  constructor(dir: string, owner?: Owner) {
    this.dir = dir;
    this.#owner = owner;
  }

  /** Makes `files` the set that counts, on disk before this resolves. Throws `io`; the set before then stays whole. */
  async write(files: readonly SetFile[]): Promise<void> {
    checkNames(files);
    await this.#try('make', () => mkdir(this.dir, { recursive: true, mode: FOLDER_MODE }));
    await this.#adopt(files);
    const folder = `..set-${randomBytes(8).toString('hex')}`;
    const before = await this.#current();
    await this.#try('write', async () => {
      try {
        await this.#writeFolder(folder, files);
        await this.#point(CURRENT, folder);
      } catch (error) {
        await rm(join(this.dir, folder), { recursive: true, force: true });
        throw error;
      }
    });
    await this.#try('link', async () => {
      for (const { name } of files) await this.#link(name);
      await syncFolder(this.dir);
    });
    await this.#tidy(files, new Set([folder, before ?? folder]));
  }

  async #writeFolder(folder: string, files: readonly SetFile[]): Promise<void> {
    const path = join(this.dir, folder);
    await mkdir(path, { mode: 0o700 });
    for (const file of files) await this.#writeFile(path, file);
    await withHandle(path, constants.O_RDONLY | constants.O_DIRECTORY, async (handle) => {
      // The folder stays the helper's own: only its files are given away.
      await handle.chmod(FOLDER_MODE);
      await handle.sync();
    });
  }

  async #writeFile(folder: string, { name, data, mode }: SetFile): Promise<void> {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
    await withHandle(join(folder, name), flags, async (handle) => {
      await handle.writeFile(data);
      if (this.#owner !== undefined) await handle.chown(this.#owner.uid, this.#owner.gid);
      // Last, and by handle: a new file is 0600 until here, and the process's umask plays no part.
      await handle.chmod(mode);
      await handle.sync();
    });
  }

  /** The folder that counts now. */
  async #current(): Promise<string | undefined> {
    const target = await linkTarget(join(this.dir, CURRENT));
    return target !== undefined && SET.test(target) ? target : undefined;
  }

  /** Lets `name` be a link to `target`, in one step. */
  async #point(name: string, target: string): Promise<void> {
    const beside = join(this.dir, `..link-${randomBytes(8).toString('hex')}`);
    await symlink(target, beside);
    try {
      await rename(beside, join(this.dir, name));
    } catch (error) {
      await unlink(beside);
      throw error;
    }
    await syncFolder(this.dir);
  }

  async #link(name: string): Promise<void> {
    const target = `${CURRENT}/${name}`;
    if ((await linkTarget(join(this.dir, name))) !== target) await this.#point(name, target);
  }

  /**
   * Plain files under our names, left by another tool, become the first set: replaced one by one by links to the same
   * content, and only then changed together.
   */
  async #adopt(files: readonly SetFile[]): Promise<void> {
    await this.#try('take over files in', async () => {
      const found: SetFile[] = [];
      let plain = 0;
      for (const { name, mode } of files) {
        const data = await readPlain(join(this.dir, name));
        if (data !== undefined) plain += 1;
        const held = data ?? (await readPlain(join(this.dir, CURRENT, name)));
        if (held !== undefined) found.push({ name, mode, data: held });
      }
      if (plain === 0) return;
      const folder = `..set-${randomBytes(8).toString('hex')}`;
      try {
        await this.#writeFolder(folder, found);
        await this.#point(CURRENT, folder);
      } catch (error) {
        await rm(join(this.dir, folder), { recursive: true, force: true });
        throw error;
      }
      for (const { name } of found) await this.#link(name);
    });
  }

  /** Removes folders that no reader can need any more, links half made, and links of names that are no more in the set. */
  async #tidy(files: readonly SetFile[], keep: ReadonlySet<string>): Promise<void> {
    const names = new Set(files.map(({ name }) => name));
    for (const entry of await this.#entries()) {
      const path = join(this.dir, entry.name);
      if (SET.test(entry.name) && !keep.has(entry.name)) await rm(path, { recursive: true, force: true });
      else if (LEFTOVER.test(entry.name)) await rm(path, { force: true });
      else if (!names.has(entry.name) && (await linkTarget(path)) === `${CURRENT}/${entry.name}`) {
        await rm(path, { force: true });
      }
    }
  }

  async #entries(): Promise<Dirent[]> {
    return await this.#try('list', () => readdir(this.dir, { withFileTypes: true }));
  }

  async #try<T>(verb: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (cause) {
      if (cause instanceof InterlockError) throw cause;
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new InterlockError(
        'io',
        this.dir,
        `cannot ${verb} "${this.dir}": ${why}. The set that was there is whole`,
        { cause },
      );
    }
  }
}

function checkNames(files: readonly SetFile[]): void {
  const seen = new Set<string>();
  for (const { name } of files) {
    if (!NAME.test(name) || seen.has(name)) {
      const why = seen.has(name)
        ? 'is given twice'
        : 'is no plain file name (letters, digits, ".", "_", "-")';
      throw new InterlockError('usage', name, `the file name "${name}" ${why}: choose another`);
    }
    seen.add(name);
  }
}

async function withHandle(
  path: string,
  flags: number,
  run: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  const handle = await open(path, flags, 0o600);
  try {
    await run(handle);
  } finally {
    await handle.close();
  }
}

/** A rename is on disk only when its folder is. */
async function syncFolder(path: string): Promise<void> {
  await withHandle(path, constants.O_RDONLY | constants.O_DIRECTORY, (handle) => handle.sync());
}

async function linkTarget(path: string): Promise<string | undefined> {
  try {
    return await readlink(path);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EINVAL')) return undefined;
    throw error;
  }
}

/** The content of a plain file of moderate size; undefined for what is none. No link is followed in its last part. */
async function readPlain(path: string): Promise<Buffer | undefined> {
  try {
    const stats = await lstat(path);
    if (!stats.isFile() || stats.size > MAX_ADOPTED) return undefined;
    const handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP', 'ENOTDIR')) return undefined;
    throw error;
  }
}

function isErrno(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
