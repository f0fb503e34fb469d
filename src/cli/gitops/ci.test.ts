import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parse } from 'yaml';
import { parseSpiffeId } from '../../access/index.ts';
import { testHttp } from '../../server/http/testing.test-helper.ts';

const docs = (name: string) => readFileSync(new URL(`../../../docs/${name}`, import.meta.url), 'utf8');
const [example = '', github = ''] = [...docs('gitops.md').matchAll(/```yaml\n(.*?)```/gs)].map(
  ([, block = '']) => block,
);
const [policy = ''] = /(?<=```yaml\n).*?(?=```)/s.exec(docs('policies.md')) ?? [];
const CART = 'spiffe://example.org/ns/default/sa/cartservice';
const AUDIENCE = 'https://interlock.example.com';
const JOB = 'repo:acme/policies:ref:refs/heads/main';

const has = (program: string) => spawnSync(program, ['--version']).error === undefined;
const missing = ['git', 'curl', 'jq', 'bash'].filter((program) => !has(program));
if (missing.length > 0)
  console.log(`The jobs of docs/gitops.md are not run here: there is no ${missing.join(', ')}.`);

/** The steps of a job of the page. */
function stepsOf(job: 'test' | 'sync'): string[] {
  const { jobs } = parse(github) as { jobs: Record<string, { steps: { run?: string }[] }> };
  return (jobs[job]?.steps ?? []).flatMap(({ run }) => run ?? []);
}

let root: string;
const undo: (() => unknown)[] = [];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'interlock-ci-'));
});
afterEach(async () => {
  for (const step of undo.splice(0).toReversed()) await step();
  rmSync(root, { recursive: true, force: true });
});

function git(dir: string, ...args: string[]): void {
  const who = ['-c', 'user.name=Ann', '-c', 'user.email=ann@example.com'];
  execFileSync('git', ['-C', join(root, dir), ...who, ...args], { stdio: 'pipe' });
}

/** A repository of policies with their tests, and a clone of it as CI makes one. */
function checkOut(files: Readonly<Record<string, string>>): string {
  mkdirSync(join(root, 'origin'));
  git('origin', 'init', '-q', '-b', 'main');
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, 'origin', path)), { recursive: true });
    writeFileSync(join(root, 'origin', path), content);
  }
  git('origin', 'add', '-A');
  git('origin', 'commit', '-q', '-m', 'policies');
  execFileSync('git', ['clone', '-q', `file://${join(root, 'origin')}`, join(root, 'work')], {
    stdio: 'pipe',
  });
  return join(root, 'work');
}

/** Runs a step as GitHub does: `bash -e` on a file, in the checkout. */
async function step(script: string, work: string, env: Readonly<Record<string, string>> = {}) {
  const bin = join(root, 'bin');
  mkdirSync(bin, { recursive: true });
  const main = join(import.meta.dirname, '../main.ts');
  // What npx starts is the command of this checkout.
  writeFileSync(join(bin, 'npx'), `#!/bin/sh\nshift\nexec "${process.execPath}" "${main}" "$@"\n`);
  chmodSync(join(bin, 'npx'), 0o755);
  writeFileSync(join(root, 'step.sh'), script);
  const { PATH = '', HOME = root } = process.env;
  const child = spawn('bash', ['-e', join(root, 'step.sh')], {
    cwd: work,
    env: { PATH: `${bin}:${PATH}`, HOME, CI: 'true', ...env },
  });
  undo.push(() => child.kill('SIGKILL'));
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

const files = {
  'policies/cart.yaml': policy,
  'policies/cart.test.yaml': example.replace(/ {2}recordings:[^]*/, ''),
};

test.skipIf(missing.length > 0)(
  'the job of the page tests policies, fails where they fail, and leaves a report',
  async () => {
    const [run = ''] = stepsOf('test');
    const work = checkOut(files);
    expect(await step(run, work)).toMatchObject({
      code: 0,
      out: expect.stringMatching(/2 passed, 0 failed/),
    });
    const report = () => readFileSync(join(work, 'results.xml'), 'utf8');
    expect(report()).toContain('failures="0"');
    writeFileSync(join(work, 'policies/cart.yaml'), policy.replaceAll('GetCart', 'DropCart'));
    expect(await step(run, work)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/FAIL .*reads the cart/),
    });
    expect(report()).toMatch(/failures="1"[^]*<failure message=/);
    // No policy, no test: nothing that is green by chance.
    rmSync(join(work, 'policies/cart.test.yaml'));
    expect(await step(run, work)).toMatchObject({ code: 1, err: expect.stringMatching(/no PolicyTest/) });
    rmSync(join(work, 'policies'), { recursive: true });
    expect((await step(run, work)).code).toBe(1);
    expect((await step(`${run} --junot x`, work)).code).toBe(2);
  },
);

test.skipIf(missing.length > 0)(
  'the job of the page signs in by its own token, and syncs with commit and author',
  async () => {
    const [run = ''] = stepsOf('sync');
    const { publicKey, privateKey } = await generateKeyPair('ES256', { extractable: true });
    const jwk = { ...(await exportJWK(publicKey)), kid: 'one', alg: 'ES256', use: 'sig' };
    const asked: unknown[] = [];
    // GitHub's own endpoint for tokens, and the keys of its issuer.
    const server = createServer((request, response) => {
      const at = new URL(request.url ?? '', issuer);
      const answer = async () => {
        if (at.pathname === '/keys') return { keys: [jwk] };
        if (at.pathname !== '/token') return { issuer, jwks_uri: `${issuer}/keys` };
        asked.push([request.headers.authorization, at.searchParams.get('audience')]);
        const token = new SignJWT({ sub: JOB }).setProtectedHeader({ alg: 'ES256', kid: 'one' });
        return {
          value: await token
            .setIssuer(issuer)
            .setAudience(AUDIENCE)
            .setIssuedAt()
            .setExpirationTime('5m')
            .sign(privateKey),
        };
      };
      void answer().then((body) =>
        response.setHeader('content-type', 'application/json').end(JSON.stringify(body)),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    undo.push(() => new Promise((closed) => server.close(closed)));
    const address = server.address();
    const issuer = `http://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const plane = await testHttp({
      signIn: {
        tokens: [{ issuer, audience: AUDIENCE }],
        roles: [{ issuer, subject: JOB, roles: ['operator'] }],
      },
    });
    undo.push(() => plane.close());
    const work = checkOut(files);
    const done = await step(run, work, {
      SERVER: plane.origin,
      ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'of-the-job',
      ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer}/token?v=1`,
    });
    expect(done).toMatchObject({ code: 0, err: expect.stringContaining('(for "interlock test")') });
    expect(asked).toEqual([['bearer of-the-job', plane.origin]]);
    const rollout = plane.serving.enforcing.rollouts.get(parseSpiffeId(CART));
    expect(rollout.authors).toEqual([`user:${issuer}#${JOB}`, 'git:ann@example.com']);
    expect(
      plane.serving.api.syncOrigins.of(rollout.workload, rollout.target[0] ?? expect.fail('no target')),
    ).toMatchObject({
      file: 'cart.yaml',
      branch: 'main',
      commit: execFileSync('git', ['-C', work, 'rev-parse', 'HEAD']).toString().trim(),
      authors: ['git:ann@example.com'],
    });
    expect(plane.faults).toEqual([]);
    // A token that nobody let in changes nothing, and the job is red.
    expect(
      await step(run, work, { SERVER: plane.origin, ACTIONS_ID_TOKEN_REQUEST_URL: `${issuer}/none?` }),
    ).toMatchObject({
      code: 1,
    });
  },
);
