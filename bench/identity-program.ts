// The command as it is run: from a checkout, and as a package holds it.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** A program to start, and what it is called here. */
export interface Program {
  readonly name: string;
  /** What Node is to run: what a user starts. */
  readonly main: string;
}

export const CHECKOUT: Program = {
  name: 'from a checkout (TypeScript)',
  main: join(ROOT, 'bin', 'interlock.mjs'),
};

/** Installs what a package holds into a directory. */
export function packaged(dir: string): Program {
  const build = [join(ROOT, 'scripts', 'build.ts'), join(dir, 'dist')];
  const built = spawnSync(process.execPath, build, { cwd: ROOT, stdio: ['ignore', 'ignore', 'inherit'] });
  if (built.status !== 0) throw new Error('the build has failed');
  const folder = join(dir, 'node_modules', 'interlock');
  mkdirSync(folder, { recursive: true });
  renameSync(join(dir, 'dist'), join(folder, 'dist'));
  for (const name of ['package.json', 'bin'])
    cpSync(join(ROOT, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  return { name: 'as a package (npm run build)', main: join(folder, 'bin', 'interlock.mjs') };
}

/** Where an agent serves, keeps its state, and finds its control plane. */
export interface Place {
  readonly socket: string;
  readonly state: string;
  readonly server: string;
}

/** Starts `interlock agent`. What it logs is shown where INTERLOCK_BENCH_LOG is set. */
export function spawnAgent(
  { main }: Program,
  { socket, state, server }: Place,
  more: readonly string[] = [],
): ChildProcess {
  const args = [main, 'agent', '--state', state, '--server', server, '--socket', socket, ...more];
  const log = process.env['INTERLOCK_BENCH_LOG'] === undefined ? 'ignore' : 'inherit';
  return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', log] });
}
