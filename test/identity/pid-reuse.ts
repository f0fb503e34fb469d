import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Node, Opened, Plane, UID_RULE } from './harness.ts';

/**
 * Runs as root in a PID namespace of its own, where it can choose the number of the next process. Has the number of a
 * process that connected to the agent given to another one, and says what each then gets, a JSON value a line.
 */
const HANDED_OVER = fileURLToPath(new URL('handed-over.ts', import.meta.url));
const WORKLOAD = fileURLToPath(new URL('workload.ts', import.meta.url));
const TRIES = 10;

const opened = new Opened();
const dir = opened.dir();
const victim = join(dir, 'victim');
copyFileSync('/bin/sleep', victim);
const plane = await Plane.start(opened, {
  rules: `${UID_RULE}\n---\n
apiVersion: interlock.dev/v1alpha1
kind: IdentityRule
metadata: { name: victim }
spec: { spiffeId: /victim, selectors: ["unix:path:${victim}"], ttl: 1h }
`,
});
const node = await Node.online(opened, { address: plane.address, token: await plane.token('n1') });

/** A process with this number; undefined where a new thread of this process was faster, which then keeps it. */
function spawnAs(pid: number, command: string, args: readonly string[], uid = 0): ChildProcess | undefined {
  writeFileSync('/proc/sys/kernel/ns_last_pid', String(pid - 1));
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], uid, gid: uid });
  opened.later(() => child.kill('SIGKILL'));
  return child.pid === pid ? child : undefined;
}

/** Plays a scene again while the number was not to be had. */
async function play(scene: (attempt: number) => Promise<boolean>): Promise<void> {
  for (let i = 0; i < TRIES; i++) if (await scene(i)) return;
  throw new Error(`the number was taken ${TRIES} times`);
}

const lines = (child: ChildProcess) => {
  if (child.stdout === null) throw new Error('no output');
  return createInterface(child.stdout);
};
const say = (what: string, pid: number, answer: unknown) =>
  console.log(JSON.stringify({ what, pid, answer }));
const firstLine = async (child: ChildProcess): Promise<unknown> => {
  const [line] = (await once(lines(child), 'line')) as [string];
  return JSON.parse(line);
};

// A caller ends while its connection is open: who holds it asks only when the number is another process's.
await play(async (attempt) => {
  const go = join(dir, `go-${attempt}`);
  const caller = spawn(process.execPath, [HANDED_OVER, node.socketPath, go], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const answer = firstLine(caller);
  await once(caller, 'exit');
  const pid = caller.pid ?? 0;
  const isReused = spawnAs(pid, victim, ['1000']) !== undefined;
  writeFileSync(go, '');
  const heard = await answer;
  if (isReused) say('after it was accepted', pid, heard);
  return isReused;
});

// The same, while the agent has not even accepted the connection: this process, which it runs in, is held up.
await play(async (attempt) => {
  const out = join(dir, `out-${attempt}`);
  const start = `exec "$0" "$@" > ${out}`;
  const args = ['-c', start, process.execPath, HANDED_OVER, node.socketPath];
  const { pid } = spawnSync('/bin/sh', args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const isReused = spawnAs(pid, victim, ['1000']) !== undefined;
  const read = spawn('/bin/sh', ['-c', `until grep -q status ${out}; do sleep 0.02; done; cat ${out}`], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const heard = await firstLine(read);
  if (isReused) say('before it was accepted', pid, heard);
  return isReused;
});

// A caller that was given its identity ends, and another user's process with its number asks.
await play(async () => {
  const ids = [WORKLOAD, 'ids', node.endpoint];
  const first = spawn(process.execPath, ids, { stdio: ['ignore', 'pipe', 'inherit'] });
  const before = await firstLine(first);
  first.kill('SIGKILL');
  await once(first, 'exit');
  const pid = first.pid ?? 0;
  const second = spawnAs(pid, process.execPath, ids, 1001);
  if (second === undefined) return false;
  say('the first', pid, before);
  say('the second', second.pid ?? 0, await firstLine(second));
  return true;
});

await opened.close();
process.exit();
