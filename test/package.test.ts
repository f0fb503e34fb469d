import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  version: string;
  exports: Record<string, string | Record<string, string>>;
  dependencies: Record<string, string>;
};

describe('the published package', () => {
  const place = mkdtempSync(join(tmpdir(), 'interlock-package-'));
  const installed = join(place, 'node_modules', 'interlock');
  const run = (command: string, args: string[], cwd: string) =>
    execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  afterAll(() => rmSync(place, { recursive: true, force: true }));

  beforeAll(() => {
    run(process.execPath, ['scripts/build.ts'], root);
    const packed = run(
      'npm',
      ['pack', '--ignore-scripts', '--silent', '--pack-destination', place],
      root,
    ).trim();
    mkdirSync(installed, { recursive: true });
    run('tar', ['-xzf', join(place, packed), '-C', installed, '--strip-components=1'], place);
    for (const name of Object.keys(manifest.dependencies)) {
      mkdirSync(join(place, 'node_modules', name, '..'), { recursive: true });
      symlinkSync(join(root, 'node_modules', name), join(place, 'node_modules', name));
    }
    // Building and packing take long where other work is on the machine.
  }, 120_000);

  test('has the command, which runs without the sources', () => {
    const bin = join(installed, 'bin/interlock.mjs');
    expect(run(process.execPath, [bin, '--version'], place).trim()).toBe(manifest.version);
  });

  test('exports the rooms that are a library, with types, and nothing else', () => {
    const rooms = Object.keys(manifest.exports).filter((name) => name !== './package.json');
    expect(rooms).toEqual(['./access', './policy', './learning', './rollout', './identity', './workload']);
    writeFileSync(
      join(place, 'use.mjs'),
      `const { parseSpiffeId } = await import('interlock/access');
       const { compile, decide, readPolicies } = await import('interlock/policy');
       const { propose } = await import('interlock/learning');
       const { rehearse } = await import('interlock/rollout');
       const { verifyX509Svid } = await import('interlock/identity');
       const { X509Source, connectMtls } = await import('interlock/workload');
       const id = (name) => parseSpiffeId('spiffe://example.org/ns/shop/sa/' + name);
       const set = compile(readPolicies(\`
apiVersion: interlock.dev/v1alpha1
kind: AccessPolicy
metadata: { name: cart }
spec:
  protects: { workload: \${id('cart')} }
  rules:
    - name: web
      from: [ { workload: \${id('web')} } ]
      to: [ { http: { methods: [GET], paths: ["/items/{id}"] }, ports: [8080] } ]
\`, 'cart.yaml'));
       const action = { kind: 'http', port: 8080, method: 'GET', path: '/items/7' };
       const of = (from) => decide(set, { from: { kind: 'workload', id: id(from) }, to: id('cart'), action }).allowed;
       console.log(JSON.stringify([of('web'), of('mail'), typeof propose, typeof rehearse,
         typeof verifyX509Svid, typeof X509Source, typeof connectMtls]));
       await import('interlock/store').then(() => console.log('open'), (error) => console.log(error.code));`,
    );
    expect(run(process.execPath, ['use.mjs'], place).trim().split('\n')).toEqual([
      '[true,false,"function","function","function","function","function"]',
      'ERR_PACKAGE_PATH_NOT_EXPORTED',
    ]);
    for (const room of rooms) {
      const { types = '' } = manifest.exports[room] as Record<string, string>;
      expect(readFileSync(join(installed, types), 'utf8')).toContain('export');
    }
  });

  test('carries no tests and no sources', () => {
    const files = run('tar', ['-tzf', join(place, `interlock-${manifest.version}.tgz`)], place).split('\n');
    expect(files.filter((file) => /\.test\.|\/src\/|contract|fake-source/.test(file))).toEqual([]);
  });
});
