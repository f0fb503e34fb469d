import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MAIN = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url));
const SECRET = /#([A-Za-z0-9_-]{43})/;

let dir: string;
const started: ChildProcess[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'interlock-up-'));
});
afterEach(async () => {
  for (const child of started.splice(0)) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }
  rmSync(dir, { recursive: true, force: true });
});

interface Run {
  readonly child: ChildProcess;
  out: string;
  err: string;
  readonly ended: Promise<number | null>;
}

function run(args: readonly string[]): Run {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.push(child);
  const ended = once(child, 'close').then(([code]: (number | null)[]) => code ?? null);
  const one: Run = { child, out: '', err: '', ended };
  child.stdout.on('data', (chunk) => (one.out += String(chunk)));
  child.stderr.on('data', (chunk) => (one.err += String(chunk)));
  return one;
}

/** Waits until the output has what fits. */
async function until(one: Run, pattern: RegExp): Promise<RegExpExecArray> {
  for (;;) {
    const found = pattern.exec(one.out);
    if (found !== null) return found;
    if (one.child.exitCode !== null) throw new Error(`it has ended: ${one.err}`);
    await Promise.race([one.child.stdout && once(one.child.stdout, 'data'), one.ended]);
  }
}

/** Without the breaks that make it fit a terminal. */
const oneLine = (text: string) => text.replaceAll(/\s+/g, ' ');
const anyPorts = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'];

test('one command sets a trust domain up and serves it; its link signs in; SIGTERM ends it and its streams', async () => {
  const state = join(dir, 'state');
  const up = run(['up', '--state', state, '--trust-domain', 'example.org', ...anyPorts]);
  const [, secret] = await until(up, SECRET);
  const [, origin = ''] = await until(up, /(http:\/\/127\.0\.0\.1:\d+)/);
  const answer = await fetch(`${origin}/v1/sign-in/link`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', origin },
    body: JSON.stringify({ secret }),
  });
  expect(answer.status).toBe(200);
  const cookie = answer.headers.getSetCookie()[0]?.split(';')[0] ?? '';
  const status = await fetch(`${origin}/v1/status`, { headers: { cookie } });
  expect(await status.json()).toMatchObject({ trustDomain: 'example.org' });

  const [, another = ''] = await until(up, /Another link: interlock (.+)\n/);
  const link = run(another.split(' '));
  expect(await link.ended).toBe(0);
  expect(link.out).toMatch(SECRET);

  const stream = await fetch(`${origin}/v1/events`, { headers: { cookie } });
  up.child.kill('SIGTERM');
  expect(await stream.text()).toContain('retry: 1000');
  expect(await up.ended).toBe(0);

  // The same state serves again, and needs no name; another name is refused.
  const other = run(['up', '--state', state, '--trust-domain', 'other.example', ...anyPorts]);
  expect([await other.ended, other.err]).toEqual([
    1,
    expect.stringContaining('holds the trust domain example.org'),
  ]);
  const again = run(['up', '--state', state, ...anyPorts, '--json']);
  expect(await until(again, /"trustDomain":"example\.org"/)).toBeDefined();
});

test('without a name there is nothing to set up, and nothing is', async () => {
  const up = run(['up', '--state', join(dir, 'state'), ...anyPorts]);
  expect(await up.ended).toBe(2);
  expect([oneLine(up.err), existsSync(join(dir, 'state'))]).toEqual([
    expect.stringContaining('name it, such as --trust-domain example.org'),
    false,
  ]);
});

test('plain HTTP beyond this machine is refused before anything is set up', async () => {
  const state = join(dir, 'state');
  const up = run(['up', '--state', state, '--trust-domain', 'a.example', '--http', '0.0.0.0:0']);
  expect(await up.ended).toBe(2);
  expect([oneLine(up.err), existsSync(state)]).toEqual([expect.stringContaining('in plain text'), false]);
});

test('--check says of every part whether it would do, and changes nothing', async () => {
  const taken = createServer();
  taken.listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const address = taken.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  writeFileSync(join(dir, 'gates.yaml'), 'tiers: {standard: {surprises: many}}\n');
  writeFileSync(
    join(dir, 'sign-in.yaml'),
    'oidc: {issuer: "http://127.0.0.1:1", clientId: interlock}\nroles: [{group: a, roles: [viewer]}]\n',
  );
  const config = join(dir, 'interlock.yaml');
  const state = join(dir, 'state');
  writeFileSync(
    config,
    `trust-domain: example.org\nhttp: 127.0.0.1:0\nlisten: 127.0.0.1:0\ntrusted-proxy: [10.0.0.0/8, "::1"]\n`,
  );
  const good = run(['up', '--check', '--state', state, '--config', config]);
  expect([await good.ended, good.out.match(/^ok /gm)?.length, good.out.includes('failed')]).toEqual([
    0,
    5,
    false,
  ]);
  expect(good.out).toContain('the proxies 10.0.0.0/8, ::1 may say whom a call is from');

  writeFileSync(
    config,
    `trust-domain: example.org\nhttp: 127.0.0.1:${port}\ngates: gates.yaml\nsign-in: sign-in.yaml\n`,
  );
  const bad = run(['up', '--check', '--state', state, '--config', config, '--listen', '127.0.0.1:0']);
  expect(await bad.ended).toBe(1);
  expect(bad.out).toMatch(/^failed {2}http port: .*EADDRINUSE/m);
  expect(bad.out).toMatch(/^failed {2}settings: .*gates\.yaml/m);
  expect(bad.out).toMatch(/^failed {2}sign-in: http:\/\/127\.0\.0\.1:1/m);
  expect(bad.out).toMatch(/^ok {6}state: .* will be set up for example\.org/m);
  taken.close();

  writeFileSync(config, 'trust-domain: example.org\nhttpp: 1\n');
  const unknown = run(['up', '--check', '--state', state, '--config', config]);
  expect([await unknown.ended, unknown.err]).toEqual([
    1,
    expect.stringMatching(/interlock\.yaml:2: there is no setting "httpp"/),
  ]);
  // Nothing of all that has made a state.
  expect(existsSync(state)).toBe(false);
});
