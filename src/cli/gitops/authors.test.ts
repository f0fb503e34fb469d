import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { GitHistory } from './authors.ts';
import { checkoutAround } from './git.ts';
import { GitObjects } from './git-objects.ts';

let root: string;
let clock: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'interlock-authors-'));
  clock = 1_700_000_000;
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function git(who: string, ...args: string[]): string {
  const [name, address] = [who, `${who}@example.com`];
  const at = `${clock++} +0000`;
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: address,
    GIT_AUTHOR_DATE: at,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: address,
    GIT_COMMITTER_DATE: at,
  };
  return execFileSync('git', ['-C', root, ...args], { env, stdio: 'pipe' })
    .toString()
    .trim();
}

function commit(who: string, files: Readonly<Record<string, string>>, message = 'change'): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  git(who, 'add', '-A');
  git(who, 'commit', '-q', '--allow-empty', '-m', message);
  return git(who, 'rev-parse', 'HEAD');
}

function authors(file: string, since?: string, dir = root) {
  const checkout = checkoutAround(join(dir, 'policies'));
  if (checkout === undefined) throw new TypeError('no checkout');
  const history = new GitHistory(checkout);
  const { authors, isCut } = history.authorsOf(file, since);
  history.close();
  return [authors.map((name) => name.replace('git:', '').replace('@example.com', '')).toSorted(), isCut];
}

/** Everything in one pack, most of it as deltas. */
function pack(): void {
  git('x', '-c', 'gc.auto=0', 'repack', '-q', '-a', '-d', '-f', '--depth=50', '--window=50');
  git('x', 'prune-packed');
}

test.each([
  ['loose', () => {}, []],
  ['packed', pack, []],
  ['packed, by SHA-256', pack, ['--object-format=sha256']],
])('who has written of a file since a commit is found in objects that are %s', (_, keep, format) => {
  git('x', 'init', '-q', '-b', 'main', ...format);
  const long = Array.from({ length: 400 }, (_, i) => `line ${i}`).join('\n');
  const first = commit('ann', { 'policies/a.yaml': long, 'policies/b.yaml': 'b1' });
  commit('bob', { 'policies/a.yaml': `${long}\n2` });
  const third = commit('cat', { 'policies/b.yaml': 'b2' }, 'with\n\nCo-authored-by: Dan <DAN@example.com>');
  // On a side: eve writes of a, and a merge by fay that only joins is no writing.
  git('eve', 'checkout', '-q', '-b', 'side', first);
  commit('eve', { 'policies/sub/c.yaml': 'c1' });
  git('fay', 'checkout', '-q', 'main');
  git('fay', 'merge', '-q', '--no-ff', '-m', 'merge', 'side');
  commit('gus', { 'README.md': 'none of it' });
  keep();
  expect(authors('a.yaml')).toEqual([['ann', 'bob'], false]);
  expect(authors('a.yaml', first)).toEqual([['bob'], false]);
  expect(authors('a.yaml', third)).toEqual([[], false]);
  expect(authors('b.yaml', first)).toEqual([['cat', 'dan'], false]);
  expect(authors('sub/c.yaml', third)).toEqual([['eve'], false]);
  expect(authors('none.yaml')).toEqual([[], true]);
  // What is not known here, as after a forced push, is no reason to know fewer.
  expect(authors('a.yaml', 'f'.repeat(first.length))).toEqual([['ann', 'bob'], false]);
});

test('who resolves a conflict has written, and so have both sides', () => {
  git('x', 'init', '-q', '-b', 'main');
  const first = commit('ann', { 'policies/a.yaml': '1' });
  git('x', 'checkout', '-q', '-b', 'side');
  commit('eve', { 'policies/a.yaml': '2' });
  git('x', 'checkout', '-q', 'main');
  commit('bob', { 'policies/a.yaml': '3' });
  expect(() => git('fay', 'merge', '-q', 'side')).toThrow(/merge/);
  commit('fay', { 'policies/a.yaml': '4' });
  expect(authors('a.yaml', first)).toEqual([['bob', 'eve', 'fay'], false]);
});

test('who takes a file away has written of it', () => {
  git('x', 'init', '-q', '-b', 'main');
  const first = commit('ann', { 'policies/a.yaml': '1', 'policies/b.yaml': '1' });
  commit('bob', { 'policies/a.yaml': '2' });
  git('cat', 'rm', '-q', 'policies/a.yaml');
  commit('cat', {});
  expect(authors('a.yaml', first)).toEqual([['bob', 'cat'], false]);
  expect(authors('a.yaml')).toEqual([[], true]);
});

test('a name in a commit is kept to what the API takes, whatever stands there', () => {
  git('x', 'init', '-q', '-b', 'main');
  commit('ann', { 'policies/a.yaml': '1' }, `x\n\nCo-authored-by: ${'😀'.repeat(400)}\nCo-authored-by: <>\n`);
  const checkout = checkoutAround(join(root, 'policies')) ?? expect.fail('no checkout');
  const found = new GitHistory(checkout).authorsOf('a.yaml', undefined).authors;
  expect(found).toEqual(['git:ann@example.com', `git:${'😀'.repeat(320)}`]);
  // As src/api/schemas/common.ts has it.
  for (const name of found) expect(name).toMatch(/^git:\P{C}{1,320}$/u);
});

test('of a shallow clone it is said that there may be more', () => {
  git('x', 'init', '-q', '-b', 'main');
  const first = commit('ann', { 'policies/a.yaml': '1' });
  commit('bob', { 'policies/a.yaml': '2' });
  const clone = join(root, 'clone');
  execFileSync('git', ['clone', '-q', '--depth', '1', `file://${root}`, clone], { stdio: 'pipe' });
  expect(authors('a.yaml', undefined, clone)).toEqual([['bob'], true]);
  expect(authors('a.yaml', first, clone)).toEqual([['bob'], true]);
});

test('a repository that is damaged, or made to trap, has no objects', () => {
  git('x', 'init', '-q', '-b', 'main');
  const hash = commit('ann', { 'policies/a.yaml': '1' });
  pack();
  const objects = join(root, '.git/objects');
  const read = () => {
    const reader = new GitObjects(join(root, '.git'));
    const found = reader.read(hash);
    reader.close();
    return found?.type;
  };
  expect(read()).toBe('commit');
  const name = readdirSync(join(objects, 'pack')).find((each) => each.endsWith('.pack')) ?? '';
  truncateSync(join(objects, 'pack', name), 20);
  expect(read()).toBeUndefined();
  rmSync(join(objects, 'pack'), { recursive: true });
  mkdirSync(join(objects, hash.slice(0, 2)), { recursive: true });
  writeFileSync(join(objects, hash.slice(0, 2), hash.slice(2)), Buffer.alloc(1000, 0x78));
  expect(read()).toBeUndefined();
  for (const wrong of ['', '../../etc/passwd', 'f'.repeat(39)])
    expect(new GitObjects(join(root, '.git')).read(wrong)).toBeUndefined();
});

/** Writes an object as Git does, without Git: what it says is up to the test. */
function write(type: string, data: string | Buffer): string {
  const whole = Buffer.concat([Buffer.from(`${type} ${Buffer.byteLength(data)}\0`), Buffer.from(data)]);
  const hash = createHash('sha1').update(whole).digest('hex');
  const dir = join(root, '.git/objects', hash.slice(0, 2));
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, hash.slice(2)), deflateSync(whole));
  return hash;
}

test('of objects that are small and say much, no more than so much is read', () => {
  git('x', 'init', '-q', '-b', 'main');
  const hashes = Array.from({ length: 8 }, (_, i) => write('blob', Buffer.alloc(1024 * 1024, i)));
  const read = (most?: number) => {
    const objects = new GitObjects(join(root, '.git'), most);
    const found = hashes.filter((hash) => objects.read(hash) !== undefined).length;
    objects.close();
    return found;
  };
  expect([read(), read(3.5 * 1024 * 1024)]).toEqual([8, 3]);
  // Of what is packed as deltas, what each is made of counts as well.
  const noise = randomBytes(256 * 1024).toString('base64');
  const deltas = Array.from({ length: 8 }, (_, i) => commit('ann', { 'policies/a.yaml': `${noise}${i}` }));
  pack();
  hashes.splice(0, Infinity, ...deltas.map((hash) => git('x', 'rev-parse', `${hash}:policies/a.yaml`)));
  expect([read(), read(2 * 1024 * 1024) < 6]).toEqual([8, true]);
});

test('a history that is made to be long to look through is looked through all the same', () => {
  git('x', 'init', '-q', '-b', 'main');
  const since = commit('ann', { 'policies/a.yaml': '1' });
  const blob = write('blob', '2');
  const dir = write('tree', Buffer.concat([Buffer.from('100644 a.yaml\0'), Buffer.from(blob, 'hex')]));
  const tree = write('tree', Buffer.concat([Buffer.from('40000 policies\0'), Buffer.from(dir, 'hex')]));
  let head = since;
  // Each has parents that nobody has, and all are waited for at once.
  for (let i = 0; i < 1500; i++) {
    const absent = Array.from({ length: 62 }, (_, n) => `parent ${sha(`${i} ${n}`)}\n`).join('');
    const who = `bob <bob@example.com> ${1_800_000_000 + i} +0000`;
    head = write('commit', `tree ${tree}\nparent ${head}\n${absent}author ${who}\ncommitter ${who}\n\nx\n`);
  }
  writeFileSync(join(root, '.git/refs/heads/main'), head);
  expect(authors('a.yaml', since)).toEqual([['bob'], true]);
});

const sha = (text: string) => createHash('sha1').update(text).digest('hex');
