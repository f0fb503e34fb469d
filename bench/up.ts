// Memory of `interlock up` as a package holds it: idle after its first start, and over an estate of 1,000 workloads and
// 10,000 accesses with policies, after a console and a program have read all of it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SIZES } from '../test/console/map-estate.ts';
import { MapPlane } from '../test/console/map-plane.ts';
import { ended, megabytes, scratch } from './identity-parts.ts';
import { packaged } from './identity-program.ts';

const GOAL_IDLE_MB = 150;
const GOAL_ESTATE_MB = 400;
/** What is garbage by then has been given back, as in a control plane that has had a moment's rest. */
const REST_MS = 15_000;
const CONSOLE = fileURLToPath(new URL('../console/dist', import.meta.url));

/** A running `interlock up`. */
class Up {
  readonly #state: string;
  readonly #child;

  constructor(main: string, state: string) {
    const free = ['--listen', '127.0.0.1:0', '--http', '127.0.0.1:0'];
    const args = [main, 'up', '--trust-domain', 'example.org', '--state', state, '--json', ...free];
    this.#state = state;
    this.#child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  }

  /** Waits until it serves. */
  async serves(): Promise<void> {
    const [line] = await Promise.race([
      once(createInterface(this.#child.stdout), 'line'),
      once(this.#child, 'exit').then(() => ['']),
    ]);
    if (line === '') throw new Error('interlock up has ended at its start');
  }

  /** Reads an answer as the owner of the state. */
  read(path: string): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = request({ socketPath: join(this.#state, 'api.sock'), path }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () =>
          response.statusCode === 200
            ? resolve(Buffer.concat(chunks))
            : reject(new Error(`${path}: ${response.statusCode}`)),
        );
      });
      call.on('error', reject);
      call.end();
    });
  }

  /** Megabytes resident after a rest, and at most. */
  async memory(): Promise<{ readonly now: number; readonly most: number }> {
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    const pid = this.#child.pid ?? 0;
    return { now: megabytes(pid, 'VmRSS'), most: megabytes(pid, 'VmHWM') };
  }

  end(): Promise<void> {
    return ended(this.#child);
  }
}

let missed = 0;
function say(
  what: string,
  { now, most }: { readonly now: number; readonly most: number },
  goal: number,
): void {
  if (now > goal) missed++;
  console.log(
    `${what.padEnd(52)} ${now.toFixed(0)} MB resident ${REST_MS / 1000} s later (goal: under ${goal} MB), ${most.toFixed(0)} MB at most`,
  );
}

const [built, idle, estate] = [scratch(), scratch(), scratch()];
const { main } = packaged(built.dir);
if (existsSync(CONSOLE)) {
  const folder = join(dirname(dirname(main)), 'console');
  mkdirSync(folder);
  cpSync(CONSOLE, join(folder, 'dist'), { recursive: true });
} else console.log('without the console: npm run build:console');
try {
  const first = new Up(main, idle.dir);
  await first.serves();
  say('interlock up, after its first start', await first.memory(), GOAL_IDLE_MB);
  await first.end();

  const plane = await MapPlane.open(SIZES[1000], undefined, 0, estate.dir);
  await plane.leave();
  const second = new Up(main, estate.dir);
  await second.serves();
  await second.read('/v1/graph?by=workload');
  await second.read('/v1/workloads');
  for (let after: string | undefined = ''; after !== undefined; ) {
    const query: string = after === '' ? '' : `&after=${after}`;
    const page = JSON.parse((await second.read(`/v1/accesses?limit=1000${query}`)).toString()) as {
      readonly next?: string;
    };
    after = page.next;
  }
  say('with 1,000 workloads and 10,000 accesses, all read', await second.memory(), GOAL_ESTATE_MB);
  await second.end();
} finally {
  for (const each of [built, idle, estate]) each.remove();
}
process.exit(missed === 0 ? 0 : 1);
