import { createPrivateKey, X509Certificate } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type InterlockError, parseSpiffeId } from '../../access/index.ts';
import { FakeWorkloadApi, TestAuthority, TestClock } from '../testing.ts';
import { helperConfig } from './config.ts';
import { federatedName } from './files.ts';
import type { Health } from './health.ts';
import { Helper } from './helper.ts';

const root = new TestAuthority('example.org');
const other = new TestAuthority('other.example');

let base: string;
let dir: string;
let api: FakeWorkloadApi;
let clock: TestClock;
let notes: string[];
let errors: InterlockError[];
const helpers: Helper[] = [];

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'helper-'));
  dir = join(base, 'identity');
  api = await new FakeWorkloadApi(join(base, 'agent.sock')).start();
  clock = new TestClock();
  notes = [];
  errors = [];
});

afterEach(async () => {
  for (const helper of helpers.splice(0)) await helper.close();
  api.stop();
  rmSync(base, { recursive: true });
});

function helper(options: Record<string, unknown> = {}): Helper {
  const config = helperConfig({ endpoint: api.endpoint, dir }, options);
  const events = {
    onNote: (text: string) => notes.push(text),
    onError: (error: InterlockError) => errors.push(error),
  };
  const made = new Helper(config, events, clock);
  helpers.push(made);
  return made;
}

const text = (name: string) => readFileSync(join(dir, name), 'utf8');
const state = (path: string) => ({ svids: [root.svid(path)], bundles: [root.bundle(), other.bundle()] });

/** The ID that the written certificate names, if the written key is its key. */
function written(): string | undefined {
  // As a reader does who may meet a change: the folder is resolved once.
  const set = readlinkSync(join(dir, '..data'));
  const leaf = new X509Certificate(text(join(set, 'svid.pem')));
  expect(leaf.checkPrivateKey(createPrivateKey(text(join(set, 'svid_key.pem'))))).toBe(true);
  return leaf.subjectAltName?.replace('URI:', '');
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

describe('a helper', () => {
  it('writes certificate, key and bundle once', async () => {
    api.set(state('/web'));
    const { names, spiffeId } = await helper().writeOnce();
    expect(names).toEqual(['svid.pem', 'svid_key.pem', 'bundle.pem']);
    expect(spiffeId).toBe('spiffe://example.org/web');
    expect(written()).toBe('spiffe://example.org/web');
    expect(new X509Certificate(text('bundle.pem')).raw.equals(root.certificate.der)).toBe(true);
    expect(
      readdirSync(dir)
        .filter((name) => !name.startsWith('..'))
        .toSorted(),
    ).toEqual(['bundle.pem', 'svid.pem', 'svid_key.pem']);
  });

  it('writes every other form that is asked for', async () => {
    const area = root.child(['/area/']);
    const svid = area.svid('/area/web', {}, 'mine');
    api.set({ svids: [root.svid('/first'), svid], bundles: [root.bundle(), other.bundle()] });
    api.tokens = ({ audience }) => ({ spiffeId: svid.spiffeId, svid: root.token('/area/web', audience) });
    writeFileSync(join(base, 'password'), 'changeit\n');
    await helper({
      hint: 'mine',
      combined: 'all.pem',
      pkcs12: { file: 'web.p12', passwordFile: join(base, 'password') },
      federated: true,
      jwt: [{ audience: ['db', 'cache'], file: 'db.jwt' }],
      jwtBundle: 'jwks.json',
      keyMode: '0640',
    }).writeOnce();
    expect(text('svid.pem').match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(text('all.pem')).toBe(text('svid_key.pem') + text('svid.pem'));
    expect(new X509Certificate(text('bundle.other.example.pem')).raw.equals(other.certificate.der)).toBe(
      true,
    );
    expect(text('bundle.pem').match(/BEGIN/g)).toHaveLength(1);
    expect(JSON.parse(Buffer.from(text('db.jwt').split('.')[1] ?? '', 'base64url').toString())).toMatchObject(
      {
        sub: 'spiffe://example.org/area/web',
        aud: ['cache', 'db'],
      },
    );
    expect(JSON.parse(text('jwks.json'))).toMatchObject({ keys: [{ kid: root.signer.keyId }] });
    const p12 = execFileSync(
      'openssl',
      ['pkcs12', '-in', join(dir, 'web.p12'), '-passin', 'pass:changeit', '-nodes'],
      {
        encoding: 'utf8',
      },
    );
    expect(p12.match(/BEGIN CERTIFICATE/g)).toHaveLength(2);
    expect(p12).toContain('BEGIN PRIVATE KEY');
  });

  it('writes the revocation lists as PEM, and no file while there are none', async () => {
    const revoked = root.svid('/gone');
    api.set({ ...state('/one'), crls: [root.crl(revoked), other.crl()] });
    await helper({ crl: 'crl.pem' }).run();
    expect(text('crl.pem').match(/BEGIN X509 CRL/g)).toHaveLength(2);
    const shown = execFileSync('openssl', ['crl', '-in', join(dir, 'crl.pem'), '-noout', '-text'], {
      encoding: 'utf8',
    });
    const serial = revoked.chain[0]?.serial.toUpperCase() ?? '';
    expect(shown.replaceAll(/\s/g, '')).toContain(serial);
    api.set(state('/two'));
    await until(() => written() === 'spiffe://example.org/two' && !existsSync(join(dir, 'crl.pem')));
  });

  it('puts intermediates where spiffe-helper would with add_intermediates_to_bundle', async () => {
    const svid = root.child().svid('/web');
    api.set({ svids: [svid], bundles: [root.bundle()] });
    await helper({ add_intermediates_to_bundle: true }).writeOnce();
    expect(text('svid.pem').match(/BEGIN/g)).toHaveLength(1);
    expect(text('bundle.pem').match(/BEGIN/g)).toHaveLength(2);
  });

  it('writes each renewal and then runs the command, but not for what it holds already', async () => {
    api.set(state('/one'));
    const log = join(base, 'log');
    const script = 'require("fs").appendFileSync(process.argv[1], "renewed\\n")';
    await helper({ command: [process.execPath, '-e', script, log] }).run();
    const runs = () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').length - 1 : 0);
    await until(() => runs() === 1);
    const two = state('/two');
    api.set(two);
    await until(() => runs() === 2);
    expect(written()).toBe('spiffe://example.org/two');
    api.set(two);
    api.set(state('/three'));
    await until(() => runs() === 3);
    expect(written()).toBe('spiffe://example.org/three');
    await until(() => notes.filter((note) => note.includes('ended with 0')).length === 3);
    expect(notes.filter((note) => note.startsWith('wrote'))).toHaveLength(3);
  });

  it('renews tokens at half their life', async () => {
    api.set(state('/web'));
    let issued = 0;
    api.tokens = ({ audience }) => {
      issued += 1;
      const now = new TestAuthority('example.org', { now: clock.now });
      return {
        spiffeId: parseSpiffeId('spiffe://example.org/web'),
        svid: now.token('/web', audience, 300_000),
      };
    };
    await helper({ jwt: [{ audience: 'db', file: 'db.jwt' }] }).run();
    const first = text('db.jwt');
    clock.advance(149_000);
    await new Promise(setImmediate);
    expect(issued).toBe(1);
    clock.advance(2_000);
    await until(() => text('db.jwt') !== first);
    expect(issued).toBe(2);
  });

  it('replaces tokens when the certificate is replaced, and when their key is gone from the bundle', async () => {
    const [a, b] = [0, 1].map(() => new TestAuthority('example.org', { now: clock.now }));
    if (a === undefined || b === undefined) throw new TypeError('there are two');
    let signer = a;
    api.tokens = ({ audience }) => ({
      spiffeId: parseSpiffeId('spiffe://example.org/web'),
      svid: signer.token('/web', audience),
    });
    const keys = (...all: TestAuthority[]) => ({
      ...root.bundle(),
      jwtAuthorities: all.flatMap((each) => each.bundle().jwtAuthorities),
    });
    const kid = () =>
      (JSON.parse(Buffer.from(text('db.jwt').split('.')[0] ?? '', 'base64url').toString()) as { kid: string })
        .kid;
    const svid = root.svid('/web');
    api.set({ svids: [svid], bundles: [keys(a, b)] });
    await helper({ jwt: [{ audience: 'db', file: 'db.jwt' }] }).run();
    expect(kid()).toBe(a.signer.keyId);
    // Tainted: both keys are trusted still, and the agent replaces what the old authority signed.
    signer = b;
    api.set({ svids: [root.svid('/web')], bundles: [keys(a, b)] });
    await until(() => kid() === b.signer.keyId);
    // Revoked: the certificate stays.
    signer = a;
    api.set({ svids: [svid], bundles: [keys(a, b)] });
    await until(() => kid() === a.signer.keyId);
    signer = b;
    api.set({ svids: [svid], bundles: [keys(b)] });
    await until(() => kid() === b.signer.keyId);
  });

  it('writes certificates where tokens cannot be had any more, and says so', async () => {
    api.set(state('/one'));
    api.tokens = ({ audience, spiffeId }) => ({
      spiffeId: parseSpiffeId(spiffeId),
      svid: new TestAuthority('example.org', { now: clock.now }).token('/one', audience, 300_000),
    });
    const running = helper({ jwt: [{ audience: 'db', file: 'db.jwt' }] });
    await running.run();
    const token = text('db.jwt');
    api.tokens = undefined;
    clock.advance(400_000);
    await until(() => errors.length > 0);
    api.set(state('/two'));
    await until(() => written() === 'spiffe://example.org/two');
    expect(text('db.jwt')).toBe(token);
    expect(running.health).toMatchObject({
      ready: false,
      error: expect.stringContaining('Workload API') as string,
    });
  });

  it('keeps the old set where a new one cannot be written, and tries again', async () => {
    api.set(state('/one'));
    const running = helper();
    await running.run();
    // A folder in the way of a name makes the change fail after the files were written.
    rmSync(join(dir, '..data'));
    mkdirSync(join(dir, '..data'));
    writeFileSync(join(dir, '..data', 'x'), '');
    api.set(state('/two'));
    await until(() => errors.length > 0);
    expect(errors[0]).toMatchObject({ code: 'io' });
    expect(running.health).toMatchObject({ ready: false });
    rmSync(join(dir, '..data'), { recursive: true });
    clock.advance(2_000);
    await until(() => running.health.ready);
    expect(written()).toBe('spiffe://example.org/two');
  });

  it('tells its health by file and by HTTP', async () => {
    api.refusal = { code: status.PERMISSION_DENIED, details: 'not yet' };
    const file = join(base, 'health.json');
    const running = helper({ healthFile: file, healthPort: 0 });
    const started = running.run();
    await until(() => existsSync(file) && errors.length > 0);
    const port = Number(/127\.0\.0\.1:(\d+)/.exec(notes[0] ?? '')?.[1]);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ ready: false, spiffeId: null, writes: 0 });
    expect([await ask(port, '/live'), await ask(port, '/ready'), await ask(port, '/x')]).toEqual([
      200, 503, 404,
    ]);
    api.refusal = undefined;
    api.set(state('/web'));
    clock.advance(2_000);
    await started;
    expect(await ask(port, '/ready')).toBe(200);
    expect(await ask(port, '/ready', 'POST')).toBe(405);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      ready: true,
      spiffeId: 'spiffe://example.org/web',
      writes: 1,
    });
    clock.advance(3_700_000);
    expect(await ask(port, '/ready')).toBe(503);
    expect(await ask(port, '/live')).toBe(200);
  });

  describe('is not ready', () => {
    const file = () => join(base, 'health.json');
    const told = () => JSON.parse(readFileSync(file(), 'utf8')) as Health;

    it('once its identity was taken away, until it is given back', async () => {
      api.set(state('/web'));
      const running = helper({ healthFile: file() });
      await running.run();
      expect(running.health).toMatchObject({ ready: true, agent: 'answers', error: null });
      api.refusal = { code: status.PERMISSION_DENIED, details: 'no identity issued' };
      api.end({ code: status.PERMISSION_DENIED, details: 'no identity issued' });
      await until(() => !told().ready);
      const error = expect.stringContaining('no identity is registered') as string;
      expect(told()).toMatchObject({ ready: false, agent: 'answers', error });
      expect(running.health).toEqual(told());
      api.refusal = undefined;
      clock.advance(3_000);
      await until(() => told().ready);
      expect(told().error).toBeNull();
    });

    it('where an update holds no identity of its own any more', async () => {
      api.set(state('/web'));
      const running = helper();
      await running.run();
      api.sendRaw(api.message({ svids: [], bundles: [root.bundle()] }));
      await until(() => !running.health.ready);
      expect(running.health.error).toContain('without an identity');
    });

    it('when the certificate has ended while the agent was away, and not before', async () => {
      api.set(state('/web'));
      const running = helper({ healthFile: file() });
      await running.run();
      api.stop();
      await until(() => told().agent === 'away');
      const error = expect.stringContaining('the Workload API at') as string;
      expect(told()).toMatchObject({ ready: true, agent: 'away', error });
      clock.advance(3_700_000);
      await until(() => !told().ready);
      expect(told().error).toMatch(/^the certificate of .*\/web ended at .*Z: the Workload API at/);
    });
  });

  it('never shows a key or a token in what it says', async () => {
    api.set(state('/web'));
    api.tokens = ({ audience }) => ({
      spiffeId: parseSpiffeId('spiffe://example.org/web'),
      svid: root.token('/web', audience),
    });
    await helper({ jwt: [{ audience: 'db', file: 'db.jwt' }] }).run();
    const said = [...notes, ...errors.map(({ message }) => message)].join('\n');
    expect(said).not.toContain(text('db.jwt').slice(0, 20));
    expect(said).not.toContain('PRIVATE');
  });

  it('stops in the middle of its wait for the agent', async () => {
    api.stop();
    const running = helper();
    const started = running.run();
    await until(() => errors.length > 0);
    await running.close();
    await expect(started).rejects.toMatchObject({ name: 'AbortError' });
    expect(clock.next).toBeUndefined();
  });
});

describe('the file of a federated bundle', () => {
  it("is never too long, and never another domain's", () => {
    const long = [1, 2].map((n) => federatedName('bundle.pem', `${'a'.repeat(250)}${n}`));
    expect(new Set(long).size).toBe(2);
    expect(long.map((name) => name.length)).toEqual([200, 200]);
    expect(long[0]).toMatch(/\.pem$/);
  });

  it.each([
    ['bundle.pem', 'other.example', 'bundle.other.example.pem'],
    ['ca', 'other.example', 'ca.other.example'],
  ])('beside %s for %s is %s', (file, trustDomain, name) =>
    expect(federatedName(file, trustDomain)).toBe(name),
  );
});

function ask(port: number, path: string, method = 'GET'): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request({ port, host: '127.0.0.1', path, method, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}
