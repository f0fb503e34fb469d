import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Opened } from '../identity/harness.ts';
import { LogLines } from '../identity/watched.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url));
const PROGRAM = fileURLToPath(new URL('program.ts', import.meta.url));

/** Ends what is left when the test ends. */
export type Later = Pick<Opened, 'later'>;

/** `program.ts` as a process of some user. */
export interface Program {
  readonly pid: number;
  /** Gives it an order, and what it says. */
  ask(order: object): Promise<Record<string, unknown>>;
  kill(): Promise<void>;
}

/** Starts the program as a user; in a network namespace where one is named. */
export function startProgram(opened: Later, uid: number, namespace?: string): Program {
  const { child, kill } = start(opened, [PROGRAM], uid, namespace);
  const waiting: ((value: Record<string, unknown>) => void)[] = [];
  createInterface(child.stdout).on('line', (line) =>
    waiting.shift()?.(JSON.parse(line) as Record<string, unknown>),
  );
  child.stderr.on('data', (bytes: Buffer) => process.stderr.write(bytes));
  if (child.pid === undefined) throw new Error('no process');
  return {
    pid: child.pid,
    ask: (order) =>
      new Promise((resolve) => {
        waiting.push(resolve);
        child.stdin.write(`${JSON.stringify(order)}\n`);
      }),
    kill,
  };
}

/** Starts `interlock ...` as a user; in a network namespace where one is named. Gives its log. */
export function startInterlock(
  opened: Later,
  uid: number,
  namespace: string | undefined,
  ...args: readonly string[]
): { log: LogLines; kill(): Promise<void> } {
  const { child, kill } = start(opened, [MAIN, ...args], uid, namespace);
  const log = new LogLines();
  createInterface(child.stderr).on('line', (line) => log.take(line));
  child.stdout.resume();
  return { log, kill };
}

function start(opened: Later, script: readonly string[], uid: number, namespace: string | undefined) {
  const own = [process.execPath, ...script];
  const as = ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups'];
  const [command = '', ...args] =
    namespace === undefined ? own : ['ip', 'netns', 'exec', namespace, ...as, ...own];
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
    ...(namespace === undefined ? { uid, gid: uid } : {}),
  });
  child.stdin.on('error', () => {});
  const ended = new Promise((resolve) => child.once('close', resolve));
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  opened.later(kill);
  return { child, kill };
}
