import type { Checkout } from './git.ts';
import { GitObjects } from './git-objects.ts';

/** Commits that are looked through, for all files of a run together. */
const MOST_COMMITS = 5000;
/** Authors of one file that are told; as the API takes them. */
export const MOST_AUTHORS = 100;
const MOST_CHARACTERS = 320;
const MOST_PARENTS = 64;
/** Entries of directories that are kept ready, of all together. */
const MOST_ENTRIES = 500_000;

/** Who has written of a file: `git:` and an address each. */
export interface Authors {
  readonly authors: readonly string[];
  /** There may be more of them: the history in the checkout did not go as far. */
  readonly isCut: boolean;
}

/** Of documents that are in no checkout. */
export const NO_AUTHORS: Authors = { authors: [], isCut: false };

interface Commit {
  readonly tree: string;
  readonly parents: readonly string[];
  readonly people: readonly string[];
  /** When it was committed, seconds since 1970 UTC. */
  readonly time: number;
}

/**
 * The authors of files by the history of a checkout, from its own files. A name in a commit is what its writer says: it can
 * make somebody an author who is none, and that is all that may be made of it.
 */
export class GitHistory {
  readonly #head: string | undefined;
  /** The directory that files are in, from the top of the checkout. */
  readonly #path: string;
  readonly #objects: GitObjects;
  readonly #commits = new Map<string, Commit | undefined>();
  readonly #trees = new Map<string, ReadonlyMap<string, string>>();
  #entriesKept = 0;
  readonly #old = new Map<string, ReadonlySet<string>>();
  #left = MOST_COMMITS;

  constructor({ commit, path, common }: Pick<Checkout, 'commit' | 'path' | 'common'>) {
    this.#head = commit;
    this.#path = path;
    this.#objects = new GitObjects(common);
  }

  close(): void {
    this.#objects.close();
  }

  /**
   * Who has changed a file, or taken it away, in the commits up to the one that is checked out which are not among those up to
   * `since`: all of its history without one, or where that is not known here, as after a forced push.
   */
  authorsOf(file: string, since: string | undefined): Authors {
    if (this.#head === undefined) return NO_AUTHORS;
    const path = [...(this.#path === '' ? [] : this.#path.split('/')), ...file.split('/')];
    const isNew = this.#newSince(since);
    const before = since === undefined ? undefined : this.#commit(since);
    const wasThere = before !== undefined && this.#blob(before.tree, path) !== undefined;
    const authors = new Set<string>();
    const seen = new Set<string>();
    const queue = [this.#head];
    let isCut = false;
    for (let hash = queue.pop(); hash !== undefined; hash = queue.pop()) {
      if (seen.has(hash) || !isNew(hash)) continue;
      seen.add(hash);
      const commit = this.#commit(hash);
      const own = commit && this.#blob(commit.tree, path);
      // The history ends here, or the file is in no commit: it was not taken away since either.
      if (commit === undefined || (own === undefined && hash === this.#head && !wasThere)) {
        isCut = true;
        continue;
      }
      const side = commit.parents.find((parent) => {
        const other = this.#commit(parent);
        return other !== undefined && this.#blob(other.tree, path) === own;
      });
      // A merge that takes the file as one of its sides has it has written nothing of it, and only that side has.
      if (side === undefined) for (const person of commit.people) authors.add(person);
      queue.push(...(side === undefined ? commit.parents : [side]));
    }
    const all = [...authors];
    return { authors: all.slice(0, MOST_AUTHORS), isCut: isCut || all.length > MOST_AUTHORS };
  }

  /** Whether a commit is not among those up to `since`. The newest are looked at first, so that little of the history is read. */
  #newSince(since: string | undefined): (hash: string) => boolean {
    if (since === undefined || this.#head === undefined || this.#commit(since) === undefined)
      return () => true;
    const ready = this.#old.get(since);
    if (ready !== undefined) return (hash) => !ready.has(hash);
    const [old, seen] = [new Set([since]), new Set([since, this.#head])];
    // By their time, the newest at the end.
    const queue: string[] = [];
    const waiting = new Set<string>();
    let undecided = 0;
    const add = (hash: string) => {
      const time = this.#timeOf(hash);
      let [low, high] = [0, queue.length];
      while (low < high) {
        const middle = (low + high) >>> 1;
        if (this.#timeOf(queue[middle] ?? '') <= time) low = middle + 1;
        else high = middle;
      }
      queue.splice(low, 0, hash);
      waiting.add(hash);
      if (!old.has(hash)) undecided++;
    };
    for (const hash of seen) add(hash);
    while (undecided > 0) {
      const hash = queue.pop();
      if (hash === undefined) break;
      waiting.delete(hash);
      const isOld = old.has(hash);
      if (!isOld) undecided--;
      for (const parent of this.#commit(hash)?.parents ?? []) {
        if (seen.has(parent) && (!isOld || old.has(parent))) continue;
        seen.add(parent);
        if (isOld) old.add(parent);
        if (waiting.has(parent)) undecided--;
        else if (this.#commit(parent) !== undefined) add(parent);
      }
    }
    this.#old.set(since, old);
    return (hash) => !old.has(hash);
  }

  #timeOf(hash: string): number {
    return this.#commit(hash)?.time ?? 0;
  }

  #commit(hash: string): Commit | undefined {
    if (this.#commits.has(hash)) return this.#commits.get(hash);
    const object = this.#left-- > 0 ? this.#objects.read(hash) : undefined;
    const commit = object?.type === 'commit' ? commitOf(object.data.toString('utf8')) : undefined;
    this.#commits.set(hash, commit);
    return commit;
  }

  #blob(tree: string, path: readonly string[]): string | undefined {
    let at: string | undefined = tree;
    for (const name of path) at = at && this.#entries(at).get(name);
    return at;
  }

  #entries(hash: string): ReadonlyMap<string, string> {
    let entries = this.#trees.get(hash);
    if (entries === undefined) {
      const object = this.#objects.read(hash);
      entries = object?.type === 'tree' ? entriesOf(object.data, hash.length / 2) : NO_ENTRIES;
      this.#entriesKept += entries.size + 1;
      if (this.#entriesKept > MOST_ENTRIES) {
        this.#trees.clear();
        this.#entriesKept = entries.size + 1;
      }
      this.#trees.set(hash, entries);
    }
    return entries;
  }
}

const NO_ENTRIES: ReadonlyMap<string, string> = new Map();

/** The head of a commit, and who has written it: author, committer, and those that the message says have as well. */
function commitOf(text: string): Commit | undefined {
  const end = text.indexOf('\n\n');
  const head = end < 0 ? text : text.slice(0, end);
  const tree = /^tree ([0-9a-f]+)$/m.exec(head)?.[1];
  if (tree === undefined) return undefined;
  const parents = [...head.matchAll(/^parent ([0-9a-f]+)$/gm)].flatMap(([, hash]) => hash ?? []);
  const named = [
    ...head.matchAll(/^(?:author|committer) (.*) -?\d+ [+-]\d+$/gm),
    ...text.slice(end).matchAll(/^co-authored-by:[ \t]*(.+)$/gim),
  ];
  const people = new Set(named.flatMap(([, name = '']) => personOf(name) ?? []));
  const time = Number(/^committer .* (-?\d+) [+-]\d+$/m.exec(head)?.[1] ?? 0);
  return { tree, parents: parents.slice(0, MOST_PARENTS), people: [...people], time };
}

/** `git:` and the address in "Name <address>", or the name where there is none. */
function personOf(text: string): string | undefined {
  const address = /<([^<>]*)>\s*$/.exec(text)?.[1]?.trim().toLowerCase();
  const name = (address || text.replace(/<[^<>]*>\s*$/, '').trim()).replaceAll(/\p{C}/gu, '');
  // By characters: half of one would be none.
  return name === '' ? undefined : `git:${[...name].slice(0, MOST_CHARACTERS).join('')}`;
}

/** The entries of a directory: mode, name, NUL, hash (gitformat-tree). */
function entriesOf(data: Buffer, hashBytes: number): ReadonlyMap<string, string> {
  const entries = new Map<string, string>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const end = data.indexOf(0, space);
    if (space < 0 || end < 0 || end + 1 + hashBytes > data.length) break;
    entries.set(data.toString('utf8', space + 1, end), data.toString('hex', end + 1, end + 1 + hashBytes));
    at = end + 1 + hashBytes;
  }
  return entries;
}
