import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const DOC = new URL('../../docs/enforcement.md', import.meta.url);

/** One step of the tour: the commands, and what the document says that they print. */
interface Step {
  readonly commands: string;
  readonly output: string;
}

/** A network, processes, users and directories of its own, so that the tour may take its ports and make its users. */
const PREPARE = `
set -e
ip link set lo up
mount -t tmpfs none /run
mkdir /run/checkout /run/etc
mount --bind "$CHECKOUT" /run/checkout
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
for file in passwd shadow group gshadow; do
  [ ! -e /etc/$file ] || sed -i '/^\\(catalogue\\|store\\|web\\):/d' /etc/$file
done
mount -t tmpfs none /var/log
mkdir /var/log/nginx
mount -t tmpfs none /tmp
mkdir /tmp/tour
cd /tmp/tour
for name in bin src examples node_modules package.json; do ln -s /run/checkout/$name; done
set +e
# Reports go out once a second, on a busy machine later.
sleep() { command sleep $(($1 * 2)); }
`;

const missing = whatIsMissing();
if (missing !== undefined) console.log(`Skipped: the tour of docs/enforcement.md, for ${missing}.`);

describe.skipIf(missing !== undefined)('the tour of docs/enforcement.md', () => {
  let shell: Shell;
  beforeAll(async () => {
    shell = new Shell();
    expect(await shell.run(PREPARE)).toBe('');
  }, 60_000);
  afterAll(() => shell.end());

  // In their order: each goes on from where the one before has come.
  for (const [index, { commands, output }] of stepsOf(readFileSync(DOC, 'utf8')).entries())
    test(`step ${index + 1} prints what is written`, async () => {
      expect(comparable(await shell.run(commands))).toEqual(comparable(output));
    }, 120_000);
});

function whatIsMissing(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'root on Linux';
  for (const program of ['nginx', 'redis-server', 'redis-cli', 'curl', 'ip', 'runuser', 'useradd'])
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return program;
  if (spawnSync('unshare', ['-n', '-m', '-p', '-f', '--mount-proc', 'true']).status !== 0)
    return 'namespaces of its own';
  return undefined;
}

/** The blocks of commands of "Try it", each with the block of output that follows it. */
function stepsOf(document: string): Step[] {
  const section = document.split('\n## Try it\n')[1]?.split('\n## ')[0] ?? '';
  const blocks = section.matchAll(/^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?/gms);
  return [...blocks].map(([, commands = '', output = '']) => ({ commands, output }));
}

/** A shell that lives for all steps: their jobs and variables go on. */
class Shell {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor() {
    const flags = ['-n', '-m', '-p', '-f', '--kill-child', '--mount-proc'];
    this.#child = spawn('unshare', [...flags, 'bash', '-c', 'exec bash 2>&1'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, CHECKOUT: ROOT, NO_COLOR: '1', LC_ALL: 'C' },
    });
    const { stdout } = this.#child;
    if (stdout === null) throw new Error('no pipe');
    this.#lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  }

  /** What the commands print. They read nothing of what comes after them. */
  async run(commands: string): Promise<string> {
    const end = `end-${Math.random()}`;
    const quoted = commands.replaceAll("'", String.raw`'\''`);
    this.#child.stdin?.write(`eval '${quoted}' </dev/null; printf '\\n%s\\n' ${end}\n`);
    const printed: string[] = [];
    for (;;) {
      const line = await this.#lines.next();
      if (line.done === true) throw new Error(`the shell has ended:\n${printed.join('\n')}`);
      if (line.value === end) return printed.join('\n').trimEnd();
      printed.push(line.value);
    }
  }

  /** Ends it and all that it started. */
  end(): void {
    this.#child.kill('SIGKILL');
  }
}

/** Lines without what is another each time, and without their order: who is first to confirm stands first. */
function comparable(text: string): string[] {
  return text
    .split('\n')
    .map((line) =>
      line
        .replaceAll(/\d{4}-\d\d-\d\d[T ][\d:.]+Z/g, 'TIME')
        .replaceAll(/rel-[0-9a-f]+/g, 'RELEASE')
        .replaceAll(/#\S+-(\w+)/g, '#HOST-$1')
        .replaceAll(/\b[\d.]+ ms\b/g, 'SOON')
        .replaceAll(/\b(\d+[dhms] )+ago/g, 'AGO')
        .replaceAll(/\bin( \d+[dhms])+/g, 'THEN')
        .replaceAll(/127\.0\.0\.1:\d{5}\b/g, 'CALLER')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    )
    .filter((line) => line !== '')
    .toSorted();
}
