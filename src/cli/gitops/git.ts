import { lstatSync, realpathSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { ioError } from '../files.ts';
import { tryReadBelow } from './tree.ts';

/** Largest file of Git that is read here, in bytes; `packed-refs` has a line for each branch and tag. */
const MAX_SMALL = 64 * 1024;
const MAX_PACKED = 16 * 1024 * 1024;

/** Longest name of a branch that is told. */
const MAX_BRANCH = 255;

const HASH = /^([0-9a-f]{40}|[0-9a-f]{64})$/;
/** What is checked out, as `HEAD` says it; names that lead out of the directory are none. */
const BRANCH = /^ref: (refs\/[A-Za-z0-9_][^\s\\:?*[~^]{0,500})$/;

/** The Git checkout that a directory is in. */
export interface Checkout {
  /** What the directory at its top is called. */
  readonly name: string;
  /** The directory from the top of the checkout, with "/"; "" for the top itself. */
  readonly path: string;
  /** Undefined where there is none yet, or it is kept in a way that is not read here. */
  readonly commit: string | undefined;
  /** What `HEAD` stands for; undefined where a commit itself is checked out. */
  readonly branch: string | undefined;
  /** Where `origin` is, as `host/path`, without who signs in there. */
  readonly repository: string | undefined;
  /** The directories of Git: that of this checkout, and the one that it shares with others. */
  readonly git: string;
  readonly common: string;
}

/**
 * The checkout around a directory, from the files of Git alone: a checkout of somebody else may name programs in its
 * configuration, and `git` would start them. Undefined where there is none.
 */
export function checkoutAround(dir: string): Checkout | undefined {
  const start = realOf(dir);
  for (let top = start; ; top = dirname(top)) {
    const git = gitDirOf(top);
    // What is no directory of Git under that name is no checkout, and what is around it is none of it.
    if (git === 'none') return undefined;
    if (git !== undefined) {
      const common = commonDirOf(git);
      return {
        name: basename(top),
        path: relative(top, start).split(sep).join('/'),
        commit: commitOf(git, common),
        branch: branchOf(git),
        repository: originOf(common),
        git,
        common,
      };
    }
    if (dirname(top) === top) return undefined;
  }
}

function realOf(dir: string): string {
  try {
    return realpathSync(dir);
  } catch (cause) {
    throw ioError(dir, cause);
  }
}

/**
 * The directory of Git itself; in a worktree or submodule `.git` is a file that names it. `none` for what is neither: it is
 * no absolute path, as all others are.
 */
function gitDirOf(top: string): string | undefined {
  try {
    const stat = lstatSync(join(top, '.git'));
    if (stat.isDirectory()) return join(top, '.git');
    if (!stat.isFile()) return 'none';
  } catch {
    return undefined;
  }
  const named = /^gitdir: (.+)$/m.exec(textOf(top, '.git') ?? '')?.[1];
  return named === undefined ? 'none' : resolve(top, named.trim());
}

function commonDirOf(git: string): string {
  const named = textOf(git, 'commondir')?.trim();
  if (named === undefined || named === '') return git;
  return isAbsolute(named) ? named : join(git, named);
}

function commitOf(git: string, common: string): string | undefined {
  let head = textOf(git, 'HEAD')?.trim() ?? '';
  // A branch may stand for another one; Git follows five.
  for (let i = 0; i < 5; i++) {
    if (HASH.test(head)) return head;
    const branch = BRANCH.exec(head)?.[1];
    if (branch === undefined || branch.includes('..') || branch.includes('//')) return undefined;
    const loose = textOf(git, branch) ?? textOf(common, branch);
    if (loose === undefined) return packed(common, branch);
    head = loose.trim();
  }
  return undefined;
}

function branchOf(git: string): string | undefined {
  const name = BRANCH.exec(textOf(git, 'HEAD')?.trim() ?? '')?.[1];
  const branch = name?.startsWith('refs/heads/') === true ? name.slice('refs/heads/'.length) : undefined;
  return branch !== undefined && branch.length <= MAX_BRANCH && !branch.includes('..') ? branch : undefined;
}

function packed(common: string, branch: string): string | undefined {
  for (const line of (textOf(common, 'packed-refs', MAX_PACKED) ?? '').split('\n')) {
    const [hash = '', name] = line.split(' ');
    if (name === branch && HASH.test(hash)) return hash;
  }
  return undefined;
}

/** Only the plain form that `git clone` writes: includes and the like are not followed. */
function originOf(common: string): string | undefined {
  let isOrigin = false;
  for (const line of (textOf(common, 'config') ?? '').split('\n')) {
    if (/^\s*\[/.test(line)) isOrigin = /^\s*\[remote "origin"\]\s*$/.test(line);
    const url = isOrigin ? /^\s*url\s*=\s*(\S+)\s*$/.exec(line)?.[1] : undefined;
    if (url !== undefined) return repositoryOf(url);
  }
  return undefined;
}

/** `host/path` of the URL of a repository, without user, password and `.git`; undefined for what is no such URL. */
export function repositoryOf(url: string): string | undefined {
  const scp = /^(?:[^@/\s]+@)?([A-Za-z0-9.-]+):(?!\/\/)(.+)$/.exec(url);
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const named =
    parsed !== undefined && parsed.host !== ''
      ? `${parsed.host}${parsed.pathname}`
      : scp === null
        ? undefined
        : `${scp[1]}/${scp[2]}`;
  const plain = named
    ?.replace(/\.git\/?$/, '')
    .replaceAll(/\/{2,}/g, '/')
    .replace(/\/$/, '');
  return plain !== undefined && /^[A-Za-z0-9._~:/-]{1,400}$/.test(plain) ? plain : undefined;
}

/** What documents of a directory are said to come from, ending in "/": `github.com/acme/policies//prod/`. */
export function sourceNameOf(dir: string, checkout: Checkout | undefined, given?: string): string {
  const repository = given ?? checkout?.repository ?? checkout?.name ?? basename(realpathSync(dir));
  const path = checkout?.path ?? '';
  return `${repository}//${path === '' ? '' : `${path}/`}`;
}

function textOf(dir: string, path: string, most = MAX_SMALL): string | undefined {
  return tryReadBelow(dir, path, most);
}
