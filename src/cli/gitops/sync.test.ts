import { execFileSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { InterlockError, parseSpiffeId } from '../../access/index.ts';
import { readPolicies } from '../../policy/index.ts';
import {
  accessAt,
  cart,
  reporterOf,
  reportOf,
} from '../../server/enforcement/evidence/evidence.test-helper.ts';
import { type TestApi, testApi } from '../../server/api/testing.test-helper.ts';
import { realTimers } from '../../server/timers.ts';
import { main } from '../cli.ts';
import { Terminal } from '../terminal.ts';
import { writeBelow } from './write.ts';

let api: TestApi;
let dir: string;
/** Its workloads are of each test alone: the control plane remembers those of the others. */
let namespace: string;
let tests = 0;
beforeAll(async () => {
  api = await testApi();
});
afterAll(() => api.close());
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-sync-'));
  namespace = `t${++tests}`;
});
afterEach(async () => {
  rmSync(dir, { recursive: true, force: true });
  // Each test finds an empty control plane.
  for (const { workload, target } of api.serving.enforcing.rollouts.all.values())
    for (const { metadata } of target)
      await api.serving.enforcing.rollouts.remove('local:test', workload, metadata.name);
  for (const { name } of api.serving.api.plane.registry.rules.current.value.rules)
    await run('identity', 'rules', 'delete', name);
  expect(api.faults).toEqual([]);
});

/** A command as a pipe gets it. */
async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const terminal = new Terminal(out, err, {});
  const code = await main([...args, '--state', api.state], { terminal, now: Date.now });
  out.end();
  err.end();
  return { code, out: await text(out), err: await text(err) };
}

async function sync(...args: string[]) {
  const { code, out, err } = await run('sync', dir, '--source', 'acme/policies', '--json', ...args);
  return { code, err, value: out === '' ? undefined : JSON.parse(out) };
}

/** Which documents differ, and how. */
async function states(...args: string[]): Promise<Record<string, string>> {
  const { value } = await sync('--check', ...args);
  return Object.fromEntries(
    value.drift.map(({ name, state }: { name: string; state: string }) => [name, state]),
  );
}

function file(path: string, content: string): void {
  mkdirSync(dirname(join(dir, path)), { recursive: true });
  writeFileSync(join(dir, path), content);
}

const read = (path: string) => readFileSync(join(dir, path), 'utf8');

const policy = (name: string, paths = ['/a'], more = '') => `apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: ${name} }
spec:
  protects: { workload: ${idOf(name)} }
  tier: experimental
  rules:
    # why the web may
    - name: web
      from: [ { workload: spiffe://example.org/ns/shop/sa/web } ]
      to: [ { http: { methods: [ GET ], paths: [ ${paths.map((path) => `"${path}"`).join(', ')} ] }, ports: [ 80 ] } ]
${more}`;

const rule = (name: string) => `apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: ${name} }
spec: { spiffeId: "/x/${name}", selectors: ["unix:uid:1"] }
`;

const idOf = (name: string) => parseSpiffeId(`spiffe://example.org/ns/${namespace}/sa/${name}`);
const there = (name: string) => api.serving.enforcing.rollouts.get(idOf(name)).target;

/** Somebody changes a policy without the directory. */
const applyThere = (name: string, paths: string[]) =>
  api.serving.enforcing.rollouts.apply('local:somebody', readPolicies(policy(name, paths)));

describe('drift', () => {
  test('is shown both ways, rule by rule, with who changed it there last', async () => {
    await applyThere('cart', ['/a', '/b']);
    await applyThere('mail', ['/a']);
    file('shop/cart.yaml', policy('cart', ['/a', '/c']));
    file('shop/pay.yaml', `${policy('pay')}---\n${rule('by-uid')}`);
    const { code, out } = await run('sync', dir, '--check');
    expect(code).toBe(3);
    expect(out.replaceAll('\n', ' ')).toContain(
      `cart for ${idOf('cart')}: different, and never synced from here [shop/cart.yaml]`,
    );
    expect(out).toMatch(/there last by local:somebody, \d+s ago \(policy.apply\)/);
    expect(out).toContain('- rule web: may GET /a,/b :80');
    expect(out).toContain('+ rule web: may GET /a,/c :80');
    expect(await states()).toEqual({
      cart: 'unknown',
      pay: 'only-here',
      mail: 'only-there',
      'by-uid': 'only-here',
    });
    // Looking changes nothing.
    expect(there('mail')).toHaveLength(1);
    expect(api.serving.enforcing.rollouts.all.has(idOf('pay'))).toBe(false);
  });

  test('tells who changed what since the last sync, and nobody’s work is lost', async () => {
    for (const name of ['a', 'b', 'c', 'd']) file(`${name}.yaml`, policy(name));
    expect(await sync()).toMatchObject({ code: 0, err: '', value: { conflicts: [] } });
    expect(await states()).toEqual({});
    file('a.yaml', policy('a', ['/new']));
    await applyThere('b', ['/theirs']);
    file('c.yaml', policy('c', ['/new']));
    await applyThere('c', ['/theirs']);
    rmSync(join(dir, 'd.yaml'));
    expect(await states()).toEqual({
      a: 'changed-here',
      b: 'changed-there',
      c: 'changed-both',
      d: 'gone-here',
    });
    const { code, err, value } = await sync();
    expect(code).toBe(1);
    expect(err).toMatch(/2 documents not applied, because work that was done there would be lost: b, c/);
    expect(err).toMatch(/Left there: d \(1 document\)\. --prune takes them away/);
    expect(value.applied).toMatchObject([{ workload: idOf('a'), changed: ['a'] }]);
    expect(JSON.stringify(there('b'))).toContain('/theirs');
    expect(await sync('--overwrite', '--prune')).toMatchObject({ code: 0 });
    expect(await states()).toEqual({});
    expect(JSON.stringify(there('b'))).not.toContain('/theirs');
    expect(there('d')).toEqual([]);
  });

  test('of what another directory keeps is none of this one', async () => {
    file('a.yaml', policy('a'));
    await sync();
    rmSync(join(dir, 'a.yaml'));
    file('b.yaml', policy('b'));
    const other = async (...args: string[]) =>
      JSON.parse((await run('sync', dir, '--source', 'acme/others', '--json', ...args)).out);
    expect(await other('--check')).toMatchObject({
      drift: [{ name: 'b', state: 'only-here' }],
      elsewhere: 1,
    });
    await other('--prune-all');
    // Nor is what is proposed for it, or was decided about it there.
    await applyThere('a', ['/theirs']);
    expect(await other('--write-proposals')).toMatchObject({ written: [] });
    expect(readdirSync(dir)).toEqual(['b.yaml']);
    expect(there('a')).toHaveLength(1);
  });
});

describe('a sync', () => {
  test('goes to the target set only, says where from, and records the commit', async () => {
    file('policies/a.yaml', policy('a'));
    file('.git/HEAD', 'ref: refs/heads/main\n');
    const commit = '0123456789abcdef0123456789abcdef01234567';
    file('.git/packed-refs', `# pack-refs with: peeled\n${commit} refs/heads/main\n`);
    file('.git/config', '[remote "origin"]\n\turl = https://who:secret@git.example/acme/policies.git\n');
    const { code, out } = await run('sync', join(dir, 'policies'));
    expect(code).toBe(0);
    expect(out).toContain('git.example/acme/policies//policies/ at 0123456789ab');
    const rollout = api.serving.enforcing.rollouts.get(idOf('a'));
    expect(rollout).toMatchObject({ stage: 'draft', target: [{ metadata: { name: 'a' } }] });
    expect(rollout.target[0]?.metadata.annotations).toEqual({
      'interlock.dev/source': 'sync:git.example/acme/policies//policies/a.yaml',
    });
    const { out: history } = await run('policy', 'history', idOf('a'), '--json');
    const [entry] = JSON.parse(history).entries;
    expect(entry).toMatchObject({
      act: 'policy.sync',
      details: { source: 'git.example/acme/policies//policies/', commit, created: ['a'] },
    });
    expect(history).not.toContain('secret');
  });

  test('is made by two at once, and done once', async () => {
    for (const name of ['a', 'b', 'c']) file(`${name}.yaml`, `${policy(name)}---\n${rule(name)}`);
    const [one, two] = await Promise.all([sync(), sync()]);
    expect([one.code, two.code]).toEqual([0, 0]);
    expect([...one.value.conflicts, ...two.value.conflicts]).toEqual([]);
    const created = [...one.value.applied, ...two.value.applied].flatMap((each) => each.created);
    expect(created.toSorted()).toEqual(['a', 'a', 'b', 'b', 'c', 'c']);
    expect(await states()).toEqual({});
  });

  test('that is refused half-way says what it has done until then', async () => {
    for (const name of ['a', 'b', 'c']) file(`${name}.yaml`, policy(name));
    const { rollouts } = api.serving.enforcing;
    const real = rollouts.retarget.bind(rollouts);
    let calls = 0;
    rollouts.retarget = async (...args) => {
      if (++calls === 2) throw new InterlockError('limit', 'policies', 'no more of them');
      return real(...args);
    };
    const { code, err, value } = await sync().finally(() => (rollouts.retarget = real));
    expect(code).toBe(1);
    expect(err).toMatch(/no more of them/);
    expect(value.applied).toMatchObject([{ created: ['a'] }]);
    expect(calls).toBe(2);
  });

  test('that meets a change of somebody else goes over nothing', async () => {
    file('a.yaml', policy('a'));
    await sync();
    file('a.yaml', policy('a', ['/mine']));
    const { rollouts } = api.serving.enforcing;
    // Between what is looked at and what is done.
    const real = rollouts.retarget.bind(rollouts);
    let isFirst = true;
    rollouts.retarget = async (...args) => {
      if (isFirst) await applyThere('a', ['/theirs']);
      isFirst = false;
      return real(...args);
    };
    const { code, err, value } = await sync().finally(() => (rollouts.retarget = real));
    expect(code).toBe(1);
    expect(err).toMatch(/was changed meanwhile/);
    expect(value.conflicts).toHaveLength(1);
    expect(JSON.stringify(there('a'))).toContain('/theirs');
  });

  test('leaves a workload whole where a part of it is held back', async () => {
    const two = (paths: string[]) =>
      `${policy('a', paths)}---\n${policy('a', paths).replace('{ name: a }', '{ name: second }')}`;
    file('a.yaml', two(['/a']));
    await sync();
    await applyThere('a', ['/theirs']);
    file('a.yaml', two(['/mine']));
    expect(await states()).toEqual({ a: 'changed-both', second: 'changed-here' });
    expect(await sync()).toMatchObject({ code: 1, value: { applied: [], refused: ['a'] } });
    expect(JSON.stringify(there('a'))).not.toContain('/mine');
  });

  test('removes no more than half without being told so', async () => {
    for (const name of ['a', 'b', 'c']) file(`${name}.yaml`, policy(name));
    await sync();
    for (const name of ['a', 'b']) rmSync(join(dir, `${name}.yaml`));
    expect(await sync('--prune')).toMatchObject({ code: 1 });
    expect(there('a')).toHaveLength(1);
    rmSync(join(dir, 'c.yaml'));
    // An empty directory is a mistake, whatever is said.
    expect((await sync('--prune-all')).err).toMatch(/there is no AccessPolicy or IdentityRule/);
    file('c.yaml', policy('c'));
    expect(await sync('--prune-all')).toMatchObject({ code: 0 });
    expect([there('a'), there('b'), there('c')].map(({ length }) => length)).toEqual([0, 0, 1]);
  });

  test('takes what is the same on both sides as its own, and leaves its stage alone', async () => {
    await applyThere('a', ['/a']);
    await api.serving.enforcing.rollouts.move('local:somebody', idOf('a'), 'shadow');
    file('a.yaml', policy('a'));
    expect((await sync()).value.applied).toEqual([]);
    expect(api.serving.enforcing.rollouts.get(idOf('a')).stage).toBe('shadow');
    file('a.yaml', policy('a', ['/new']));
    expect(await states()).toEqual({ a: 'changed-here' });
  });

  test('keeps rules for identities as well, all or none', async () => {
    file('r.yaml', `${rule('one')}---\n${rule('two')}`);
    expect((await sync()).value.applied).toMatchObject([{ created: ['one', 'two'] }]);
    file('r.yaml', rule('one').replace('/x/', '/y/'));
    expect(await states()).toEqual({ one: 'changed-here', two: 'gone-here' });
    expect((await sync('--prune')).value.applied).toMatchObject([{ changed: ['one'], removed: ['two'] }]);
    expect(await states()).toEqual({});
  });
});

describe('Proxy documents of Envoys', () => {
  const proxy = (name: string, port: number) => `apiVersion: interlock.dev/v1alpha1
kind: Proxy
metadata: { name: ${name} }
spec:
  workload: ${idOf(name)}
  inbound: [ { listen: "0.0.0.0:${port}", forward: "127.0.0.1:8080", protocol: http } ]
`;
  const known = (name: string) => api.serving.enforcing.documents.all.get(idOf(name));

  test('are files of proxies, unless somebody says that they are for Envoys: then both sides are compared and applied', async () => {
    file('a.yaml', policy('a'));
    file('proxies.yaml', `${proxy('a', 8443)}---\n${proxy('b', 8444)}`);
    file('own.yaml', proxy('c', 8445).replace(/ {2}workload: .*\n/, ''));
    expect(await states()).toEqual({ a: 'only-here' });
    expect((await run('sync', dir)).err.replaceAll('\n', ' ')).toContain(
      '3 of kind Proxy (for "interlock proxy"; --envoy syncs those that name a workload, for its Envoys)',
    );
    expect(known('a')).toBeUndefined();
    const envoy = (...args: string[]) => sync('--envoy', ...args);
    expect((await envoy('--check')).value).toMatchObject({
      drift: [{ kind: 'Proxy', state: 'only-here' }, { kind: 'Proxy' }],
      others: { Proxy: 1 },
    });
    expect((await envoy()).value.applied).toMatchObject([
      { kind: 'Proxy', created: [idOf('a')] },
      { kind: 'Proxy', created: [idOf('b')] },
    ]);
    expect(known('a')?.origin).toMatchObject({ source: 'acme/policies//', file: 'proxies.yaml' });
    expect((await envoy('--check')).code).toBe(0);
    // Somebody gives it by hand: that is not gone over, and not the sync's any more.
    file('hand.yml.txt', proxy('a', 9000));
    expect((await run('envoy', 'apply', join(dir, 'hand.yml.txt'))).code).toBe(0);
    expect(await states('--envoy')).toEqual({ [idOf('a')]: 'unknown' });
    expect((await run('sync', dir, '--envoy', '--check')).out).toContain('~ inbound:');
    expect(await envoy()).toMatchObject({ code: 1, value: { applied: [], refused: [idOf('a')] } });
    file('proxies.yaml', proxy('a', 8443));
    expect((await envoy('--overwrite', '--prune')).value.applied).toMatchObject([
      { changed: [idOf('a')] },
      { removed: [idOf('b')] },
    ]);
    expect([known('a')?.text.includes('8443'), known('b')]).toEqual([true, undefined]);
    await api.serving.enforcing.documents.remove('local:test', idOf('a'));
  });

  test('that somebody changes between the look and the change are a conflict', async () => {
    file('a.yaml', proxy('a', 8443));
    const { documents } = api.serving.enforcing;
    const real = documents.apply.bind(documents);
    documents.apply = async (...args) => {
      documents.apply = real;
      await real('local:somebody', proxy('a', 9000), 'hand');
      return real(...args);
    };
    expect(await sync('--envoy')).toMatchObject({ code: 1, value: { conflicts: [{ subject: idOf('a') }] } });
    expect(known('a')?.text).toContain('9000');
    await documents.remove('local:test', idOf('a'));
  });
});

describe('proposals', () => {
  // Before anything is observed: what was once seen is proposed anew as soon as its policy is gone.
  test('what was decided there comes into the file of its policy, and other documents of the file stay as they are', async () => {
    const pay = policy('pay').replace('  rules:', '  rules:   # odd   spacing');
    file('all.yaml', `# head\n---\n${pay}---\n${policy('mail')}`);
    await sync();
    await applyThere('mail', ['/a', '/theirs']);
    expect((await sync('--write-proposals')).value.written).toMatchObject([
      { file: 'all.yaml', rules: ['web'] },
    ]);
    const all = read('all.yaml');
    expect(all).toContain(`# head\n---\n${pay}---\n`);
    expect(all).toContain('# why the web may');
    expect(all).toContain('/theirs');
    expect(await states()).toEqual({});
    // And from now on it is known as synced.
    await sync();
    file('all.yaml', all.replace('/theirs', '/mine'));
    expect(await states()).toEqual({ mail: 'changed-here' });
  });

  /** Has the proxy of the cart report calls, and waits until they are proposed. */
  async function observe(report: number, calls: Readonly<Record<string, bigint>>): Promise<void> {
    const { estate, reviews } = api.serving.api;
    const at = realTimers.now() - 1000;
    const http = (path: string, ok: bigint) =>
      accessAt(at, { action: { kind: 'http', port: 80, name: 'GET', text: path }, ok });
    // The estate is made anew for other things as well.
    const seen = Promise.withResolvers<void>();
    const isThere = (path: string) =>
      estate.current.graph.accesses.some(({ action }) => action.kind === 'http' && action.path === path);
    const stop = estate.onChange(() => {
      if (Object.keys(calls).every(isThere)) seen.resolve();
    });
    const accesses = Object.entries(calls).map(([path, ok]) => http(path, ok));
    await api.serving.enforcing.evidence.take(reporterOf(), reportOf(report, { accesses }));
    await seen.promise;
    stop();
    await reviews.refresh(cart);
  }

  test('become files: comments and order stay, evidence is a comment, and after a sync there is no drift', async () => {
    // What is in doubt alone makes no policy: one without a rule would deny everything.
    await observe(1, { '/once': 1n });
    expect((await sync('--write-proposals')).value.written).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
    await observe(2, { '/items': 5n });
    const first = await sync('--write-proposals');
    expect(first).toMatchObject({ code: 0, value: { written: [{ file: 'shop.cart.yaml', isNew: true }] } });
    expect(first.err).toMatch(/1 change of .*sa\/cart left out, because in doubt/);
    expect(read('shop.cart.yaml')).toMatch(/# proposed \d{4}-\d\d-\d\d: 5 calls on 1 day from 1 instance/);
    expect(read('shop.cart.yaml')).not.toContain('evidence:');
    expect(api.serving.enforcing.rollouts.all.get(cart)?.target ?? []).toEqual([]);
    expect((await sync()).code).toBe(0);
    expect(await states()).toEqual({});
    await api.serving.api.reviews.refresh(cart);
    // The owner writes into the file, and a rule is proposed beside that.
    const written = read('shop.cart.yaml');
    file(
      'shop.cart.yaml',
      `# ours\n${written.replace('  tier: standard', '  tier: critical # because of cards')}`,
    );
    expect((await sync('--write-proposals', '--doubts')).value.written).toMatchObject([
      { file: 'shop.cart.yaml', isNew: false },
    ]);
    const both = read('shop.cart.yaml');
    expect(both).toContain('# ours\n');
    expect(both).toContain('tier: critical # because of cards');
    expect(both).toContain('/once');
    expect(both).toMatch(/# in doubt: .*seen once/);
    for (const line of written
      .split('\n')
      .filter((each) => !each.includes('tier:') && !each.includes('/items')))
      expect(both).toContain(line);
    expect((await sync()).code).toBe(0);
    expect(await states()).toEqual({});
    await api.serving.api.reviews.refresh(cart);
    expect((await sync('--write-proposals', '--doubts')).value.written).toEqual([]);
  });
});

describe('a hostile directory', () => {
  test('is not left through links, is not waited for, and is not pruned by halves', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'interlock-outside-'));
    writeFileSync(join(outside, 'evil.yaml'), policy('evil'));
    symlinkSync(join(outside, 'evil.yaml'), join(dir, 'evil.yaml'));
    symlinkSync(outside, join(dir, 'below'));
    execFileSync('sh', ['-c', 'mkfifo "$@"', 'sh', join(dir, 'fifo.yaml'), join(dir, '.git')]);
    file('a.yaml', policy('a'));
    const { code, err, value } = await sync('--check');
    expect(code).toBe(3);
    expect(value).toMatchObject({ drift: [{ name: 'a' }] });
    expect(value.commit).toBeUndefined();
    expect(value.leftOut.map(({ path }: { path: string }) => path)).toEqual([
      'below',
      'evil.yaml',
      'fifo.yaml',
    ]);
    expect(err).toBe('');
    expect((await sync('--prune')).err).toMatch(
      /nothing is pruned while a part of the directory is left out/,
    );
    rmSync(outside, { recursive: true });
  });

  test.each([
    [
      'a file of 100 MB',
      () => (file('big.yaml', ''), truncateSync(join(dir, 'big.yaml'), 100e6)),
      /larger than 4 MiB/,
    ],
    [
      'a YAML bomb',
      () => file('a.yaml', `${policy('a')}  connectionGrace: &a [*a, *a]\n`),
      /a\.yaml:\d+: .*(alias|anchor)/,
    ],
    [
      'brackets without an end',
      () => file('a.yaml', `kind: AccessPolicy\na: ${'['.repeat(100_000)}`),
      /nested deeper|not valid YAML/,
    ],
    ['braces without an end', () => file('a.yaml', '{'.repeat(200_000)), /no AccessPolicy/],
    [
      'a file that is no text',
      () => writeFileSync(join(dir, 'a.yaml'), Buffer.from([0x61, 0xff])),
      /a\.yaml is not UTF-8/,
    ],
    [
      'two policies of one name',
      () => (file('a.yaml', policy('a')), file('b/a.yaml', policy('a'))),
      /both hold "a"/,
    ],
    [
      'a kind that is mistyped',
      () => file('a.yaml', policy('a').replace('AccessPolicy', 'AccesPolicy')),
      /a\.yaml:1: there is no\s+kind "AccesPolicy"/,
    ],
    ['directories without an end', () => file(`${'d/'.repeat(30)}a.yaml`, policy('a')), /deeper than 16/],
  ])('%s is refused, with the reason', async (_, make, said) => {
    make();
    const { code, err } = await run('sync', dir);
    expect(code).toBe(1);
    expect(err.replaceAll('\n', ' ')).toMatch(said);
    expect(api.serving.enforcing.rollouts.all.get(idOf('a'))?.target ?? []).toEqual([]);
  });

  test('of Git names no commit by files that lead elsewhere', async () => {
    file('a.yaml', policy('a'));
    file('.git/HEAD', 'ref: refs/heads/../../../secret\n');
    file('secret', '0123456789abcdef0123456789abcdef01234567');
    expect((await sync('--check')).value.commit).toBeUndefined();
  });

  test('documents are found however they are written', async () => {
    const json = JSON.stringify(readPolicies(policy('json'))[0]);
    file(
      'a.yaml',
      `# one\n${json}\n--- # two\n${policy('marked')}...\n---\n${policy('indented').replaceAll(/^(?=.)/gm, '  ')}`,
    );
    file('b.yaml', `\ufeff${rule('b')}`);
    file('c.yml', rule('c').replaceAll('\n', '\r\n'));
    file('.hidden/d.yaml', policy('hidden'));
    file('doubts.yaml', '- id: 1\n');
    expect(Object.keys(await states()).toSorted()).toEqual(['b', 'c', 'indented', 'json', 'marked']);
  });

  test('documents of others are left out and counted', async () => {
    file(
      'a.yaml',
      `${policy('a')}---\nkind: Deployment\nmetadata: &x { name: a }\nother: *x\n---\nreplicas: 3\n`,
    );
    expect((await sync('--check')).value.others).toEqual({ Deployment: 1, 'no kind': 1 });
  });

  test('files that a control plane is started with are named, with the option that takes them', async () => {
    file('a.yaml', policy('a'));
    file('gates.yaml', 'critical: { days: 30 }\ncanary: { steps: [0.5, 1] }\n');
    file('notify.yaml', '# who\nchannels:\n  - { name: ops }\n');
    file('sign-in.yaml', 'oidc: { issuer: x }\nroles: []\n');
    file('OWNERS', '* alice\n');
    file('a.test.yaml', 'apiVersion: interlock.dev/v1alpha1\nkind: PolicyTest\n');
    file('values.yaml', 'replicas: 3\n');
    const { value } = await sync('--check');
    expect(
      value.configuration.map(({ path, option }: { path: string; option: string }) => [path, option]),
    ).toEqual([
      ['OWNERS', '--owners'],
      ['gates.yaml', '--gates'],
      ['notify.yaml', '--notify'],
      ['sign-in.yaml', '--sign-in'],
    ]);
    const { err } = await run('sync', dir, '--check');
    expect(err.replaceAll('\n', ' ')).toMatch(/Not synced: gates\.yaml, gates: .* "interlock up --gates"/);
    expect(err.replaceAll('\n', ' ')).toContain(
      'Not synced: 1 of kind PolicyTest (for "interlock test"), 1 without a kind.',
    );
  });

  test('is not written through links, nor over what is new or changed', () => {
    const outside = mkdtempSync(join(tmpdir(), 'interlock-outside-'));
    symlinkSync(outside, join(dir, 'below'));
    file('a.yaml', 'one');
    const root = realpathSync(dir);
    expect(() => writeBelow(root, 'below/a.yaml', 'x', undefined)).toThrow(/is not below/);
    expect(() => writeBelow(root, 'a.yaml', 'x', undefined)).toThrow(/is there already/);
    expect(() => writeBelow(root, 'a.yaml', 'x', 'two')).toThrow(/was changed meanwhile/);
    symlinkSync(join(outside, 'b.yaml'), join(dir, 'b.yaml'));
    expect(() => writeBelow(root, 'b.yaml', 'x', undefined)).toThrow(/is there already/);
    expect(readdirSync(outside)).toEqual([]);
    expect(readdirSync(dir).toSorted()).toEqual(['a.yaml', 'b.yaml', 'below']);
    expect(read('a.yaml')).toBe('one');
    rmSync(outside, { recursive: true });
  });
});
