import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Opened } from './harness.ts';
import { LogLines, Watched } from './watched.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const WORKLOAD = fileURLToPath(new URL('workload.ts', import.meta.url));
/** Other scripts of this folder; each says at its top what it does. */
const SCRIPTS = {
  'handed-over': fileURLToPath(new URL('handed-over.ts', import.meta.url)),
  'many-agents': fileURLToPath(new URL('many-agents.ts', import.meta.url)),
};

/** A process that a test started. */
export interface Running {
  readonly child: ChildProcess;
  /** Its standard error, line by line. */
  readonly log: LogLines;
  /** Its standard output: one JSON value a line. */
  readonly said: Said;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  /** Ends it at once, as a crash would, and waits until it is gone. */
  kill(): Promise<void>;
}

/** What a process printed. */
export class Said extends Watched {
  readonly all: Record<string, unknown>[] = [];

  take(line: string): void {
    this.all.push(JSON.parse(line) as Record<string, unknown>);
    this.changed();
  }

  /** The first value that has a field, from number `from` on. */
  with(field: string, from = 0): Promise<Record<string, unknown>> {
    return this.until(
      () => this.all.slice(from).find((value) => field in value),
      `a line with "${field}"`,
      () => JSON.stringify(this.all),
    );
  }
}

export interface RunOptions {
  /** The user and group it runs as, where this process may choose. */
  readonly uid?: number;
  readonly input?: string;
  /** Of a script. */
  readonly args?: readonly string[];
}

function run(opened: Opened, args: readonly string[], { uid, input }: RunOptions): Running {
  const child = spawn(process.execPath, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  const log = new LogLines();
  const said = new Said();
  createInterface(child.stderr).on('line', (line) => log.take(line));
  createInterface(child.stdout).on('line', (line) => said.take(line));
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) =>
    child.once('close', (code, signal) => resolve(code ?? signal)),
  );
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  opened.later(kill);
  return { child, log, said, ended, kill };
}

/** Starts `interlock ...`. */
export function interlock(opened: Opened, ...args: readonly string[]): Running {
  return run(opened, [MAIN, ...args], {});
}

/** Starts a script of this folder. */
export function script(opened: Opened, name: keyof typeof SCRIPTS, options: RunOptions = {}): Running {
  return run(opened, [SCRIPTS[name], ...(options.args ?? [])], options);
}

/** A workload: what workload.ts does with these arguments, as a user. */
export function workload(opened: Opened, uid: number, ...args: readonly string[]): Running {
  return run(opened, [WORKLOAD, ...args], { uid });
}

/** Starts `interlock authority serve` and gives its port with it. */
export async function controlPlane(
  opened: Opened,
  state: string,
  port = 0,
  ...args: readonly string[]
): Promise<Running & { readonly address: string; readonly port: number }> {
  const running = interlock(
    opened,
    'authority',
    'serve',
    '--state',
    state,
    '--listen',
    `127.0.0.1:${port}`,
    ...args,
  );
  const { fields } = await running.log.line('the control plane serves');
  return { ...running, address: `127.0.0.1:${Number(fields['port'])}`, port: Number(fields['port']) };
}

/** Why this machine cannot run workloads as other users, or undefined. */
export function noOtherUsers(): string | undefined {
  if (process.getuid?.() !== 0) return 'this is not root, which alone can start processes of other users';
  const tried = spawnSync(process.execPath, [WORKLOAD, 'hello'], { uid: 1001, gid: 1001, timeout: 60_000 });
  return tried.status === 0 ? undefined : 'other users cannot read this project, or run its Node';
}
