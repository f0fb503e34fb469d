// Installs from the lock file when node_modules is missing or older than the lock file, and says where the
// project's own Node is. Plain JavaScript that Node 18 runs: this is what runs before Node 26 is there.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = join(root, 'node_modules', '.bin');

/** Installs what the lock file names, once per lock file. Ends the process with npm's status if that fails. */
export function setup() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  const marker = join(root, 'node_modules', '.interlock-setup');
  const runtime = join(
    root,
    'node_modules',
    'node',
    'bin',
    process.platform === 'win32' ? 'node.exe' : 'node',
  );
  if (!existsSync(marker) || readFileSync(marker, 'utf8') !== lock || !existsSync(runtime)) {
    process.stderr.write('Setting up: npm ci (once; from the lock file)\n');
    const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
      cwd: root,
      stdio: ['ignore', 2, 2],
      shell: process.platform === 'win32',
    });
    if (npm.status !== 0) {
      process.stderr.write('Set-up failed: npm ci did not finish. Its message is above.\n');
      process.exit(npm.status ?? 1);
    }
    mkdirSync(join(root, 'node_modules'), { recursive: true });
    writeFileSync(marker, lock);
  }
  return { root, runtime, env: { ...process.env, PATH: bin + delimiter + process.env.PATH } };
}

/** Runs one command of the project under the project's own Node and ends the process with its status. */
export function run(command, args, { root, runtime, env }) {
  const isNode = command === 'node';
  const done = spawnSync(isNode ? runtime : join(bin, command), args, { cwd: root, stdio: 'inherit', env });
  if (done.error) process.stderr.write(`${command} could not be started: ${done.error.message}\n`);
  process.exit(done.status ?? 1);
}
