import { type FSWatcher, lstatSync, realpathSync, watch } from 'node:fs';
import { basename, dirname, join, parse, resolve, sep } from 'node:path';
import { checkoutAround } from './git.ts';

/** Events come in crowds: a checkout writes many files. Milliseconds. */
const QUIET_MS = 200;
const MOST_QUIET_MS = 2000;

/**
 * Tells that something has changed in a directory, in what is checked out there, or in what its path leads to. Only a hint:
 * where the system tells nothing (a network file system, no watches left) whoever listens has to look by itself.
 */
export class Changes {
  readonly #dir: string;
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #lost: (path: string, why: string) => void;
  #wake = () => {};
  #isChanged = false;
  #first = 0;
  #timer: NodeJS.Timeout | undefined;

  /** `lost` is told of a path that cannot be watched. */
  constructor(dir: string, lost: (path: string, why: string) => void) {
    this.#dir = resolve(dir);
    this.#lost = lost;
  }

  /** Watches what is there now: to be called again after each look, since a directory may have been replaced. */
  arm(): void {
    const wanted = new Map<string, { readonly path: string; readonly only?: string; readonly deep?: true }>();
    for (const link of linksOn(this.#dir)) {
      const parent = dirname(link);
      wanted.set(`name ${link} ${inodeOf(parent)}`, { path: parent, only: basename(link) });
    }
    try {
      const root = realpathSync(this.#dir);
      wanted.set(`dir ${root} ${inodeOf(root)}`, { path: root, deep: true });
      const git = checkoutAround(root)?.git;
      if (git !== undefined && !git.startsWith(root + sep))
        wanted.set(`git ${git} ${inodeOf(git)}`, { path: git });
    } catch {
      // It is not there now: the names that lead to it are watched.
    }
    for (const [key, watcher] of this.#watchers) if (!wanted.has(key)) this.#drop(key, watcher);
    for (const [key, { path, only, deep }] of wanted)
      if (!this.#watchers.has(key)) this.#watch(key, path, only, deep === true);
  }

  /** Resolves at the next change, after `ms`, or when `signal` is aborted. */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#isChanged || signal.aborted) {
      this.#isChanged = false;
      return;
    }
    const woken = Promise.withResolvers<void>();
    const timer = setTimeout(woken.resolve, ms);
    this.#wake = woken.resolve;
    signal.addEventListener('abort', this.#wake, { once: true });
    await woken.promise;
    signal.removeEventListener('abort', this.#wake);
    clearTimeout(timer);
    this.#isChanged = false;
    this.#wake = () => {};
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const [key, watcher] of this.#watchers) this.#drop(key, watcher);
  }

  #watch(key: string, path: string, only: string | undefined, recursive: boolean): void {
    try {
      const watcher = watch(path, { recursive, persistent: false }, (_, name) => {
        if (only === undefined || name === null || name === only) this.#heard();
      });
      watcher.on('error', (error) => this.#fail(key, path, error));
      this.#watchers.set(key, watcher);
    } catch (error) {
      this.#fail(key, path, error);
    }
  }

  #fail(key: string, path: string, error: unknown): void {
    const watcher = this.#watchers.get(key);
    if (watcher !== undefined) this.#drop(key, watcher);
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    // What is gone is told of by what it was in.
    if (code !== 'ENOENT' && code !== 'EPERM') this.#lost(path, code);
    this.#heard();
  }

  #drop(key: string, watcher: FSWatcher): void {
    this.#watchers.delete(key);
    watcher.close();
  }

  #heard(): void {
    const now = performance.now();
    if (this.#timer === undefined) this.#first = now;
    clearTimeout(this.#timer);
    const quiet = Math.min(QUIET_MS, Math.max(0, this.#first + MOST_QUIET_MS - now));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#isChanged = true;
      this.#wake();
    }, quiet).unref();
  }
}

/** The path itself, and each link on the way to it: whoever swaps one of them swaps the directory. */
function linksOn(path: string): string[] {
  const { root } = parse(path);
  const links = [path];
  let at = root;
  for (const part of path.slice(root.length).split(sep)) {
    at = join(at, part);
    const stat = lstatSync(at, { throwIfNoEntry: false });
    if (stat?.isSymbolicLink() === true && at !== path) links.push(at);
  }
  return links;
}

const inodeOf = (path: string) => String(lstatSync(path, { throwIfNoEntry: false })?.ino);
