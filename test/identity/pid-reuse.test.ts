import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { noOtherUsers } from './processes.ts';

const SCRIPT = fileURLToPath(new URL('pid-reuse.ts', import.meta.url));
const NAMESPACE = ['--pid', '--fork', '--mount-proc'];

/** Why this machine cannot choose the numbers of processes, or undefined. */
function noChoice(): string | undefined {
  const write = 'echo 500 > /proc/sys/kernel/ns_last_pid && test "$(sh -c "echo \\$\\$")" -gt 500';
  const tried = spawnSync('unshare', [...NAMESPACE, 'sh', '-c', write], { timeout: 60_000 });
  return tried.status === 0 ? noOtherUsers() : 'it takes root, unshare, and a kernel with ns_last_pid';
}
const reason = noChoice();
if (reason !== undefined) console.log(`the reuse of process numbers is not tested: ${reason}`);

interface Line {
  readonly what: string;
  readonly pid: number;
  readonly answer: Readonly<Record<string, unknown>>;
}

describe.skipIf(reason !== undefined)('a process number that the kernel gives out again', () => {
  const said = new Map<string, Line>();
  beforeAll(async () => {
    const { stdout } = await promisify(execFile)('unshare', [...NAMESPACE, process.execPath, SCRIPT], {
      timeout: 110_000,
      env: { ...process.env, NODE_NO_WARNINGS: '1' },
    });
    for (const text of stdout.trim().split('\n')) {
      const line = JSON.parse(text) as Line;
      said.set(line.what, line);
    }
  });

  test.each(['after it was accepted', 'before it was accepted'])(
    'lends the new process to nobody who holds the connection of the old (%s)',
    (what) => {
      expect(said.get(what)?.answer['status']).not.toBe(0);
    },
  );

  test('gives the new process its own identity, and nothing of the old', () => {
    const [first, second] = [said.get('the first'), said.get('the second')];
    expect(second?.pid).toBe(first?.pid);
    expect(first?.answer).toEqual({ id: 'spiffe://example.org/uid/0', uid: 0 });
    expect(second?.answer).toEqual({ id: 'spiffe://example.org/uid/1001', uid: 1001 });
  });
});
