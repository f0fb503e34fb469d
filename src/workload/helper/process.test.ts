import { type ChildProcess, spawn } from 'node:child_process';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { main } from '../../cli/cli.ts';
import { Terminal } from '../../cli/terminal.ts';
import { FakeWorkloadApi, TestAuthority } from '../testing.ts';

const MAIN = fileURLToPath(new URL('../../cli/main.ts', import.meta.url));
const root = new TestAuthority('example.org');

let base: string;
let dir: string;
let api: FakeWorkloadApi;
const running = new Set<ChildProcess>();

beforeEach(async () => {
  base = mkdtempSync(join(tmpdir(), 'process-'));
  dir = join(base, 'identity');
  api = await new FakeWorkloadApi(join(base, 'agent.sock')).start();
});

afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
  running.clear();
  api.stop();
  rmSync(base, { recursive: true });
});

interface Running {
  readonly child: ChildProcess;
  readonly out: () => string;
  readonly err: () => string;
  readonly ended: Promise<number | NodeJS.Signals | null>;
}

/** Starts `interlock helper` as a process of its own. */
function start(...args: string[]): Running {
  const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: api.endpoint };
  const child = spawn(process.execPath, [MAIN, 'helper', ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let out = '';
  let err = '';
  child.stdout.on('data', (bytes: Buffer) => (out += String(bytes)));
  child.stderr.on('data', (bytes: Buffer) => (err += String(bytes)));
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal);
    }),
  );
  return { child, out: () => out, err: () => err, ended };
}

function set(path: string): void {
  api.set({ svids: [root.svid(path)], bundles: [root.bundle()] });
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise(setImmediate);
}

/** The ID in the set that counts, if its key and certificate belong together. */
function held(): string | undefined {
  const folder = join(dir, readlinkSync(join(dir, '..data')));
  const leaf = new X509Certificate(readFileSync(join(folder, 'svid.pem')));
  const key = createPrivateKey(readFileSync(join(folder, 'svid_key.pem')));
  return leaf.checkPrivateKey(key) ? leaf.subjectAltName : undefined;
}

describe('interlock helper as a process', () => {
  it('--once writes, runs the command and ends with 0', async () => {
    set('/web');
    const { ended, out } = start(
      '--dir',
      dir,
      '--once',
      '--',
      process.execPath,
      '-e',
      'console.log("reloaded")',
    );
    expect(await ended).toBe(0);
    expect(held()).toBe('URI:spiffe://example.org/web');
    expect(out()).toContain('reloaded');
  });

  it('--once ends with the exit code of its command', async () => {
    set('/web');
    const { ended } = start('--dir', dir, '--once', '--', process.execPath, '-e', 'process.exit(9)');
    expect(await ended).toBe(9);
    const missing = start('--dir', dir, '--once', '--json', '--', join(base, 'nothing'));
    expect(await missing.ended).toBe(127);
    expect(missing.err()).toContain('nothing could not be started: there is no such program');
    const nobody = start('--dir', dir, '--once', '--signal', 'HUP', '--pid', String(2 ** 22 + 1));
    expect(await nobody.ended).toBe(1);
  });

  it('--once --json prints one object', async () => {
    set('/web');
    const { ended, out } = start('--dir', dir, '--once', '--json');
    expect(await ended).toBe(0);
    expect(JSON.parse(out())).toMatchObject({
      spiffeId: 'spiffe://example.org/web',
      files: ['svid.pem', 'svid_key.pem', 'bundle.pem'].map((name) => `${dir}/${name}`),
    });
  });

  it('--once ends with 1 and a reason where no agent answers', async () => {
    api.stop();
    const { ended, err } = start('--dir', dir, '--once', '--timeout', '0.5');
    expect(await ended).toBe(1);
    expect(err()).toContain('does not answer');
    expect(err()).toContain('no identity within 0.5 s');
  });

  it('--init waits for the agent, writes, and ends without running the command', async () => {
    api.stop();
    const { ended, err, out } = start(
      '--dir',
      dir,
      '--init',
      '--',
      process.execPath,
      '-e',
      'console.log("never")',
    );
    await until(() => err().includes('does not answer'));
    await api.start();
    set('/late');
    expect(await ended).toBe(0);
    expect(held()).toBe('URI:spiffe://example.org/late');
    expect(out()).not.toContain('never');
  });

  it.each([
    [['--once'], 'say where the files go, with --dir DIR'],
    [['--dir', 'x', '--pkcs12', 'a.p12'], '--password-file'],
    [['--dir', 'x', '--once', '--init'], 'cannot be used with'],
    [['--dir', 'x', '--endpoint', '/run/agent.sock'], 'no Workload API endpoint'],
    [['--dir', 'x', '--pid', 'one'], 'no number'],
    [['--dir', 'x', '--key-mode', '0777'], 'keyMode'],
    [['--dir', 'x', '--jwt', 'nothing'], 'AUDIENCE=FILE'],
    [['--dir', 'x', '--signal', 'HUP'], 'exactly one of'],
  ])('%j is misuse, and ends with 2', async (args, why) => {
    const out = new PassThrough();
    const err = new PassThrough();
    const context = { terminal: new Terminal(out, err, {}), now: Date.now };
    expect(await main(['helper', ...args], context)).toBe(2);
    expect(String(err.read()).replaceAll(/\s+/g, ' ')).toContain(why);
  });

  it("takes a configuration file with spiffe-helper's names", async () => {
    set('/web');
    const file = join(base, 'helper.json');
    writeFileSync(
      file,
      JSON.stringify({
        agent_address: join(base, 'agent.sock'),
        cert_dir: dir,
        daemon_mode: false,
        svid_file_name: 'svid.pem',
      }),
    );
    const { ended } = start('--config', file);
    expect(await ended).toBe(0);
    expect(held()).toBe('URI:spiffe://example.org/web');
  });

  it('goes on through a restart of the agent, and ends with 0 on SIGTERM', async () => {
    set('/one');
    const { child, ended, out, err } = start('--dir', dir);
    await until(() => out().includes('/one'));
    api.stop();
    await until(() => err() !== '');
    await api.start();
    set('/two');
    await until(() => out().includes('/two'));
    expect(held()).toBe('URI:spiffe://example.org/two');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  it('killed with SIGKILL while it writes leaves a whole set, and the next one goes on', async () => {
    set('/start');
    for (let round = 0; round < 3; round++) {
      const { child, ended, out } = start('--dir', dir);
      await until(() => out().includes('wrote'));
      // Renewals faster than they are written: one is always on its way.
      for (let n = 0; n < 20 + round; n++) set(`/round-${round}/n-${n}`);
      await until(() => out().includes(`/round-${round}/`));
      child.kill('SIGKILL');
      expect(await ended).toBe('SIGKILL');
      expect(held()).toMatch(/^URI:spiffe:\/\/example.org\//);
    }
    set('/end');
    const { ended } = start('--dir', dir, '--once');
    expect(await ended).toBe(0);
    expect(held()).toBe('URI:spiffe://example.org/end');
  });
});
