import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkoutAround, repositoryOf, sourceNameOf } from './git.ts';

const COMMIT = '0123456789abcdef0123456789abcdef01234567';
let dir: string;
beforeEach(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), 'interlock-git-')));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function file(path: string, content: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), content);
}

test.each([
  ['https://git.example/acme/policies.git', 'git.example/acme/policies'],
  ['https://user:token@git.example:8443/acme/policies/', 'git.example:8443/acme/policies'],
  ['git@git.example:acme/policies.git', 'git.example/acme/policies'],
  ['ssh://git@git.example/acme/policies', 'git.example/acme/policies'],
  ['git.example:/srv/policies.git', 'git.example/srv/policies'],
  ['/srv/policies.git', undefined],
  ['ext::sh -c whoami', undefined],
  ['https://git.example/a b', undefined],
])('the repository of %s is named without who signs in', (url, repository) => {
  expect(repositoryOf(url)).toBe(repository);
});

test('a branch is found as a file, packed, and from a worktree', () => {
  file('main/.git/HEAD', 'ref: refs/heads/topic/one\n');
  file('main/.git/refs/heads/topic/one', `${COMMIT}\n`);
  const git = join(dir, 'main/.git');
  expect(checkoutAround(join(dir, 'main'))).toEqual({
    name: 'main',
    path: '',
    commit: COMMIT,
    branch: 'topic/one',
    repository: undefined,
    git,
    common: git,
  });
  file('main/policies/a.yaml', '');
  const below = join(dir, 'main/policies');
  expect(sourceNameOf(below, checkoutAround(below))).toBe('main//policies/');
  file('main/.git/worktrees/w/HEAD', 'ref: refs/heads/topic/two\n');
  file('main/.git/worktrees/w/commondir', '../..\n');
  file('main/.git/packed-refs', `${COMMIT.replace('0', 'f')} refs/heads/topic/two\n^${COMMIT}\n`);
  file(
    'main/.git/config',
    '[core]\n\turl = https://x.example/no\n[remote "origin"]\n\turl = git@x.example:a/b.git\n',
  );
  file('w/.git', `gitdir: ${join(dir, 'main/.git/worktrees/w')}\n`);
  file('w/policies/a.yaml', '');
  const checkout = checkoutAround(join(dir, 'w/policies'));
  expect(checkout).toEqual({
    name: 'w',
    path: 'policies',
    commit: COMMIT.replace('0', 'f'),
    branch: 'topic/two',
    repository: 'x.example/a/b',
    git: join(git, 'worktrees/w'),
    common: git,
  });
  expect(sourceNameOf(join(dir, 'w/policies'), checkout)).toBe('x.example/a/b//policies/');
  expect(sourceNameOf(join(dir, 'w/policies'), checkout, 'acme')).toBe('acme//policies/');
});

test.each([
  ['a link', () => symlinkSync('/etc/passwd', join(dir, '.git/HEAD'))],
  ['a file that is too large', () => file('.git/HEAD', `${COMMIT}${' '.repeat(100_000)}`)],
  ['a name that leads out', () => file('.git/HEAD', 'ref: refs/../../secret')],
  ['a branch that stands for itself', () => file('.git/HEAD', 'ref: refs/heads/a')],
  ['nothing', () => {}],
])('a HEAD that is %s names no commit', (_, make) => {
  file('.git/refs/heads/a', 'ref: refs/heads/a');
  file('secret', COMMIT);
  make();
  expect(checkoutAround(dir)).toMatchObject({ path: '', commit: undefined, repository: undefined });
});
