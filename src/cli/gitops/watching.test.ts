import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import { type TestApi, testApi } from '../../server/api/testing.test-helper.ts';
import { Api } from '../control/api.ts';
import { readDirectory } from './documents.ts';
import { readSteadily } from './steady.ts';
import { watchDirectory, type WatchNews, type WatchOptions } from './watching.ts';

let api: TestApi;
let root: string;
let namespace: string;
let tests = 0;
const undo: (() => unknown)[] = [];
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());
beforeEach(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), 'interlock-watch-')));
  namespace = `w${++tests}`;
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
  rmSync(root, { recursive: true, force: true });
  expect(api.faults).toEqual([]);
});

const idOf = (name: string) => parseSpiffeId(`spiffe://example.org/ns/${namespace}/sa/${name}`);
const policy = (name: string, path: string) => `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${idOf(name)} }
  tier: experimental
  rules:
    - { name: web, from: [ { trustDomain: example.org } ], to: [ { http: { paths: [ "${path}" ] } } ] }
`;
const targetOf = (name: string) =>
  JSON.stringify(api.serving.enforcing.rollouts.all.get(idOf(name))?.target ?? []);

function put(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}

/** Git without what the machine's owner has set up. */
function git(dir: string, ...args: string[]): string {
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_AUTHOR_NAME: 'Ann',
    GIT_AUTHOR_EMAIL: 'ann@example.com',
    GIT_COMMITTER_NAME: 'Ann',
    GIT_COMMITTER_EMAIL: 'ann@example.com',
  };
  return execFileSync('git', ['-C', join(root, dir), ...args], { env, stdio: 'pipe' })
    .toString()
    .trim();
}

function commit(dir: string, files: Readonly<Record<string, string>>): string {
  for (const [path, text] of Object.entries(files)) put(join(dir, path), text);
  git(dir, 'add', '-A');
  git(dir, 'commit', '-q', '-m', 'change');
  return git(dir, 'rev-parse', 'HEAD');
}

/** A watch whose news are heard one after the other. */
function watching(dir: string, over: Partial<WatchOptions> = {}) {
  const stop = new AbortController();
  const all: WatchNews[] = [];
  let heard = 0;
  let wake = () => {};
  const ended = watchDirectory({
    api: new Api({ state: api.state }),
    dir: join(root, dir),
    sourceName: `acme/${namespace}`,
    withProxies: false,
    consents: new Set(['prune-all']),
    everyMs: 60_000,
    signal: stop.signal,
    tell: (news) => {
      all.push(news);
      wake();
    },
    ...over,
  });
  const close = () => {
    stop.abort();
    return ended;
  };
  undo.push(close);
  return {
    all,
    close,
    /** The next news, whatever they are. */
    async next(): Promise<WatchNews> {
      while (all.length <= heard) {
        const told = Promise.withResolvers<void>();
        wake = told.resolve;
        await Promise.race([told.promise, ended]);
      }
      const news = all[heard++];
      if (news === undefined) throw new TypeError('no news');
      return news;
    },
    async looked() {
      const news = await this.next();
      if (news.kind !== 'looked') throw new TypeError(JSON.stringify(news));
      const { sides, applied } = news.done;
      return { commit: sides.source.commit, branch: sides.source.branch, applied };
    },
    async fault() {
      const news = await this.next();
      if (news.kind !== 'fault') throw new TypeError(`no fault: ${news.kind}`);
      return news.error;
    },
  };
}

test('a checkout is followed: new commits, a forced step back, a broken document that is told once, and its mending', async () => {
  mkdirSync(join(root, 'origin'));
  git('origin', 'init', '-q', '-b', 'main');
  const first = commit('origin', { 'policies/a.yaml': policy('a', '/1') });
  execFileSync('git', ['clone', '-q', join(root, 'origin'), join(root, 'here')], { stdio: 'pipe' });
  const pull = () => {
    git('here', 'fetch', '-q');
    git('here', 'reset', '-q', '--hard', 'origin/main');
  };
  const at = watching('here/policies');
  expect(await at.looked()).toMatchObject({ commit: first, branch: 'main', applied: [{ created: ['a'] }] });
  const second = commit('origin', {
    'policies/a.yaml': policy('a', '/2'),
    'policies/b.yaml': policy('b', '/2'),
  });
  pull();
  expect(await at.looked()).toMatchObject({
    commit: second,
    applied: [{ changed: ['a'] }, { created: ['b'] }],
  });
  // Who has written of it is its author, beside who runs the watch.
  expect(api.serving.enforcing.rollouts.get(idOf('a')).authors).toEqual([
    expect.stringMatching(/^local:/),
    'git:ann@example.com',
  ]);
  // The same source, and an older commit: what the branch says counts.
  git('origin', 'reset', '-q', '--hard', first);
  pull();
  expect(await at.looked()).toMatchObject({ commit: first });
  expect([targetOf('a').includes('/1'), targetOf('b')]).toEqual([true, '[]']);
  commit('origin', { 'policies/a.yaml': policy('a', '/3'), 'policies/z.yaml': 'kind: AccessPolicy\n' });
  pull();
  expect(await at.fault()).toMatchObject({ code: 'invalid_document', place: { file: 'z.yaml' } });
  // Other changes, and the same mistake: nothing new, and nothing of it is applied.
  commit('origin', { 'policies/c.yaml': policy('c', '/3') });
  pull();
  const { syncs } = await new Api({ state: api.state }).call('syncs.list');
  expect(syncs.find(({ source }) => source.startsWith(`acme/${namespace}`))).toMatchObject({
    kind: 'watch',
    commit: first,
    fault: expect.stringContaining('z.yaml'),
  });
  expect([targetOf('a').includes('/1'), targetOf('c')]).toEqual([true, '[]']);
  git('origin', 'rm', '-q', 'policies/z.yaml');
  const last = commit('origin', {});
  pull();
  expect(await at.looked()).toMatchObject({
    commit: last,
    applied: [{ changed: ['a'] }, { created: ['c'] }],
  });
  expect(at.all.filter(({ kind }) => kind === 'fault')).toHaveLength(1);
});

test('a directory that a link leads to is swapped whole, and what is changed there comes back in step', async () => {
  put('v1/a.yaml', policy('a', '/1'));
  put('v2/a.yaml', policy('a', '/2'));
  symlinkSync('v1', join(root, 'current'));
  const at = watching('current', { consents: new Set(['overwrite']) });
  expect(await at.looked()).toMatchObject({ applied: [{ created: ['a'] }] });
  symlinkSync('v2', join(root, 'next'));
  renameSync(join(root, 'next'), join(root, 'current'));
  expect(await at.looked()).toMatchObject({ applied: [{ changed: ['a'] }] });
  await api.serving.enforcing.rollouts.apply('local:somebody', readPolicies(policy('a', '/theirs')));
  // Of what is changed there an interval tells; here something else does.
  put('v2/note.yaml', '# nothing\n');
  expect(await at.looked()).toMatchObject({ applied: [{ changed: ['a'] }] });
  expect(targetOf('a')).toContain('/2');
  // A directory that is away for a moment is no wish to remove everything.
  renameSync(join(root, 'current'), join(root, 'away'));
  expect(await at.fault()).toMatchObject({ code: 'not_found' });
  renameSync(join(root, 'away'), join(root, 'current'));
  expect(await at.next()).toEqual({ kind: 'well' });
  expect(targetOf('a')).toContain('/2');
});

test('what was the same on both sides is kept by the watch from then on, and goes on as its own', async () => {
  await api.serving.enforcing.rollouts.apply('local:somebody', readPolicies(policy('a', '/1')));
  put('here/a.yaml', policy('a', '/1'));
  const at = watching('here');
  expect(await at.looked()).toMatchObject({ applied: [] });
  put('here/a.yaml', policy('a', '/2'));
  expect(await at.looked()).toMatchObject({ applied: [{ changed: ['a'] }] });
  put('here/a.yaml', policy('a', '/3'));
  expect(await at.looked()).toMatchObject({ applied: [{ changed: ['a'] }] });
});

test('no read has files of two commits: what Git is at work on is waited for', async () => {
  mkdirSync(join(root, 'here'));
  git('here', 'init', '-q', '-b', 'main');
  const names = ['a', 'b', 'c', 'd'];
  const files = (path: string) =>
    Object.fromEntries(names.map((name) => [`${name}.yaml`, policy(name, path)]));
  const [first = '', second = ''] = ['/one', '/two'].map((path) => commit('here', files(path)));
  git('here', 'checkout', '-q', first);
  // Git half-way: it holds its lock, and has written some of the files.
  put('here/.git/index.lock', '');
  put('here/a.yaml', policy('a', '/two'));
  let isRead = false;
  const reading = readSteadily(join(root, 'here'), { patienceMs: 60_000 }).finally(() => (isRead = true));
  // Whoever does not wait has read by now.
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  await expect(readSteadily(join(root, 'here'), { patienceMs: 300 })).rejects.toMatchObject({
    code: 'conflict',
  });
  expect(isRead).toBe(false);
  rmSync(join(root, 'here/.git/index.lock'));
  git('here', 'checkout', '-q', '-f', second);
  const { here, checkout } = await reading;
  expect(checkout?.commit).toBe(second);
  expect(names.map((name) => here.files.get(`${name}.yaml`)?.includes('/two'))).toEqual([
    true,
    true,
    true,
    true,
  ]);
});

test('what is written while it is read is read again', async () => {
  for (const name of ['a', 'b', 'c']) put(`here/${name}.yaml`, policy(name, '/one'));
  let reads = 0;
  const read = async (dir: string) => {
    const documents = await readDirectory(dir);
    // Somebody writes behind the reader's back, twice.
    if (++reads < 3) put('here/a.yaml', policy('a', `/${reads}`));
    return documents;
  };
  const { here } = await readSteadily(join(root, 'here'), { patienceMs: 60_000, read });
  expect([reads, here.files.get('a.yaml')?.includes('"/2"')]).toEqual([3, true]);
});

test('a checkout on which Git was stopped half-way is not read', async () => {
  put('here/.git/HEAD', 'ref: refs/heads/main\n');
  put('here/a.yaml', policy('a', '/1'));
  put('here/.git/index.lock', '');
  await expect(readSteadily(join(root, 'here'), { patienceMs: 0 })).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringMatching(/Git is at work .* remove .*index\.lock/),
  });
  rmSync(join(root, 'here/.git/index.lock'));
  expect((await readSteadily(join(root, 'here'))).here.policies.size).toBe(1);
});

test('of two watches of one source that have other commits one is in step, and the other takes over when that ends', async () => {
  put('one/a.yaml', policy('a', '/one'));
  put('two/a.yaml', policy('a', '/two'));
  const one = watching('one', { everyMs: 50 });
  await one.looked();
  const two = watching('two', { everyMs: 50 });
  expect((await two.fault()).message).toMatch(/kept in step by "interlock sync --watch" of local:/);
  // A run by hand is told so as well, and a source within the other is part of it.
  const hand = watching('two', { sourceName: `acme/${namespace}//below` });
  expect((await hand.fault()).message).toMatch(/kept in step/);
  expect(targetOf('a')).toContain('/one');
  await one.close();
  expect(await two.looked()).toMatchObject({ applied: [{ changed: ['a'] }] });
  expect(targetOf('a')).toContain('/two');
  expect([...one.all, ...two.all]).toHaveLength(3);
});

test('a control plane that is away is told of once, asked less and less often, and caught up with', async () => {
  put('here/a.yaml', policy('a', '/1'));
  let left = 2;
  class Away extends Api {
    protected override send(...args: Parameters<Api['send']>): Promise<unknown> {
      if (left-- > 0) throw new InterlockError('unavailable', 'there', 'there does not answer');
      return super.send(...args);
    }
  }
  const at = watching('here', { api: new Away({ state: api.state }), random: () => 0 });
  expect(await at.fault()).toMatchObject({ code: 'unavailable' });
  expect(await at.looked()).toMatchObject({ applied: [{ created: ['a'] }] });
  expect(at.all).toHaveLength(2);
});

test.each(['SIGTERM', 'SIGINT'] as const)(
  'the command ends clean on %s, and gives its turn back',
  async (signal) => {
    put('here/a.yaml', policy('a', '/1'));
    const source = `acme/${namespace}`;
    const args = ['sync', join(root, 'here'), '--watch', '--json', '--source', source, '--state', api.state];
    const command = spawn(process.execPath, [join(import.meta.dirname, '../main.ts'), ...args]);
    const exit = once(command, 'exit');
    undo.push(() => command.kill('SIGKILL'));
    const [line] = (await once(createInterface(command.stdout), 'line')) as [string];
    expect(JSON.parse(line)).toMatchObject({
      kind: 'looked',
      source: `${source}//`,
      applied: [{ created: ['a'] }],
    });
    command.kill(signal);
    expect(await exit).toEqual([0, null]);
    const { syncs } = await new Api({ state: api.state }).call('syncs.list');
    const turn = syncs.find((each) => each.source === `${source}//`);
    expect(turn?.until).toBe(turn?.at);
  },
);

test('a directory that is not there, and one without a document, end it at once', async () => {
  await expect(watching('none').next()).rejects.toMatchObject({ code: 'not_found' });
  undo.length = 0;
  mkdirSync(join(root, 'empty'));
  await expect(watching('empty').next()).rejects.toMatchObject({ code: 'not_found' });
  undo.length = 0;
  expect(readdirSync(root)).toEqual(['empty']);
});
